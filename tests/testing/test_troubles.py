"""Troubles of a device, each as it happens to a world."""

from __future__ import annotations

import pytest

from actors.testing import simulate
from actors.testing.troubles import TROUBLES, trouble


@pytest.mark.parametrize("kind", TROUBLES)
async def test_each_kind_passes(kind: str, autojump_clock: object) -> None:
    """Whatever happens to a device, it has every event afterwards, and the trace says what happened."""
    async with simulate(7, faulty=False) as world:
        device = world.device("alice")
        await world.runtime.thread("t").emit("before", {}, user_id="alice")
        await world.settle()
        trouble(world, device, kind, world.chance.of("test"))
        assert kind in world.trace[-1]
        await world.runtime.thread("t").emit("after", {})
        await world.settle()
        assert "after" in [event["type"] for event in device.seen]
