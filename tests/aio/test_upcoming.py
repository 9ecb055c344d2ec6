"""The next item: taken once, whatever becomes of the task that waits for it."""

from __future__ import annotations

import asyncio

import pytest
import trio

from actors.aio.bridge import Bridge
from actors.aio.upcoming import Upcoming
from tests.aio.test_bridge import crossing


def test_an_item_outlives_the_wait_for_it() -> None:
    """A cancelled wait leaves its item for the next; an error is raised once; a second task is refused."""

    async def test(bridge: Bridge) -> None:
        taken = 0

        async def take() -> int:
            nonlocal taken
            await trio.sleep(0.01)
            taken += 1
            if taken == 2:
                raise LookupError
            return taken

        upcoming = Upcoming(bridge, take)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await upcoming.take()
        waiting = asyncio.create_task(upcoming.take())
        await asyncio.sleep(0)
        with pytest.raises(trio.BusyResourceError):
            await upcoming.take()
        assert await waiting == 1
        with pytest.raises(LookupError):
            await upcoming.take()
        assert await upcoming.take() == 3

    crossing(test)
