"""Back-pressure by devices, from asyncio: a producer that waits loses nothing to a slow one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import actors
from actors import Stage, aio
from actors.client import Event
from tests.aio.support import run

EVENTS = 300


async def slow(followed: aio.Following, seen: list[Any]) -> None:
    """Take events slowly."""
    async for item in followed:
        if isinstance(item, Event):
            seen.append(item)
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("by", ["runtime", "thread", "run", "tokens"])
def test_a_slow_device_loses_nothing(by: str) -> None:
    """With ``ahead`` fewer than are retained, every event of three times as many is acked by the device."""
    limits = actors.Limits(retained_events=100)

    async def main() -> None:
        async with aio.open_runtime(limits=limits, ahead=40 if by == "runtime" else None) as runtime:
            await runtime.bind("t1", "alice")
            async with runtime.follow("alice") as followed:
                seen: list[Any] = []
                taking = asyncio.create_task(slow(followed, seen))
                thread = runtime.thread("t1", ahead=40 if by == "thread" else None)
                if by in {"run", "tokens"}:
                    async with thread.run("writer", ahead=40) as writer:
                        for n in range(EVENTS):
                            if by == "run":
                                await writer.emit("n", {"n": n})
                            else:
                                writer.delta(f"{n:03}")
                                await writer.flushed()
                        receipt = await writer.emit("last", {})
                else:
                    for n in range(EVENTS):
                        receipt = await thread.emit("n", {"n": n})
                await receipt.reached(Stage.ACKED)
                total = (await runtime.audit()).total
                assert (total.dropped, total.unconfirmed) == (0, 0)
                if by == "tokens":
                    text = "".join(one.payload["text"] for one in seen if one.type == "agent_delta")
                    assert text == "".join(f"{n:03}" for n in range(EVENTS))
                else:
                    assert [one.payload["n"] for one in seen if one.type == "n"] == list(range(EVENTS))
                taking.cancel()
                await asyncio.wait([taking])

    run(main)


def test_a_wait_for_devices_is_cancelled_exactly() -> None:
    """An ``emit`` that waits for a device is given up at once, and what was given up is not delivered."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            await runtime.bind("t1", "alice")
            thread = runtime.thread("t1", ahead=2, ahead_seconds=60)
            async with runtime.follow("alice") as followed:
                for n in range(2):
                    await thread.emit("n", {"n": n})
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await thread.emit("given up", {})
                seen: list[str] = []
                emitting = asyncio.create_task(thread.emit("after", {}))
                async for item in followed:
                    if isinstance(item, Event):
                        seen.append(item.type)
                        if item.type == "after":
                            break
                await emitting
                assert seen == ["n", "n", "after"]

    run(main)


def test_what_cannot_be_meant_is_refused() -> None:
    """The errors are those of ``actors.Runtime.thread``."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            with pytest.raises(ValueError, match="ahead"):
                runtime.thread("t1", ahead=0)
            with pytest.raises(ValueError, match="ahead"):
                async with runtime.thread("t1").run("writer", ahead=10**9):
                    pytest.fail("it is refused")

    run(main)
