"""A passage: the end of a call, for one task that may be cancelled and come back."""

from __future__ import annotations

import asyncio

import pytest

from actors.aio.passage import Passage
from tests.aio.support import run


def test_a_value_and_an_error_come_to_the_task_that_waits() -> None:
    """The first end counts, whether it comes before the wait or during it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        early: Passage[int] = Passage(loop)
        early.settle(1)
        early.settle(2, KeyError("late"))
        assert await early.wait() == 1
        late: Passage[int] = Passage(loop)
        loop.call_soon(late.settle, None, KeyError("x"))
        with pytest.raises(KeyError):
            await late.wait()
        assert late.taken

    run(main)


def test_a_cancelled_wait_loses_nothing() -> None:
    """A task that is cancelled while it waits finds the value when it comes back."""

    async def main() -> None:
        passage: Passage[str] = Passage(asyncio.get_running_loop())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await passage.wait()
        assert not passage.taken
        passage.settle("kept")
        assert await passage.wait() == "kept"

    run(main)


def test_an_end_is_waited_for_however_often_the_task_is_cancelled() -> None:
    """``wait_out`` outlasts every cancellation, says that there was one, and leaves the task's count as it was."""

    async def main() -> None:
        passage: Passage[None] = Passage(asyncio.get_running_loop())
        waiting = asyncio.create_task(passage.wait_out())
        for _ in range(3):
            await asyncio.sleep(0)
            waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
        passage.settle(None)
        assert await waiting is True
        assert waiting.cancelling() == 3

    run(main)
