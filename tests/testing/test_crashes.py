"""Injected crashes: numbered, and each once."""

from __future__ import annotations

import pytest

from actors.testing.crashes import Crashes, CrashingActor, InjectedCrash


class Echo:
    """An actor that notes what it does."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def handle(self, message: str) -> bool | None:
        self.done.append(message)
        return True

    async def settle(self) -> None:
        self.done.append("settled")


async def test_moments() -> None:
    """A crash comes before a message, after it or before what it left is settled, in the order of the plan."""
    crashes, echo = Crashes(), Echo()
    actor = CrashingActor(echo, "users/alice", crashes=crashes)
    crashes.arm("users/alice", ["before", "after", "settle"])
    for number in (1, 2):
        with pytest.raises(InjectedCrash, match=f"injected crash {number};"):
            actor.handle("message")
    assert echo.done == ["message"], "the second crash was after the message"
    with pytest.raises(InjectedCrash):
        await actor.settle()
    assert actor.handle("message") is True
    await actor.settle()
    assert echo.done[-1] == "settled"
    assert crashes.count("users/alice") == 3


def test_others_are_spared() -> None:
    """A crash is armed for one actor, until all faults end."""
    crashes = Crashes()
    crashes.arm("users/alice", ["before"])
    crashes.strike("users/bob", "before")
    crashes.heal()
    crashes.strike("users/alice", "before")
    assert not crashes.fired
