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
        if op in {"welcome", "epoch", "reset"} and not self._records.in_trouble():
            wire.epochs.add(message["epoch"])
        if "type" in message:
            self._event(wire, message)
        elif op == "welcome":
            self._welcome(wire, message)
        elif op == "batch":
            self._batch(wire, message)
        elif op == "gap":
            self._gap(wire, message)
        elif op == "reset":
            self._reset(wire, message)
        elif op == "epoch":
            self._rename(wire, message)
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
        last = None if resume is None else self._shared(wire, resume["epoch"], welcome)
        if resume is not None and last is not None and welcome["session"] != wire.hello.get("session"):
            self._forget_session(wire, min(resume["offset"], last))
        expected = _expected(wire.hello, welcome, last)
        if kind != expected:
            self._complain(3, wire, f"expected {expected} for {resume}, was told {welcome}")
        if resume is not None:
            self._resume(wire, resume, welcome)
        if kind == "reset":
            wire.position = None
        if kind == "fresh" and wire.hello.get("from") != "head":
            self._fresh(wire, welcome)
        self._fence(wire, welcome["head"])
        if kind in {"renamed", "gap"} and resume is not None and resume["epoch"] != welcome["epoch"]:
            wire.epoch, wire.renamed_to = resume["epoch"], welcome["epoch"]

    def _shared(self, wire: Wire, epoch: str, welcome: dict[str, Any]) -> int | None:
        """Return the last offset that the welcome's log shares with an epoch, if it does."""
        if epoch == welcome["epoch"]:
            return int(welcome["head"])
        return self._records.shared(wire.user_id, epoch, welcome["epoch"])

    def _forget_session(self, wire: Wire, last: int) -> None:
        """Note what a session received that the server has forgotten: no device can ack it any more."""
        for offset in range(1, last + 1):
            log = self._records.log(wire, wire.epoch, offset)
            if offset in log.received.get(wire.hello.get("session", ""), ()):
                log.forgotten.add(offset)

    def _resume(self, wire: Wire, resume: dict[str, Any], welcome: dict[str, Any]) -> None:
        kind, start = welcome["resume"], welcome["start"]
        if kind == "reset" and not self._may_be_reset(wire, resume["epoch"]):
            self._complain(3, wire, f"told that {resume} is of another log, and that log was not lost")
        if kind in {"gap", "replayed", "renamed"}:
            wire.position = resume["offset"]
            if kind != "gap" and start != resume["offset"] + 1:
                self._complain(3, wire, f"resumed at {resume['offset']}, and starts at {start}")

    def _may_be_reset(self, wire: Wire, epoch: str) -> bool:
        """True if an epoch ended with an earlier runtime or a fork: what a runtime forgets is no loss."""
        log = self._records.logs.get((wire.user_id, epoch))
        forked = any(epoch == before for before, _, _ in self._records.forks.get(wire.user_id, ()))
        return log is None or forked or log.life != wire.life

    def _fresh(self, wire: Wire, welcome: dict[str, Any]) -> None:
        """Check that the start passes over nothing that no device has acked."""
        before = range(welcome["low"], welcome["start"])
        passed = [one for one in before if one not in self._records.log(wire, wire.epoch, one).acked]
        if passed:
            self._complain(3, wire, f"begins at {welcome['start']}, and nobody confirmed {passed}")

    def _fence(self, wire: Wire, head: int) -> None:
        """Fence the earlier connections of a session, because it has one at a time."""
        for other in self._records.wires[: wire.number]:
            if other.session == wire.session and other.life == wire.life and other.epoch == wire.epoch:
                other.fenced_above = min(other.fenced_above, head)

    # --- section 3: another epoch -----------------------------------------------------

    def _rename(self, wire: Wire, renamed: dict[str, Any]) -> None:
        """Check that an epoch is renamed for a device that knows the word, and has seen nothing of what is lost."""
        epoch, offset = renamed["epoch"], renamed["offset"]
        fork = self._records.shared(wire.user_id, wire.epoch, epoch)
        if not wire.hello.get("renames"):
            self._complain(3, wire, f"was told {renamed}, and does not know the word")
        if offset != fork or wire.renamed_to not in {"", epoch}:
            self._complain(3, wire, f"was told {renamed}, and {epoch} continues {wire.epoch} up to {fork}")
        elif wire.position is None or wire.position > offset:
            self._complain(3, wire, f"was told {renamed} at {wire.position}")
        wire.epoch, wire.renamed_to = epoch, ""

    def _reset(self, wire: Wire, reset: dict[str, Any]) -> None:
        """Check that a device which has seen nothing of what is lost is not reset, if it knows another word."""
        fork, position = self._records.shared(wire.user_id, wire.epoch, reset["epoch"]), wire.position
        if wire.hello.get("renames") and fork is not None and position is not None and position <= fork:
            self._complain(3, wire, f"was told {reset} at {position}, and all up to {fork} is as it was")
        wire.epoch, wire.position, wire.renamed_to = reset["epoch"], reset["low"] - 1, ""

    # --- sections 3 and 4: events, batches, gaps ------------------------------------

    def _event(self, wire: Wire, event: dict[str, Any]) -> None:
        offset = event["offset"]
        if not wire.plain:
            before, wire.position = wire.position, offset
            self._check_named(wire)
            if before is None or offset != before + 1:
                self._complain(3, wire, f"offset {offset} after {before}")
                return
        self._placements.see(wire, event)

    def _batch(self, wire: Wire, batch: dict[str, Any]) -> None:
        first, last, events = batch["from"], batch["to"], batch["events"]
        stands_for = sum(1 if one["type"] != DELTA else one["seq"] - one.get("seq0", one["seq"]) + 1 for one in events)
        if wire.position is None or first != wire.position + 1 or stands_for != last - first + 1:
            self._complain(3, wire, f"batch {first} to {last} for {stands_for} events after {wire.position}")
        self._check_named(wire)
        offsets = [one["offset"] for one in events]
        if not events or offsets != sorted(set(offsets)) or offsets[-1] != last or offsets[0] < first:
            self._complain(3, wire, f"batch {first} to {last} with offsets {offsets}")
        wire.position = last
        for one in events:
            self._placements.see(wire, one)
        for offset in range(first, last + 1):
            self._records.log(wire, wire.epoch, offset).written.add(offset)

    def _check_named(self, wire: Wire) -> None:
        """Check that the client knows by which name its cursor goes on."""
        if wire.renamed_to:
            self._complain(3, wire, f"is sent events of {wire.renamed_to}, and was not told how it continues the last")

    def _gap(self, wire: Wire, gap: dict[str, Any]) -> None:
        first, last = gap["from"], gap["to"]
        self._check_named(wire)
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
        place = wire.user_id, reply["epoch"], reply["offset"]
        if first != {**reply, "epoch": first["epoch"]} or self._records.origin(*place) != self._records.origin(
            wire.user_id, first["epoch"], first["offset"]
        ):
            self._records.complain(5, f"request {reply['id']}: answered {first}, and later {reply}")

    def _standing(self, wire: Wire, op: str, event: dict[str, Any]) -> None:
        """Check that the runtime tells an open question or an active run to an owner of its thread."""
        now, owners = self._records.now, self._records.owners_of(event["thread_id"], wire.life)
        owners.look(now)
        if wire.user_id not in owners.at(0, now):  # it may have waited behind a slow socket
            self._records.complain(4, f"{op} of thread {event['thread_id']} was told to {wire.user_id}")


def _expected(hello: dict[str, Any], welcome: dict[str, Any], last: int | None) -> str:
    """Return the verdict that a welcome has to give on a cursor, whose epoch shares all up to ``last`` with the log."""
    resume = hello.get("resume")
    if resume is None:
        return "fresh"
    is_renamed = resume["epoch"] != welcome["epoch"]
    if last is None or resume["offset"] > last or (is_renamed and not hello.get("renames")):
        return "reset"
    if resume["offset"] < welcome["low"] - 1:
        return "gap"
    return "renamed" if is_renamed else "replayed"
