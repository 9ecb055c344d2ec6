"""The records of a simulation: what emitters were told, and what connections were sent and devices took.

Pure data, of which the parts of the oracle and the verdict read and to which
they add. Time is a counter of its own, one more with each entry, so "before"
means before. What contradicts an invariant is a *mismatch*, noted with the
invariant's number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs

from actors.receipts import Receipt
from actors.testing.invariants import name_of
from actors.testing.owners import Owners

STARTED = "agent_started"
TERMINAL = frozenset({"agent_completed", "agent_failed", "agent_cancelled"})
DELTA = "agent_delta"

Place = tuple[str, str, int]
"""User, epoch and offset of an event."""


@attrs.frozen
class Mismatch:
    """A contradiction to one of :data:`~actors.testing.invariants.INVARIANTS`, by its number."""

    invariant: int
    text: str

    def __str__(self) -> str:
        return f"invariant {self.invariant}, {name_of(self.invariant)}: {self.text}"


@attrs.define(eq=False, kw_only=True)
class Emit:
    """One event as its emitters know it; several calls may have emitted it, under one id."""

    event_id: str
    life: int
    """The life of the store in which it was emitted: what a store in memory has ends with its runtime."""
    runtime: int
    """The number of the runtime that took it first: a restart begins the next."""
    thread_id: str
    begun: int
    type: str = ""
    run_id: str | None = None
    payload: Any = None
    ended: float = math.inf
    calls: int = 0
    """Calls that returned with a receipt."""
    receipts: list[Receipt] = attrs.field(factory=list)
    """The receipts of those calls, each once."""
    stage: str = ""
    """The newest stage that a probe saw of the first receipt."""
    user_id: str | None = None
    """The owner that an emitter named."""
    told: list[Place] = attrs.field(factory=list)
    """The places that receipts told, which also said that they survive the process, when that was killed."""
    alone: bool = True
    """True while there is one call, because then the call's time decides its place among the thread's events."""

    @property
    def receipt(self) -> Receipt | None:
        """The receipt of the first call."""
        return self.receipts[0] if self.receipts else None

    @property
    def seq(self) -> int:
        """The number in its thread; 0 while the store has given none."""
        return (self.receipts[0].seq or 0) if self.receipts else 0


@attrs.define(eq=False, kw_only=True)
class Wire:
    """One connection, as the messages in each direction leave it."""

    number: int
    user_id: str
    life: int
    plain: bool = False
    hello: dict[str, Any] = attrs.field(factory=dict)
    session: str = ""
    epoch: str = ""
    position: int | None = None
    """The last offset that the runtime wrote to it."""
    fenced_above: float = math.inf
    """Head when its session got another connection; events beyond it belong to that one."""
    over: bool = False
    epochs: set[str] = attrs.field(factory=set)
    """The epochs that it was told of."""
    renamed_to: str = ""
    """The epoch that a welcome named in place of the cursor's, until the message that says so has come."""


@attrs.frozen(kw_only=True)
class Placed:
    """An event as a device sees it."""

    thread_id: str
    seq: int
    first_seq: int
    type: str
    run_id: str | None
    event_id: str | None
    payload: dict[str, Any] = attrs.field(eq=False)


@attrs.define(kw_only=True)
class Log:
    """The events that were placed in one epoch of one user's log, as far as the runtime wrote them to a connection."""

    user_id: str
    life: int
    events: dict[int, Placed] = attrs.field(factory=dict)
    written: set[int] = attrs.field(factory=set)
    """Offsets that a line took, with all their bytes."""
    received: dict[str, set[int]] = attrs.field(factory=dict)
    """Offsets that devices received, by session."""
    acked: set[int] = attrs.field(factory=set)
    """Offsets that a device received and acked."""
    forgotten: set[int] = attrs.field(factory=set)
    """Offsets that no device can ack any more, because the server had forgotten the session that received them."""


class Records:
    """Everything that was recorded, over all lives of the runtime."""

    def __init__(self) -> None:
        self.mismatches: list[Mismatch] = []
        self.emits: dict[tuple[int, str, str], Emit] = {}
        """By life, thread and event id."""
        self.logs: dict[tuple[str, str], Log] = {}
        """By user and epoch."""
        self.owners: dict[tuple[int, str], Owners] = {}
        """By life and thread."""
        self.wires: list[Wire] = []
        self.tokens: dict[str, list[str]] = {}
        """The text that each run took, token by token, by runtime and run."""
        self.forks: dict[str, list[tuple[str, str, int]]] = {}
        """By user: an epoch that ended, the one that follows, and the last offset that they share; oldest first."""
        self.in_trouble: Callable[[], bool] = lambda: False
        """Tells whether the store is in trouble: what a device is told then may be lost with the life that told it."""
        self.quarantined: set[str] = set()
        """Paths of quarantined actors, in this life of the runtime."""
        self.life: int = 0
        self.runtime: int = 0
        self.now: int = 0

    def tick(self) -> int:
        """Return a moment later than all before."""
        self.now += 1
        return self.now

    def complain(self, invariant: int, text: str) -> None:
        """Note a mismatch."""
        self.mismatches.append(Mismatch(invariant, text))

    def begin_life(self, *, durable: bool = False) -> None:
        """Begin the next life: another runtime starts, over the same events if the store is ``durable``."""
        self.life += not durable
        self.runtime += 1
        self.quarantined.clear()

    def fork(self, user_id: str, before: str, after: str, offset: int) -> None:
        """Enter that a log goes on in another epoch, which shares all up to an offset with the one before.

        An epoch between the two is forgotten, if no connection of the user was told of it but for one that was told
        while the store was in trouble; another user's log may have the same.
        """
        last = self.forks[user_id][-1] if self.forks.get(user_id) else None
        told = {epoch for wire in self.wires if wire.user_id == user_id for epoch in wire.epochs}
        if last is not None and last[0] == before and last[1] not in told:
            self.forks[user_id].pop()
        self.forks.setdefault(user_id, []).append((before, after, offset))

    def epoch_of(self, user_id: str) -> str | None:
        """Return the epoch in which a log went on after its last fork, ``None`` if it had none."""
        forks = self.forks.get(user_id)
        return forks[-1][1] if forks else None

    def shared(self, user_id: str, before: str, after: str) -> int | None:
        """Return the last offset that two epochs share, ``None`` if the later one does not continue the other."""
        epoch, least = before, math.inf
        for one, following, offset in self.forks.get(user_id, ()):
            if one == epoch:
                epoch, least = following, min(least, offset)
            if epoch == after and epoch != before:
                return int(least)
        return None

    def origin(self, user_id: str, epoch: str, offset: int) -> str:
        """Return the epoch in which the event at an offset was placed, which a later epoch may have kept."""
        for before, after, shared in reversed(self.forks.get(user_id, ())):
            if after == epoch and offset <= shared:
                epoch = before
        return epoch

    def is_lost(self, user_id: str, epoch: str, offset: int) -> bool:
        """True if the event at an offset of an epoch was lost with a fork."""
        lost = False
        for before, after, shared in self.forks.get(user_id, ()):
            if before == epoch:
                lost, epoch = lost or offset > shared, after
        return lost

    def log(self, wire: Wire, epoch: str, offset: int) -> Log:
        """Return the part of the log of a connection's user that was placed in the same epoch as an offset."""
        return self.log_at((wire.user_id, epoch, offset), wire.life)

    def log_at(self, place: Place, life: int | None = None) -> Log:
        """Return the part of a log that was placed in the same epoch as an event."""
        user_id, epoch, offset = place
        key = user_id, self.origin(user_id, epoch, offset)
        return self.logs.setdefault(key, Log(user_id=user_id, life=self.life if life is None else life))

    def owners_of(self, thread_id: str, life: int | None = None) -> Owners:
        """Return the changes of a thread's owner, in one life of the runtime or in the present one."""
        return self.owners.setdefault((self.life if life is None else life, thread_id), Owners())
