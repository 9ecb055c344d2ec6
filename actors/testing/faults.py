"""Crashes that are injected into actors, each with a number, so that it can be told whether it was reported once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

Moment = Literal["before", "after", "settle"]
"""Before a message is handled, after it, and before what it left is settled."""


class InjectedCrash(Exception):  # noqa: N818 - what happened
    """A handler raised, because it was told to."""


@attrs.define
class Crashes:
    """The crashes that are to happen, by actor, and those that did."""

    armed: dict[str, list[Moment]] = attrs.field(factory=dict)
    fired: dict[int, str] = attrs.field(factory=dict)
    """The path of the actor, by the number of the crash."""
    before: int = 0
    """How many happened to earlier runtimes."""

    def arm(self, path: str, moments: list[Moment]) -> None:
        """The next messages of an actor crash it."""
        self.armed.setdefault(path, []).extend(moments)

    def strike(self, path: str, moment: Moment) -> None:
        """Crash, if that is to happen now."""
        moments = self.armed.get(path)
        if moments and moments[0] == moment:
            moments.pop(0)
            number = len(self.fired) + 1
            self.fired[number] = path
            raise InjectedCrash(f"injected crash {number};")

    def heal(self) -> None:
        """Nothing crashes any more."""
        self.armed.clear()

    def count(self, path: str) -> int:
        """How often an actor has crashed."""
        return sum(one == path for one in self.fired.values())


class Fragile:
    """An actor that crashes when it is told to."""

    def __init__(self, actor: Any, path: str, crashes: Crashes) -> None:
        self._actor = actor
        self._path = path
        self._crashes = crashes

    def handle(self, message: Any) -> bool | None:
        """Take one message."""
        self._crashes.strike(self._path, "before")
        more: bool | None = self._actor.handle(message)
        self._crashes.strike(self._path, "after")
        return more

    async def settle(self) -> None:
        """Finish what was left."""
        self._crashes.strike(self._path, "settle")
        await self._actor.settle()


def fragile(build: Callable[[str], Any], name: str, crashes: Crashes) -> Callable[[str], Any]:
    """What builds actors, each of them behind its fragility."""
    return lambda key: Fragile(build(key), f"{name}/{key}", crashes)
