"""Crashes that are injected into actors, each with a number, so that it can be told whether it was reported once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import attrs

from actors.kernel.dynamic_supervisor import Kind
from actors.kernel.failures import Failure
from actors.kernel.mailbox import Ended

Moment = Literal["before", "after", "settle"]
"""Before a message is handled, after it, and before what it left is settled."""


class InjectedCrash(Exception):
    """A handler raised, because it was told to."""


@attrs.define(kw_only=True)
class Crashes:
    """The crashes that are to happen, by actor, and those that did."""

    armed: dict[str, list[Moment]] = attrs.field(factory=dict)
    fired: dict[int, str] = attrs.field(factory=dict)
    """The path of the actor, by the number of the crash."""
    before: int = 0
    """The crashes that happened to earlier runtimes."""

    def arm(self, path: str, moments: list[Moment]) -> None:
        """Have the next messages of an actor crash it."""
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
        """Crash no actor any more."""
        self.armed.clear()

    def count(self, path: str) -> int:
        """Count the crashes of an actor."""
        return sum(one == path for one in self.fired.values())


class CrashingActor:
    """An actor that crashes when it is told to."""

    def __init__(self, actor: Any, path: str, *, crashes: Crashes) -> None:
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


class CrashingKind:
    """A kind of actor, each of which crashes when the plan says so."""

    def __init__(self, kind: Kind[Any], name: str, *, crashes: Crashes) -> None:
        self._name = name
        self._kind = kind
        self._crashes = crashes
        self.dead_letter: Callable[[Any, Ended], bool | None] = kind.dead_letter
        self.quarantined: Callable[[str, Failure], None] = kind.quarantined

    def build(self, key: str) -> CrashingActor:
        """Build an actor behind its fragility."""
        return CrashingActor(self._kind.build(key), f"{self._name}/{key}", crashes=self._crashes)

    async def settled(self) -> None:
        """Wait until all that the actors have handed on is answered. A checkpoint."""
        await self._kind.settled()
