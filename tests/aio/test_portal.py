"""A portal: how a thread with Trio in it begins and ends around an asyncio block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from actors.aio.bridge import Bridge
from actors.aio.portal import Portal
from tests.aio.support import run

Enter = Callable[[], AbstractAsyncContextManager[Any]]


def portal(enter: Enter) -> Portal[Any]:
    """A portal to what is entered."""
    return Portal(Bridge(asyncio.get_running_loop()), enter, name="actors test", patience_seconds=1)


@asynccontextmanager
async def counted(steps: list[str]) -> AsyncIterator[str]:
    """Note when it is entered and left."""
    steps.append("entered")
    try:
        yield "inner"
    finally:
        await trio.lowlevel.cancel_shielded_checkpoint()
        steps.append("left")


@asynccontextmanager
async def failing(after_seconds: float) -> AsyncIterator[None]:
    """Fail by itself, as a runtime does whose restarts are exhausted."""

    async def fail() -> None:
        await trio.sleep(after_seconds)
        scope.cancel()

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(fail)
            yield
        nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            raise LookupError("it gave up")


def test_the_block_is_inside_of_what_was_entered() -> None:
    """It is entered before the block, left after it, and the thread has ended then, whatever the block raises."""

    async def main() -> None:
        steps: list[str] = []
        async with portal(lambda: counted(steps)) as found:
            assert found.inner == "inner"
            assert steps == ["entered"]
        assert steps == ["entered", "left"]
        with pytest.raises(KeyError):
            async with portal(lambda: counted(steps)):
                raise KeyError
        assert steps[2:] == ["entered", "left"]

    run(main)


def test_what_fails_to_open_raises_here() -> None:
    """An exception on entry comes out bare, and nothing is left behind."""

    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        raise OSError("no")
        yield

    async def main() -> None:
        with pytest.raises(OSError, match="no"):
            async with portal(broken):
                pytest.fail("it is not open")

    run(main)


@pytest.mark.parametrize("turns", range(6))
def test_a_host_that_is_cancelled_while_it_opens_leaves_nothing_behind(turns: int) -> None:
    """Cancelled at any moment of the beginning, the other side is left, and its thread has ended."""

    async def main() -> None:
        steps: list[str] = []

        @asynccontextmanager
        async def slow() -> AsyncIterator[None]:
            await trio.sleep(0.01)
            async with counted(steps):
                yield

        async def enter() -> None:
            async with portal(slow):
                await asyncio.sleep(60)

        task = asyncio.create_task(enter())
        for _ in range(turns):
            await asyncio.sleep(0.004)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert steps in ([], ["entered", "left"])

    run(main)


def test_what_ends_by_itself_cancels_the_host_and_raises() -> None:
    """The block is cancelled, its error is the other side's, and the task's count is what it was."""

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(LookupError, match="it gave up"):
            async with portal(lambda: failing(0.01)):
                await asyncio.sleep(60)
        assert task.cancelling() == 0
        await asyncio.sleep(0)  # no cancellation is left over

    run(main)


def test_what_ends_while_the_block_does_not_wait_raises_all_the_same() -> None:
    """A block that is over before the cancellation reaches it leaves none behind for the next await."""

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(LookupError):
            async with portal(lambda: failing(0.01)) as found:
                found._thread.join()
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    run(main)


def test_a_cancellation_of_the_hosts_own_wins() -> None:
    """A timeout of the host's around it stays a timeout, whichever came first."""

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError):  # noqa: PT012 - the whole block is what is tested
            async with asyncio.timeout(0.02):
                async with portal(lambda: failing(60)):
                    await asyncio.sleep(60)
        assert task.cancelling() == 0

    run(main)


def test_a_host_that_is_cancelled_while_it_leaves_waits_for_the_end() -> None:
    """The thread has ended when CancelledError comes out, however often the host was cancelled."""

    async def main() -> None:
        steps: list[str] = []

        @asynccontextmanager
        async def slow() -> AsyncIterator[None]:
            async with counted(steps):
                yield
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.03)

        leaving = asyncio.Event()

        async def enter() -> None:
            async with portal(slow):
                leaving.set()

        task = asyncio.create_task(enter())
        await leaving.wait()
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert steps == ["entered", "left"]

    run(main)


def test_two_portals_are_two_threads() -> None:
    """Programs may open several, in one loop."""

    async def main() -> None:
        async with portal(lambda: counted([])) as one, portal(lambda: counted([])) as other:
            threads = {await each.bridge.ask(threading.get_ident) for each in (one, other)}
            assert len(threads | {threading.get_ident()}) == 3

    run(main)
