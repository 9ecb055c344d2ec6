"""Disconnects: runs of users who have gone go on, or end after the grace."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import actors
from tests.runs.house import LIMITS, Agent, house

GRACE = LIMITS.disconnect_grace_seconds


async def test_detach(autojump_clock: trio.testing.MockClock) -> None:
    """With ``detach`` a run goes on when its user has gone."""
    async with house(Agent()) as here:
        device = await here.device()
        await device.send("a")
        await device.leave()
        await trio.sleep(GRACE * 3)
        assert len(here.runtime.tree.runs.registry.active) == 1


@pytest.mark.parametrize("stays_seconds", [0.0, 5.0])
async def test_cancel_after(stays_seconds: float, autojump_clock: trio.testing.MockClock) -> None:
    """With ``cancel_after`` the runs of a user whose last device has gone end after the grace, however short he was."""
    async with house(Agent(), on_disconnect="cancel_after") as here:
        devices = [await here.device() for _ in range(2)]
        await devices[0].send("a")
        await trio.sleep(stays_seconds)
        for device in devices:
            await device.leave()
        await trio.sleep(GRACE - 1)
        assert len(here.runtime.tree.runs.registry.active) == 1
        await trio.sleep(3)
        assert (await here.story())[-1] == "a: agent_cancelled (disconnected)"


async def test_who_comes_back_in_time(autojump_clock: trio.testing.MockClock) -> None:
    """A user who comes back within the grace ends nothing; the next absence has a grace of its own."""
    async with house(Agent(), on_disconnect="cancel_after") as here:
        device = await here.device()
        await device.send("a")
        for _ in range(3):
            await trio.sleep(3)
            await device.leave()
            await trio.sleep(GRACE - 5)
            device = await here.device()
        assert len(here.runtime.tree.runs.registry.active) == 1


async def test_one_device_is_enough(autojump_clock: trio.testing.MockClock) -> None:
    """While another device of the user is there, he has not gone."""
    async with house(Agent(), on_disconnect="cancel_after", limits=actors.Limits(ping_seconds=600)) as here:
        devices = [await here.device() for _ in range(2)]
        await devices[0].send("a")
        await devices[0].leave()
        await trio.sleep(GRACE * 2)
        assert len(here.runtime.tree.runs.registry.active) == 1


async def test_who_was_never_there_has_not_gone(autojump_clock: trio.testing.MockClock) -> None:
    """A run of the application, for a user who was not there while it was active, goes on without him."""
    async with house(on_disconnect="cancel_after") as here, trio.open_nursery() as nursery:

        async def work(run_id: str) -> None:
            async with here.runtime.thread("t1").run("bot", run_id=run_id):
                await trio.sleep_forever()

        nursery.start_soon(work, "seen")
        device = await here.device()
        await trio.sleep(5)
        await device.leave()
        await trio.sleep(2)
        nursery.start_soon(work, "unseen")
        await trio.sleep(GRACE * 2)
        assert list(here.runtime.tree.runs.registry.active) == ["unseen"]
        await here.runtime.cancel("unseen")
