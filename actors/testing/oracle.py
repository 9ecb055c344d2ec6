"""The oracle: hears what emitters are told and what devices are sent, and knows what of it cannot be.

It knows the protocol page and the invariants of the design, and no line of the
runtime: an implementation that checked itself would share its mistakes. It
enters what it hears into the :class:`~actors.testing.records.Records`, and has
a check for each kind of claim: the messages of a connection, the placements of
events, the stages of receipts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from actors.receipts import Receipt
from actors.stages import Promise
from actors.testing.owners import OwnerChange
from actors.testing.placement_check import PlacementCheck
from actors.testing.protocol_check import ProtocolCheck
from actors.testing.receipt_check import ReceiptCheck
from actors.testing.records import Emit, Records, Wire


class Oracle:
    """Enters what is said on both sides of a runtime, and checks it."""

    def __init__(self, records: Records, low_of: Callable[[str], tuple[str, int]] | None = None) -> None:
        self._records = records
        self._answers: dict[tuple[int, str], int] = {}
        """The number of times that the runtime gave each message to an agent, by runtime and event id."""
        self._protocol = ProtocolCheck(records, PlacementCheck(records, low_of), low_of=low_of)
        self._receipts = ReceiptCheck(records)

    def probe(self) -> None:
        """Check every receipt at this moment."""
        self._receipts.probe()

    def quarantine(self, path: str) -> None:
        """Enter that a supervisor took an actor out of service."""
        self._records.quarantined.add(path)

    # --- emitters -------------------------------------------------------------

    def emitting(self, event: dict[str, Any], user_id: str | None = None) -> Emit:
        """Enter that a call to emit an event begins."""
        thread_id, event_id = event["thread_id"], event["event_id"]
        records = self._records
        key = records.life, thread_id, event_id
        emit = records.emits.get(key)
        if emit is not None:
            emit.alone = False
            emit.ended = emit.ended if emit.calls else math.inf
            return emit
        begun = records.tick()
        emit = Emit(
            event_id=event_id,
            life=records.life,
            runtime=records.runtime,
            thread_id=thread_id,
            begun=begun,
            type=event["type"],
            run_id=event.get("run_id"),
            payload=event["payload"],
        )
        emit.user_id = user_id
        records.emits[key] = emit
        return emit

    def accepted(self, emit: Emit, receipt: Receipt) -> None:
        """Enter that a call returned a receipt."""
        emit.calls += 1
        emit.ended = min(emit.ended, self._records.tick())
        if not any(one is receipt for one in emit.receipts):
            emit.receipts.append(receipt)

    def refused(self, emit: Emit) -> None:
        """Enter that a call raised, which promises no delivery unless another call for the event was accepted."""
        if not emit.calls:
            emit.ended = self._records.tick()

    # --- owners -----------------------------------------------------------------

    def owning(self, thread_id: str, user_id: str | None, *, only_if_free: bool = False) -> OwnerChange:
        """Enter that a call to change a thread's owner begins."""
        return self._records.owners_of(thread_id).begin(user_id, self._records.tick(), only_if_free=only_if_free)

    def owned(self, thread_id: str, change: OwnerChange, *, happened: bool | None) -> None:
        """Enter that the call returned (True), was refused (False), or ended without an answer (None)."""
        self._records.owners_of(thread_id).end(change, self._records.tick(), happened=happened)

    def forked(self, user_id: str, before: str, after: str, offset: int) -> None:
        """Enter that the store goes on with a log in another epoch, and has lost all beyond an offset."""
        self._records.fork(user_id, before, after, offset)

    def killed(self) -> None:
        """Enter that the process is killed now: calls that have not returned may have happened, and receipts end."""
        records = self._records
        for emit in records.emits.values():
            if emit.runtime != records.runtime:
                continue
            for receipt in emit.receipts:
                position = receipt.position
                if position is not None and receipt.promise is not Promise.NOTHING and not receipt.stage.final:
                    emit.told.append((position.user_id, position.epoch, position.offset))
            if not emit.seq:  # the store has not answered, and what the process is told while it ends is not known
                emit.receipts, emit.calls, emit.ended = [], 0, math.inf
        for owners in records.owners.values():
            for act in owners.acts:
                act.pending, act.owns = None, None

    # --- agents -----------------------------------------------------------------

    def answering(self, event_id: str) -> None:
        """Enter that the runtime gives a message to an agent."""
        key = self._records.runtime, event_id
        self._answers[key] = self._answers.get(key, 0) + 1
        if self._answers[key] > 1:
            self._records.complain(5, f"message {event_id} was answered {self._answers[key]} times")

    def saying(self, run_id: str, text: str) -> None:
        """Enter that a run took a token."""
        self._records.tokens.setdefault(f"{self._records.runtime}/{run_id}", []).append(text)

    def answered(self, thread_id: str, user_id: str, said: int) -> None:
        """Enter that the answer to a thread's question is a user's, sent at the moment ``said``."""
        owners = self._records.owners_of(thread_id)
        owners.look(self._records.tick())
        if user_id not in owners.at(said, self._records.now):
            self._records.complain(4, f"a question of thread {thread_id} was answered by {user_id}, who had lost it")

    # --- connections ------------------------------------------------------------

    def connect(self, user_id: str, *, plain: bool = False) -> Wire:
        """Enter a connection of a user's device."""
        wire = Wire(number=len(self._records.wires), user_id=user_id, life=self._records.life, plain=plain)
        self._records.wires.append(wire)
        return wire

    def greet(self, wire: Wire, hello: dict[str, Any]) -> None:
        """Enter the device's hello; to resume at an offset is to ack up to it, if the server knows the session."""
        wire.hello = hello
        resume, session = hello.get("resume"), hello.get("session")
        if resume is not None and session is not None:
            self._ack(wire.user_id, resume["epoch"], session, resume["offset"])

    def write(self, wire: Wire, message: dict[str, Any]) -> None:
        """Enter a message of the server that a line took whole."""
        self._records.tick()
        self._protocol.write(wire, message)

    def receive(self, wire: Wire, epoch: str, first: int, last: int) -> None:
        """Enter a range of offsets that the device received, whole and in order."""
        for offset in range(first, last + 1):
            self._records.log(wire, epoch, offset).received.setdefault(wire.session, set()).add(offset)

    def ack(self, wire: Wire, epoch: str, offset: int) -> None:
        """Enter that the device acks what its session received, up to an offset."""
        self._ack(wire.user_id, epoch, wire.session, offset)

    def _ack(self, user_id: str, epoch: str, session: str, offset: int) -> None:
        records = self._records
        for (owner, origin), log in records.logs.items():
            if owner == user_id:
                received = (one for one in log.received.get(session, ()) if one <= offset)
                log.acked.update(one for one in received if records.origin(user_id, epoch, one) == origin)
