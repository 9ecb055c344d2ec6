"""A device in the process, from asyncio: it is sent what any device is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors import RuntimeClosed, Stage, Unencodable, aio
from actors.client import CaughtUp, Event
from tests.aio.support import run, served


def test_it_gets_what_a_device_gets() -> None:
    """Events are acked when the loop comes back; another one goes on after what was taken."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            thread = runtime.thread("t1")
            await runtime.bind("t1", "alice")
            async with runtime.follow("alice", "t1") as followed:
                assert await runtime.devices("alice") == 1
                receipts = [await thread.emit("n", {"n": n}) for n in range(3)]
                seen: list[int] = []
                async for item in followed:
                    if isinstance(item, Event):
                        seen.append(item.payload["n"])
                        if len(seen) == 2:
                            break
                assert seen == [0, 1]
                assert [await one.refresh() for one in receipts] == [Stage.ACKED, Stage.WRITTEN, Stage.STORED]
                assert followed.taken == (followed.position[0], followed.position[1] + 1)
            assert await runtime.devices("alice") == 0
            async with runtime.follow("alice", after=followed.taken) as again:
                first = [item async for item in _some(again, 2)]
            assert [one.payload["n"] for one in first] == [1, 2]

    run(main)


async def _some(followed: aio.Following, count: int) -> AsyncIterator[Event]:
    async for item in followed:
        if isinstance(item, Event):
            yield item
            count -= 1
        if not count:
            return


def test_a_cancelled_wait_loses_no_item() -> None:
    """A timeout around ``anext`` at any moment: each event comes once."""

    async def main() -> None:
        async with served() as (runtime, _), runtime.follow("alice") as followed:

            async def emit() -> None:
                for n in range(100):
                    await runtime.thread("t1").emit("n", {"n": n})
                    await asyncio.sleep(0.0005)

            emitting = asyncio.create_task(emit())
            seen: list[int] = []
            while len(seen) < 100:
                try:
                    async with asyncio.timeout(0.0003 * (len(seen) % 7)):
                        item = await anext(followed)
                except TimeoutError:
                    item = await anext(followed)
                if isinstance(item, Event):
                    seen.append(item.payload["n"])
            await emitting
            assert seen == list(range(100))

    run(main)


def test_it_ends_with_the_runtime() -> None:
    """A drain waits for it and ends its loop, with the reason; a body that is cancelled leaves no device behind."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            await runtime.bind("t1", "alice")

            async def follow() -> tuple[str, str] | None:
                async with runtime.follow("alice") as followed:
                    async for item in followed:
                        begun.set() if isinstance(item, CaughtUp) else None
                return followed.ended

            begun = asyncio.Event()
            cancelled = asyncio.create_task(follow())
            await begun.wait()
            cancelled.cancel()
            await asyncio.wait([cancelled])
            assert cancelled.cancelled()
            assert await runtime.devices("alice") == 0
            begun.clear()
            task = asyncio.create_task(follow())
            await begun.wait()
            await runtime.drain(5)
            reason, _ = await task or ("", "")
            assert reason == "shutting_down"
        with pytest.raises(RuntimeClosed):
            async with runtime.follow("alice"):
                pytest.fail("it is closed")

    run(main)


def test_what_cannot_be_followed_is_refused() -> None:
    """The errors are those of ``actors.Runtime.follow``."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            for user_id, options, error in (
                ("", {}, Unencodable),
                ("alice", {"after": 1}, TypeError),
                ("alice", {"origin": "never"}, ValueError),
            ):
                with pytest.raises(error):
                    async with runtime.follow(user_id, **options):
                        pytest.fail("it cannot be followed")

    run(main)
