"""Receipts and fates: what was true of an event when it was last looked at."""

from __future__ import annotations

import asyncio

import pytest

import actors
from actors import Dropped, RuntimeClosed, Stage, aio
from tests.aio.support import run, served


def test_a_receipt_follows_its_event() -> None:
    """``reached`` waits for the ack of a real device; ``explain`` says so; the books balance."""

    async def main() -> None:
        async with served() as (runtime, alice):
            receipt = await runtime.thread("t1").emit("report_ready", {"pages": 3}, user_id="alice")
            assert (receipt.thread_id, receipt.seq, receipt.offset) == ("t1", 1, 1)
            await receipt.reached(Stage.ACKED)
            assert receipt.stage is Stage.ACKED
            await receipt.reached(Stage.STORED)
            fate = await runtime.explain(receipt)
            assert "acked by a device" in str(fate)
            assert fate.receipt == receipt
            assert str(await runtime.explain(receipt.event_id)).startswith("accepted")
            assert not (await runtime.explain("nothing")).known
            assert await runtime.owner("t1") == "alice"
            assert await runtime.devices("alice") == 1
            assert (await runtime.audit()).total.acked == 1
            assert await alice.saw("report_ready") == {"pages": 3}

    run(main)


def test_a_receipt_can_be_asked_after_the_end() -> None:
    """What only looks, looks at what is left; what would wait says that it is closed."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            receipt = await runtime.thread("t1").emit("x", {})
            assert receipt.stage is Stage.BUFFERED
            waiting = asyncio.create_task(receipt.reached(Stage.ACKED))
            await asyncio.sleep(0.01)
        with pytest.raises((RuntimeClosed, Dropped)):
            await waiting
        assert await receipt.refresh() is Stage.DROPPED
        assert receipt.cause is actors.Cause.SHUTDOWN
        assert "dropped" in str(await runtime.explain(receipt))
        assert (await runtime.audit()).total.dropped == 1
        with pytest.raises(RuntimeClosed):
            await runtime.thread("t1").emit("y", {})

    run(main)
