"""The protocol page, section by section, held against what the runtime writes to a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.testing.placement_check import PlacementCheck
from actors.testing.records import DELTA, Records, Wire

LowOf = Callable[[str], tuple[str, int]]
"""Epoch and lowest retained offset of a user's log at this moment."""


class ProtocolCheck:
    """Checks each message of the runtime, and notes the position that it leaves a connection at."""

    def __init__(self, records: Records, placements: PlacementCheck, *, low_of: LowOf | None = None) -> None:
        self._records = records
        self._placements = placements
        self._low_of = low_of
        self._replies: dict[tuple[str, str], dict[str, Any]] = {}

    def write(self, wire: Wire, message: dict[str, Any]) -> None:
        """Check a message that a line took whole."""
        op = message.get("op")
        if "type" in message:
            self._event(wire, message)
        elif op == "welcome":
            self._welcome(wire, message)
        elif op == "batch":
            self._batch(wire, message)
        elif op == "gap":
            self._gap(wire, message)
        elif op == "reset":
            wire.epoch, wire.position = message["epoch"], message["low"] - 1
        elif op == "caught_up" and message["offset"] != wire.position:
            self._complain(3, wire, f"caught up at {message['offset']}, and {wire.position} came last")
        elif op == "reply":
            self._reply(wire, message)
        elif op in {"ask", "active"}:
            self._standing(wire, op, message["event"])

    def _complain(self, invariant: int, wire: Wire, text: str) -> None:
        self._records.complain(invariant, f"wire {wire.number}: {text}")

    # --- section 2: the welcome ---------------------------------------------------

    def _welcome(self, wire: Wire, welcome: dict[str, Any]) -> None:
        wire.session, wire.epoch, wire.position = welcome["session"], welcome["epoch"], welcome["start"] - 1
        resume, kind = wire.hello.get("resume"), welcome["resume"]
        if resume is not None and _is_here(resume, welcome) and welcome["session"] != wire.hello.get("session"):
            self._forget_session(wire, resume["offset"])
        expected = _expected(resume, welcome)
        if kind != expected:
            self._complain(3, wire, f"expected {expected} for {resume}, was told {welcome}")
        if resume is not None:
            self._resume(wire, resume, welcome)
        if kind == "reset":
            wire.position = None
        if kind == "fresh" and wire.hello.get("from") != "head":
            self._fresh(wire, welcome)
        self._fence(wire, welcome["head"])

    def _forget_session(self, wire: Wire, offset: int) -> None:
        """Note what a session received that the server has forgotten: no device can ack it any more."""
        log = self._records.log(wire, wire.epoch)
        received = log.received.get(wire.hello.get("session", ""), ())
        log.forgotten.update(one for one in received if one <= offset)

    def _resume(self, wire: Wire, resume: dict[str, Any], welcome: dict[str, Any]) -> None:
        kind, start = welcome["resume"], welcome["start"]
        if kind == "reset" and not self._may_be_reset(wire, resume["epoch"]):
            self._complain(3, wire, f"told that {resume} is of another log, and that log was not lost")
        if kind in {"gap", "replayed"}:
            wire.position = resume["offset"]
            if kind == "replayed" and start != resume["offset"] + 1:
                self._complain(3, wire, f"resumed at {resume['offset']}, and starts at {start}")

    def _may_be_reset(self, wire: Wire, epoch: str) -> bool:
        """True if an epoch ended with an earlier runtime, or a quarantine: what a runtime forgets is no loss."""
        log = self._records.logs.get((wire.user_id, epoch))
        return log is None or log.life != wire.life or f"users/{wire.user_id}" in self._records.quarantined

    def _fresh(self, wire: Wire, welcome: dict[str, Any]) -> None:
        """Check that the start passes over nothing that no device has acked."""
        acked = self._records.log(wire, wire.epoch).acked
        passed = [offset for offset in range(welcome["low"], welcome["start"]) if offset not in acked]
        if passed:
            self._complain(3, wire, f"begins at {welcome['start']}, and nobody confirmed {passed}")

    def _fence(self, wire: Wire, head: int) -> None:
        """Fence the earlier connections of a session, because it has one at a time."""
        for other in self._records.wires[: wire.number]:
            if other.session == wire.session and other.life == wire.life and other.epoch == wire.epoch:
                other.fenced_above = min(other.fenced_above, head)

    # --- sections 3 and 4: events, batches, gaps ------------------------------------

    def _event(self, wire: Wire, event: dict[str, Any]) -> None:
        offset = event["offset"]
        if not wire.plain:
            before, wire.position = wire.position, offset
            if before is None or offset != before + 1:
                self._complain(3, wire, f"offset {offset} after {before}")
                return
        self._placements.see(wire, event)

    def _batch(self, wire: Wire, batch: dict[str, Any]) -> None:
        first, last, events = batch["from"], batch["to"], batch["events"]
        stands_for = sum(1 if one["type"] != DELTA else one["seq"] - one.get("seq0", one["seq"]) + 1 for one in events)
        if wire.position is None or first != wire.position + 1 or stands_for != last - first + 1:
            self._complain(3, wire, f"batch {first} to {last} for {stands_for} events after {wire.position}")
        offsets = [one["offset"] for one in events]
        if not events or offsets != sorted(set(offsets)) or offsets[-1] != last or offsets[0] < first:
            self._complain(3, wire, f"batch {first} to {last} with offsets {offsets}")
        wire.position = last
        for one in events:
            self._placements.see(wire, one)
        self._records.log(wire, wire.epoch).written.update(range(first, last + 1))

    def _gap(self, wire: Wire, gap: dict[str, Any]) -> None:
        first, last = gap["from"], gap["to"]
        if wire.position is None or first != wire.position + 1 or last < first:
            self._complain(3, wire, f"gap {first} to {last} after {wire.position}")
        if self._low_of is not None and self._records.life == wire.life:
            epoch, low = self._low_of(wire.user_id)
            if epoch == wire.epoch and last >= low:
                self._complain(3, wire, f"gap {first} to {last}, and {low} is retained")
        wire.position = last

    # --- sections 7 and 8: requests, questions, runs --------------------------------

    def _reply(self, wire: Wire, reply: dict[str, Any]) -> None:
        """Check that a repeated request gets the same answer."""
        if not reply.get("ok") or "event_id" not in reply:
            return
        first = self._replies.setdefault((wire.session, str(reply["id"])), reply)
        if first != reply:
            self._records.complain(5, f"request {reply['id']}: answered {first}, and later {reply}")

    def _standing(self, wire: Wire, op: str, event: dict[str, Any]) -> None:
        """Check that the runtime tells an open question or an active run to an owner of its thread."""
        now, owners = self._records.now, self._records.owners_of(event["thread_id"], wire.life)
        owners.look(now)
        if wire.user_id not in owners.at(0, now):  # it may have waited behind a slow socket
            self._records.complain(4, f"{op} of thread {event['thread_id']} was told to {wire.user_id}")


def _is_here(resume: dict[str, Any], welcome: dict[str, Any]) -> bool:
    """True if a cursor is of this log, and not ahead of it."""
    return bool(resume["epoch"] == welcome["epoch"] and resume["offset"] <= welcome["head"])


def _expected(resume: dict[str, Any] | None, welcome: dict[str, Any]) -> str:
    """Return the verdict that a welcome has to give on a cursor."""
    if resume is None:
        return "fresh"
    if not _is_here(resume, welcome):
        return "reset"
    return "gap" if resume["offset"] < welcome["low"] - 1 else "replayed"
