"""The ledger: what emitters were told, and what devices were sent and took. Nothing else feeds it.

It knows the protocol page and the invariants of the design, and no line of the
runtime. What contradicts one of them is a *mismatch*, noted with the number of
the invariant. Time is a counter of its own: one more with each entry, so
"before" means before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs

from actors.receipts import Receipt
from actors.testing.invariants import name_of
from actors.testing.owners import OwnerChange, Owners

STARTED = "agent_started"
TERMINAL = frozenset({"agent_completed", "agent_failed", "agent_cancelled"})
DELTA = "agent_delta"

_LADDER = "ACCEPTED", "BUFFERED", "STORED", "WRITTEN", "ACKED"
_FINAL = frozenset({"ACKED", "UNCONFIRMED", "DROPPED"})


@attrs.frozen
class Mismatch:
    """Something that cannot be, and which of :data:`~actors.testing.invariants.INVARIANTS` says so."""

    invariant: int
    text: str

    def __str__(self) -> str:
        return f"invariant {self.invariant}, {name_of(self.invariant)}: {self.text}"


@attrs.define(eq=False)
class Emit:
    """One event as its emitters know it: several calls may have been made for it, under one id."""

    event_id: str
    life: int
    """Which runtime it was given to, of those that came one after the other."""
    thread_id: str
    begun: int
    type: str = ""
    run_id: str | None = None
    payload: Any = None
    ended: float = math.inf
    calls: int = 0
    """How many calls returned with a receipt."""
    receipts: list[Receipt] = attrs.field(factory=list)
    """What those calls returned, each receipt once."""
    stage: str = ""
    """The newest that was seen of the first one."""
    user_id: str | None = None
    """The owner whom an emitter named."""
    alone: bool = True
    """There was one call: its place among the thread's events follows from when that was made."""

    @property
    def receipt(self) -> Receipt | None:
        """What the first call returned."""
        return self.receipts[0] if self.receipts else None

    @property
    def seq(self) -> int:
        """Its number in its thread; 0 while it has none."""
        return (self.receipts[0].seq or 0) if self.receipts else 0


@attrs.define(eq=False)
class Wire:
    """One connection: what was said on it in each direction."""

    number: int
    user_id: str
    life: int
    plain: bool = False
    hello: dict[str, Any] = attrs.field(factory=dict)
    session: str = ""
    epoch: str = ""
    position: int | None = None
    """The last offset that was written to it."""
    fenced_above: float = math.inf
    """Its session has another connection; events beyond this offset are that one's."""
    over: bool = False


@attrs.frozen
class Placed:
    """An event as a device sees it."""

    thread_id: str
    seq: int
    first_seq: int
    type: str
    run_id: str | None
    event_id: str | None
    payload: dict[str, Any] = attrs.field(eq=False)


@attrs.define
class Log:
    """One epoch of one user's log, as far as it was ever written to a connection."""

    user_id: str
    life: int
    events: dict[int, Placed] = attrs.field(factory=dict)
    written: set[int] = attrs.field(factory=set)
    """Offsets whose bytes a line has taken."""
    received: dict[str, set[int]] = attrs.field(factory=dict)
    """Offsets that arrived, by session."""
    confirmed: set[int] = attrs.field(factory=set)
    """Offsets that a device had, and confirmed."""
    forgotten: set[int] = attrs.field(factory=set)
    """Offsets that a device had, whose session the server no longer knew when it came back: nobody confirms them."""


class Ledger:
    """Everything that was said, and what of it cannot be."""

    def __init__(self, low_of: Callable[[str], tuple[str, int]] | None = None) -> None:
        self.mismatches: list[Mismatch] = []
        self.emits: dict[tuple[int, str, str], Emit] = {}
        """By life, thread and event id."""
        self.logs: dict[tuple[str, str], Log] = {}
        """By user and epoch."""
        self.owners: dict[tuple[int, str], Owners] = {}
        self.wires: list[Wire] = []
        self.answers: dict[str, int] = {}
        """How often a message was given to an agent, by its event id."""
        self.tokens: dict[str, list[str]] = {}
        """What each run was told to say, and took."""
        self.quarantined: set[str] = set()
        """Paths of actors that were taken out of service, in this life of the runtime."""
        self.life = 0
        self._now = 0
        self._low_of = low_of
        self._places: dict[tuple[int, str, str], tuple[str, str, int]] = {}
        """Where each event was first seen."""
        self._numbered: dict[tuple[int, Any], tuple[str, str, int]] = {}
        """The same, by the number that a simulated emitter puts into the payload."""
        self._replies: dict[tuple[str, str], dict[str, Any]] = {}

    def tick(self) -> int:
        """A moment later than all before."""
        self._now += 1
        return self._now

    def complain(self, invariant: int, text: str) -> None:
        """Note a mismatch."""
        self.mismatches.append(Mismatch(invariant, text))

    # --- emitters -------------------------------------------------------------

    def emitting(self, event: dict[str, Any], user_id: str | None = None) -> Emit:
        """Somebody begins to emit an event."""
        thread_id, event_id = event["thread_id"], event["event_id"]
        key = self.life, thread_id, event_id
        emit = self.emits.get(key)
        if emit is not None:
            emit.alone = False
            emit.ended = emit.ended if emit.calls else math.inf
            return emit
        emit = Emit(event_id, self.life, thread_id, self.tick(), event["type"], event.get("run_id"), event["payload"])
        emit.user_id = user_id
        self.emits[key] = emit
        return emit

    def accepted(self, emit: Emit, receipt: Receipt) -> None:
        """He got a receipt."""
        emit.calls += 1
        emit.ended = min(emit.ended, self.tick())
        if not any(one is receipt for one in emit.receipts):
            emit.receipts.append(receipt)

    def refused(self, emit: Emit) -> None:
        """His call raised: this event will never be delivered, unless another call for it was accepted."""
        if not emit.calls:
            emit.ended = self.tick()

    def owning(self, thread_id: str, user_id: str | None, *, only_if_free: bool = False) -> OwnerChange:
        """Somebody begins to change a thread's owner."""
        return self.owners_of(thread_id).begin(user_id, self.tick(), only_if_free=only_if_free)

    def owned(self, thread_id: str, act: OwnerChange, *, happened: bool | None) -> None:
        """He was told that it has happened, or that it has not; or his call was cut short."""
        self.owners_of(thread_id).end(act, self.tick(), happened=happened)

    def owners_of(self, thread_id: str) -> Owners:
        """The calls about a thread, in this life of the runtime."""
        return self.owners.setdefault((self.life, thread_id), Owners())

    def answering(self, event_id: str) -> None:
        """An agent is given a message."""
        key = f"{self.life}/{event_id}"
        self.answers[key] = self.answers.get(key, 0) + 1
        if self.answers[key] > 1:
            self.complain(5, f"message {event_id} was answered {self.answers[key]} times")

    def saying(self, run_id: str, text: str) -> None:
        """A run took a token."""
        self.tokens.setdefault(f"{self.life}/{run_id}", []).append(text)

    def answered(self, thread_id: str, user_id: str, said: int) -> None:
        """A question of a thread was answered by a user, who said so at a moment."""
        owners = self.owners_of(thread_id)
        owners.look(self.tick())
        if user_id not in owners.at(said, self._now):
            self.complain(4, f"a question of thread {thread_id} was answered by {user_id}, who had lost it")

    def begin_life(self) -> None:
        """Another runtime begins."""
        self.life += 1
        self.quarantined.clear()

    # --- what the runtime writes -----------------------------------------------

    def connect(self, user_id: str, *, plain: bool = False) -> Wire:
        """A device of a user has a line to the server."""
        wire = Wire(len(self.wires), user_id, self.life, plain)
        self.wires.append(wire)
        return wire

    def greet(self, wire: Wire, hello: dict[str, Any]) -> None:
        """The device says hello; resuming at an offset confirms up to it, if the server still knows the session."""
        wire.hello = hello
        resume, session = hello.get("resume"), hello.get("session")
        if resume is not None and session is not None:
            self._ack(wire.user_id, resume["epoch"], session, resume["offset"])

    def write(self, wire: Wire, message: dict[str, Any]) -> None:
        """A line has taken a whole message from the server."""
        self.tick()
        op = message.get("op")
        if "type" in message:
            self._write_event(wire, message)
        elif op == "welcome":
            self._write_welcome(wire, message)
        elif op == "batch":
            self._write_batch(wire, message)
        elif op == "gap":
            self._write_gap(wire, message)
        elif op == "reset":
            self._write_reset(wire, message)
        elif op == "caught_up" and message["offset"] != wire.position:
            self.complain(3, f"wire {wire.number}: caught up at {message['offset']}, and {wire.position} came last")
        elif op == "reply":
            self._write_reply(wire, message)
        elif op in {"ask", "active"}:
            self._write_standing(wire, op, message["event"])

    def receive(self, wire: Wire, epoch: str, first: int, last: int) -> None:
        """A range of offsets has arrived at the device, whole and in order."""
        log = self.log(wire.user_id, epoch, wire.life)
        log.received.setdefault(wire.session, set()).update(range(first, last + 1))

    def confirm(self, wire: Wire, epoch: str, offset: int) -> None:
        """The device confirms what came to its session, up to an offset."""
        self._ack(wire.user_id, epoch, wire.session, offset)

    def log(self, user_id: str, epoch: str, life: int) -> Log:
        """An epoch of a user's log."""
        key = user_id, epoch
        if key not in self.logs:
            self.logs[key] = Log(user_id, life)
        return self.logs[key]

    def seen(self, emit: Emit) -> tuple[str, str, int] | None:
        """User, epoch and offset of an event, if any device was sent it on its own."""
        return self._places.get((emit.life, emit.thread_id, emit.event_id))

    # --- the protocol page, section by section -----------------------------------

    def _write_welcome(self, wire: Wire, said: dict[str, Any]) -> None:
        """Section 2."""
        wire.session, wire.epoch, wire.position = said["session"], said["epoch"], said["start"] - 1
        resume, kind, start = wire.hello.get("resume"), said["resume"], said["start"]
        here = resume is not None and resume["epoch"] == said["epoch"] and resume["offset"] <= said["head"]
        expected = "fresh" if resume is None else "reset" if not here else "replayed"
        if here and resume is not None and resume["offset"] < said["low"] - 1:
            expected = "gap"
        if here and resume is not None and said["session"] != wire.hello.get("session"):
            log = self.log(wire.user_id, wire.epoch, wire.life)
            received = log.received.get(wire.hello.get("session", ""), ())
            log.forgotten.update(offset for offset in received if offset <= resume["offset"])
        if kind != expected:
            self.complain(3, f"wire {wire.number}: expected {expected} for {resume}, was told {said}")
        if kind == "reset" and resume is not None and not self._may_be_reset(wire, resume["epoch"]):
            self.complain(3, f"wire {wire.number}: told that {resume} is of another log, and that log was not lost")
        if kind in {"gap", "replayed"} and resume is not None:
            wire.position = resume["offset"]
            if kind == "replayed" and start != resume["offset"] + 1:
                self.complain(3, f"wire {wire.number}: resumed at {resume['offset']}, and starts at {start}")
        if kind == "reset":
            wire.position = None
        if kind == "fresh" and wire.hello.get("from") != "head":
            self._check_fresh(wire, said)
        self._fence(wire, said["head"])

    def _may_be_reset(self, wire: Wire, epoch: str) -> bool:
        """True if an epoch ended with an earlier runtime, or a quarantine: what a runtime forgets is no loss."""
        log = self.logs.get((wire.user_id, epoch))
        return log is None or log.life != wire.life or f"users/{wire.user_id}" in self.quarantined

    def _check_fresh(self, wire: Wire, said: dict[str, Any]) -> None:
        """Nothing that no device has confirmed is passed over."""
        confirmed = self.log(wire.user_id, wire.epoch, wire.life).confirmed
        passed = [offset for offset in range(said["low"], said["start"]) if offset not in confirmed]
        if passed:
            self.complain(3, f"wire {wire.number}: begins at {said['start']}, and nobody confirmed {passed}")

    def _fence(self, wire: Wire, head: int) -> None:
        """Section 2: a session has one connection."""
        for other in self.wires[: wire.number]:
            if other.session == wire.session and other.life == wire.life and other.epoch == wire.epoch:
                other.fenced_above = min(other.fenced_above, head)

    def _write_event(self, wire: Wire, event: dict[str, Any]) -> None:
        offset = event["offset"]
        if wire.plain:
            self._see(wire, event)
        elif wire.position is None or offset != wire.position + 1:
            self.complain(3, f"wire {wire.number}: offset {offset} after {wire.position}")
            wire.position = offset
        else:
            wire.position = offset
            self._see(wire, event)

    def _write_batch(self, wire: Wire, batch: dict[str, Any]) -> None:
        first, last, events = batch["from"], batch["to"], batch["events"]
        stands_for = sum(1 if one["type"] != DELTA else one["seq"] - one.get("seq0", one["seq"]) + 1 for one in events)
        if wire.position is None or first != wire.position + 1 or stands_for != last - first + 1:
            text = f"batch {first} to {last} for {stands_for} events after {wire.position}"
            self.complain(3, f"wire {wire.number}: {text}")
        offsets = [one["offset"] for one in events]
        if not events or offsets != sorted(set(offsets)) or offsets[-1] != last or offsets[0] < first:
            self.complain(3, f"wire {wire.number}: batch {first} to {last} with offsets {offsets}")
        wire.position = last
        for one in events:
            self._see(wire, one)
        self.log(wire.user_id, wire.epoch, wire.life).written.update(range(first, last + 1))

    def _write_gap(self, wire: Wire, gap: dict[str, Any]) -> None:
        first, last = gap["from"], gap["to"]
        if wire.position is None or first != wire.position + 1 or last < first:
            self.complain(3, f"wire {wire.number}: gap {first} to {last} after {wire.position}")
        if self._low_of is not None and self.life == wire.life:
            epoch, low = self._low_of(wire.user_id)
            if epoch == wire.epoch and last >= low:
                self.complain(3, f"wire {wire.number}: gap {first} to {last}, and {low} is retained")
        wire.position = last

    def _write_reset(self, wire: Wire, reset: dict[str, Any]) -> None:
        wire.epoch, wire.position = reset["epoch"], reset["low"] - 1

    def _write_reply(self, wire: Wire, reply: dict[str, Any]) -> None:
        """Section 7: asked again, the same answer."""
        if not reply.get("ok") or "event_id" not in reply:
            return
        key = wire.session, str(reply["id"])
        first = self._replies.setdefault(key, reply)
        if first != reply:
            self.complain(5, f"request {reply['id']}: answered {first}, and later {reply}")

    def _write_standing(self, wire: Wire, op: str, event: dict[str, Any]) -> None:
        """Section 8: what is open or active is told to the thread's owner."""
        owners = self.owners.setdefault((wire.life, event["thread_id"]), Owners())
        owners.look(self._now)
        if wire.user_id not in owners.at(0, self._now):  # it may have waited behind a slow socket
            self.complain(4, f"{op} of thread {event['thread_id']} was told to {wire.user_id}")

    # --- one event --------------------------------------------------------------

    def _see(self, wire: Wire, event: dict[str, Any]) -> None:
        """An event is on its way to a device: is it the one that stands there, and may this user have it?"""
        offset = event["offset"]
        seq, run_id, event_id = event["seq"], event.get("run_id"), event.get("event_id")
        first_seq = event.get("seq0", seq)
        placed = Placed(event["thread_id"], seq, first_seq, event["type"], run_id, event_id, event["payload"])
        if offset > wire.fenced_above:
            self.complain(3, f"wire {wire.number}: offset {offset} after its session went on elsewhere")
        if wire.plain and f"users/{wire.user_id}" in self.quarantined:
            self._check_owner(wire, placed)  # nobody says which epoch this was
            return
        epoch = wire.epoch if not wire.plain or self._low_of is None else self._low_of(wire.user_id)[0]
        log = self.log(wire.user_id, epoch, wire.life)
        log.written.add(offset)
        known = log.events.get(offset)
        joined = known is not None and placed.type == DELTA and known.type == DELTA
        if known is None or (joined and known.first_seq > first_seq):
            log.events[offset] = placed
        elif known != placed and not joined:
            self.complain(2, f"offset {offset} of {wire.user_id} is {known}, and later {placed}")
        if known is None:
            self._check_place(wire, placed, (wire.user_id, epoch, offset))
            self._check_owner(wire, placed)

    def _check_place(self, wire: Wire, placed: Placed, place: tuple[str, str, int]) -> None:
        """An event has one placement for ever, and is what its emitter said."""
        number = wire.life, placed.payload.get("n")
        if isinstance(number[1], int) and self._numbered.setdefault(number, place) != place:
            self.complain(2, f"number {number} is at {self._numbered[number]} and at {place}")
        if placed.event_id is None:
            return
        key = wire.life, placed.thread_id, placed.event_id
        if self._places.setdefault(key, place) != place:
            self.complain(2, f"event {placed.event_id} is at {self._places[key]} and at {place}")
        emit = self.emits.get(key)
        if emit is None:
            self.complain(2, f"event {placed.event_id} of {placed.thread_id} is at {place}, and nobody emitted it")
        elif not emit.calls and emit.ended < math.inf:
            self.complain(1, f"event {placed.event_id} was refused to its emitter, and is at {place}")
        elif placed.type != DELTA and emit.payload is not None and emit.payload != placed.payload:
            self.complain(6, f"event {placed.event_id}: {emit.payload} was emitted, {placed.payload} is at {place}")

    def _check_owner(self, wire: Wire, placed: Placed) -> None:
        """Invariant 4."""
        emit = self.emits.get((wire.life, placed.thread_id, placed.event_id or ""))
        if emit is None:
            return
        owners = self.owners.setdefault((wire.life, placed.thread_id), Owners())
        owners.look(self._now)
        if wire.user_id not in owners.after(emit.begun, emit.ended):
            self.complain(4, f"event {placed.event_id} of {placed.thread_id} was sent to {wire.user_id}")

    def _ack(self, user_id: str, epoch: str, session: str, offset: int) -> None:
        log = self.logs.get((user_id, epoch))
        if log is not None:
            log.confirmed.update(one for one in log.received.get(session, ()) if one <= offset)

    # --- receipts -----------------------------------------------------------------

    def probe(self) -> None:
        """Look at every receipt: what it says must be so, and must follow from what it said before."""
        for emit in self.emits.values():
            if emit.receipt is not None and emit.stage not in _FINAL:
                stage = emit.receipt.stage.name
                self._check_progress(emit, stage)
                self._check_stage(emit, emit.receipt, stage)
                emit.stage = stage

    def _check_progress(self, emit: Emit, stage: str) -> None:
        before = emit.stage
        if before and before != stage and stage in _LADDER and _LADDER.index(stage) < _LADDER.index(before):
            self.complain(1, f"the receipt of {emit.event_id} said {before}, and now {stage}")
        if before == "WRITTEN" and stage == "DROPPED":
            self.complain(1, f"the receipt of {emit.event_id} said {before}, and now {stage}")

    def _check_stage(self, emit: Emit, receipt: Receipt, stage: str) -> None:
        position = receipt.position
        if stage not in {"WRITTEN", "ACKED", "UNCONFIRMED"} or position is None:
            return
        log = self.logs.get((position.user_id, position.epoch))
        written = log is not None and position.offset in log.written
        plain = any(one.plain and one.user_id == position.user_id and one.life == emit.life for one in self.wires)
        if not written and not plain:
            self.complain(1, f"the receipt of {emit.event_id} says {stage}, and no line has taken {position}")
        if stage == "ACKED" and (log is None or position.offset not in log.confirmed):
            self.complain(1, f"the receipt of {emit.event_id} says ACKED, and no device confirmed {position}")
