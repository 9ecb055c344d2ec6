"""Troubles of a device: of its line, of its page, of the machine that it runs on."""

from __future__ import annotations

from typing import Protocol

import trio

from actors.testing.chance import Chance
from actors.testing.device import Device
from actors.testing.network import Line

TROUBLES = "cut", "midframe", "reset", "sleep", "vanish", "lag", "freeze", "reload", "slow_ack"
"""The troubles that a plan may name."""

_RANDOM_TROUBLES = tuple(kind for kind in TROUBLES if kind != "reload")
"""And by itself: a page that is reloaded has forgotten what it showed and asked, which is for a test to decide."""


class Troubled(Protocol):
    """The world that troubles happen in: a :class:`~actors.testing.World`."""

    chance: Chance
    nursery: trio.Nursery
    devices: list[Device]
    calm: bool

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""


async def random_troubles(world: Troubled) -> None:
    """Let something happen to a device now and then, until the world is calm."""
    chance = world.chance.of("random_troubles")
    while not world.calm:
        await trio.sleep(chance.between(0.02, 1.5))
        devices = [device for device in world.devices if not device.left]
        if devices and not world.calm:
            trouble(world, chance.one(devices), chance.one(_RANDOM_TROUBLES), chance)


def trouble(world: Troubled, device: Device, kind: str, chance: Chance) -> None:
    """Bring one trouble to a device."""
    line, now = device.line, trio.current_time()
    world.note(device.label, kind)
    seconds = chance.one((0.05, 0.7, 6.0, 30.0)) * chance.between(0.5, 1.5)
    match kind:
        case "cut" if line is not None:
            line.cut(line.down.size)
        case "midframe" if line is not None:
            line.cut(chance.count(0, max(line.down.size - 1, 0)))
        case "reset" if line is not None:
            line.reset()
        case "sleep":
            device.away_until = now + seconds
            device.hang_up()
        case "vanish":
            device.away_until = now + seconds / 4
            device.hang_up(silently=True)
        case "lag":
            device.lag_until = now + seconds
        case "freeze" if line is not None:
            line.freeze(frozen=True)
            world.nursery.start_soon(_thaw, line, seconds)
        case "reload":
            device.reload()
        case "slow_ack":
            device.ack_seconds = seconds


async def _thaw(line: Line, seconds: float) -> None:
    await trio.sleep(seconds)
    line.freeze(frozen=False)
