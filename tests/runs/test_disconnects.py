"""Disconnects: runs of users who have gone go on, or end after the grace."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import actors
from tests.runs.harness import LIMITS, Agent, open_harness

GRACE = LIMITS.disconnect_grace_seconds


async def test_detach(autojump_clock: trio.testing.MockClock) -> None:
    """With ``detach`` a run goes on when its user has gone."""
    async with open_harness(Agent()) as harness:
        device = await harness.device()
        await device.send("a")
        await device.leave()
        await trio.sleep(GRACE * 3)
        assert len(harness.runtime.tree.runs.registry.active) == 1


@pytest.mark.parametrize("stays_seconds", [0.0, 5.0])
async def test_cancel_after(stays_seconds: float, autojump_clock: trio.testing.MockClock) -> None:
    """With ``cancel_after`` the runs of a user whose last device has gone end after the grace."""
    async with open_harness(Agent(), on_disconnect="cancel_after") as harness:
        devices = [await harness.device() for _ in range(2)]
        await devices[0].send("a")
        await trio.sleep(stays_seconds)
        for device in devices:
            await device.leave()
        await trio.sleep(GRACE - 1)
        assert len(harness.runtime.tree.runs.registry.active) == 1
        await trio.sleep(3)
        assert (await harness.story())[-1] == "a: agent_cancelled (disconnected)"


async def test_who_comes_back_in_time(autojump_clock: trio.testing.MockClock) -> None:
    """A user who comes back within the grace ends nothing; the next absence has a grace of its own."""
    async with open_harness(Agent(), on_disconnect="cancel_after") as harness:
        device = await harness.device()
        await device.send("a")
        for _ in range(3):
            await trio.sleep(3)
            await device.leave()
            await trio.sleep(GRACE - 5)
            device = await harness.device()
        assert len(harness.runtime.tree.runs.registry.active) == 1


async def test_one_device_is_enough(autojump_clock: trio.testing.MockClock) -> None:
    """While another device of the user is there, they are not gone."""
    async with open_harness(Agent(), on_disconnect="cancel_after", limits=actors.Limits(ping_seconds=600)) as harness:
        devices = [await harness.device() for _ in range(2)]
        await devices[0].send("a")
        await devices[0].leave()
        await trio.sleep(GRACE * 2)
        assert len(harness.runtime.tree.runs.registry.active) == 1


async def test_who_was_never_there_has_not_gone(autojump_clock: trio.testing.MockClock) -> None:
    """A run of the application, for a user who was not there while it was active, goes on without them."""
    async with open_harness(on_disconnect="cancel_after") as harness, trio.open_nursery() as nursery:

        async def work(run_id: str) -> None:
            async with harness.runtime.thread("t1").run("bot", run_id=run_id):
                await trio.sleep_forever()

        nursery.start_soon(work, "seen")
        device = await harness.device()
        await trio.sleep(5)
        await device.leave()
        await trio.sleep(2)
        nursery.start_soon(work, "unseen")
        await trio.sleep(GRACE * 2)
        assert list(harness.runtime.tree.runs.registry.active) == ["unseen"]
        await harness.runtime.cancel("unseen")
