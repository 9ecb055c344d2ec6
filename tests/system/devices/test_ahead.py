"""A producer that is faster than a client on a real socket: with ``ahead`` nothing is lost, without it the loss is
counted."""

from __future__ import annotations

import logging

import pytest
import trio

import actors
from actors import Limits, Stage, client
from actors.client import Event

_PER_SECOND = 500


async def consume(url: str, came: list[int], ready: trio.Event) -> None:
    """Take events at a rate, for ever, and note the offsets of those that came."""
    async with client.connect(url, token="alice") as session:
        async for item in session:
            ready.set()
            if isinstance(item, Event):
                came.append(item.offset)
                await trio.sleep(1 / _PER_SECOND)


@pytest.mark.parametrize("ahead", [True, False])
async def test_a_client_that_takes_500_a_second(ahead: bool, at_length: bool, caplog: pytest.LogCaptureFixture) -> None:
    """3,500 events into a log of 1,000 for a client that takes 500 a second: with ``ahead=400`` all are acked; without
    it those that are not are counted, and warned of once."""
    count, retained, most = (3_500, 1_000, 400) if at_length else (700, 300, 150)
    limits = Limits(retained_events=retained, sweep_seconds=0.2)
    came: list[int] = []
    async with (
        actors.open_runtime(limits=limits, ahead=most if ahead else None) as runtime,
        trio.open_nursery() as nursery,
    ):
        host, port = await nursery.start(runtime.serve)
        ready = trio.Event()
        nursery.start_soon(consume, f"ws://{host}:{port}/ws", came, ready)
        await ready.wait()
        thread = runtime.thread("t1")
        receipts = [await thread.emit("tick", {"n": n}, user_id="alice") for n in range(count)]
        await receipts[-1].reached(Stage.ACKED)
        events, lost = runtime.statistics().events, sum(one.stage is not Stage.ACKED for one in receipts)
        assert (events.acked, events.dropped + events.unconfirmed) == (count - lost, lost)
        if ahead:
            assert (lost, came) == (0, list(range(1, count + 1)))
        else:
            assert lost > 0
        await trio.sleep(2 * limits.sweep_seconds)
        warnings = [record for record in caplog.records if "retention" in record.getMessage()]
        assert len(warnings) == (0 if ahead else 1)
        assert all(record.levelno == logging.WARNING for record in warnings)
        nursery.cancel_scope.cancel()
