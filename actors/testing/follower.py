"""A simulated follower: code of the server's process that follows a user, at its own pace, over one life after another.

It enters what it is handed as a connection's messages, so that the oracle holds
it to what it holds connections to. With its process it dies: what it had in
hand then was not taken.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import trio

from actors.connections.following import Following
from actors.errors import ActorsError
from actors.events.delivered import Event
from actors.events.items import Active, Ask, AskClosed, CaughtUp, Gap, Inactive, Item, Reset
from actors.runtime import Runtime
from actors.testing.chance import Chance
from actors.testing.oracle import Oracle
from actors.testing.records import Records, Wire

_PAUSE_SECONDS = 0.5
"""Between two tries to follow, as long as there is no runtime, or it has no room."""


_NOTHING_SECONDS = 0.5
"""Waited for so long without an item, a follower has all there is."""


class FollowedWorld(Protocol):
    """The world, as a follower knows it."""

    runtime: Runtime
    up: bool
    calm: bool
    killed: bool
    oracle: Oracle
    records: Records

    def note(self, who: str, what: str) -> None:
        """Add a line to the trace."""


class Follower:
    """One consumer; :meth:`run` is its life."""

    def __init__(self, world: FollowedWorld, user_id: str, *, label: str, chance: Chance) -> None:
        self.user_id = user_id
        self.label = label
        self.cursor: tuple[str, int] | None = None
        self.questions: set[str] = set()
        self.running: set[str] = set()
        self.caught_up: bool = False
        """True if nothing came any more."""
        self._scope = trio.CancelScope()
        self._world = world
        self._chance = chance

    def leave(self) -> None:
        """Follow no more."""
        self._scope.cancel()

    async def run(self) -> None:
        """Follow again and again, until it leaves."""
        with self._scope:
            await self._live()

    async def _live(self) -> None:
        while True:
            if self._world.up:
                try:
                    await self._follow(self._world.runtime)
                except ActorsError as error:
                    self._world.note(self.label, f"cannot follow: {error}")
            self.caught_up = False
            await trio.sleep(_PAUSE_SECONDS)

    async def _follow(self, runtime: Runtime) -> None:
        """Follow until the runtime ends it, or until it has had enough."""
        enough = self._chance.count(1, 80)
        async with runtime.follow(self.user_id, after=self.cursor, origin="unacked") as followed:
            wire = self._begin(followed)
            while self._world.calm or enough:
                enough -= 1
                begun, item = trio.current_time(), None
                with trio.move_on_after(self._chance.between(0, 2)):  # what is cancelled comes again
                    item = await anext(followed, None)
                    if item is None or self._world.killed:
                        return
                    self._take(item, followed, wire)
                    await trio.sleep(self._chance.one((0.0, 0.0, 0.05, 3.0)))
                self.caught_up = item is None and trio.current_time() - begun > _NOTHING_SECONDS
                self._come_back(followed, wire)

    def _begin(self, followed: Following) -> Wire:
        wire = self._world.oracle.connect(self.user_id)
        wire.session, wire.hello = f"{self.label}.{wire.number}", {"renames": True}
        wire.epoch, wire.position = followed.position
        wire.epochs.add(wire.epoch)
        self.questions.clear()
        self.running.clear()
        self._world.note(self.label, f"follows after {self.cursor}, from {followed.position}")
        return wire

    def _take(self, item: Item, followed: Following, wire: Wire) -> None:
        epoch = _epoch_of(followed)
        if epoch != wire.epoch and not isinstance(item, Reset):
            fork = self._world.records.shared(self.user_id, wire.epoch, epoch)
            self._world.oracle.write(wire, {"op": "epoch", "epoch": epoch, "offset": fork})
        match item:
            case Event():
                message = msgspec.to_builtins(item)
                self._world.oracle.write(wire, message)
                self._world.oracle.receive(wire, wire.epoch, item.offset, item.offset)
                self._take_event(item)
            case Gap(first, last, cause):
                self._world.oracle.write(wire, {"op": "gap", "from": first, "to": last, "cause": cause})
            case Reset(epoch=epoch, low=low):
                wire.position = None if wire.epoch == epoch else wire.position
                self._world.oracle.write(wire, {"op": "reset", "epoch": epoch, "low": low})
                self.running.clear()
            case CaughtUp(offset):
                self._world.oracle.write(wire, {"op": "caught_up", "offset": offset})
            case _:
                self._take_current(item, wire)

    def _take_event(self, event: Event) -> None:
        if event.type == "agent_started" and event.run_id is not None:
            self.running.add(event.run_id)
        elif event.type in {"agent_completed", "agent_failed", "agent_cancelled"}:
            self.running.discard(event.run_id or "")

    def _take_current(self, item: Item, wire: Wire) -> None:
        match item:
            case Ask(id=name, thread_id=thread_id):
                self._world.oracle.write(wire, {"op": "ask", "event": {"thread_id": thread_id}})
                self._once(name not in self.questions, item)
                self.questions.add(name)
            case AskClosed(id=name):
                self._once(name in self.questions, item)
                self.questions.discard(name)
            case Active(run_id=run_id, thread_id=thread_id):
                self._world.oracle.write(wire, {"op": "active", "event": {"thread_id": thread_id}})
                self.running.add(run_id)
            case Inactive(run_id=run_id):
                self._once(run_id in self.running, item)
                self.running.discard(run_id)

    def _once(self, holds: bool, item: Item) -> None:
        if not holds:
            self._world.records.complain(3, f"{self.label} was handed {item}, which it knew")

    def _come_back(self, followed: Following, wire: Wire) -> None:
        """Enter the ack that coming back is, before it can be."""
        in_hand: Any = followed._follower._in_hand
        if in_hand is not None and not self._world.killed:
            self._world.oracle.ack(wire, in_hand.epoch, in_hand.offset)
        self.cursor = followed.taken if in_hand is None else (in_hand.epoch, in_hand.offset)


def _epoch_of(followed: Following) -> str:
    subscription = followed._follower.subscription
    assert subscription is not None, "a device that was attached has a subscription"
    return subscription.ledger.epoch
