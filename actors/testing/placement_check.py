"""Placements: an event stands at one offset for ever, is what its emitter emitted, and goes to an owner only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from actors.testing.records import DELTA, Place, Placed, Records, Wire


class PlacementCheck:
    """Checks each event that the runtime writes, alone or in a batch."""

    def __init__(self, records: Records, low_of: Callable[[str], tuple[str, int]] | None = None) -> None:
        self._records = records
        self._low_of = low_of
        self._places: dict[tuple[int, str, str], Place] = {}
        """The first place of each event, by life, thread and event id."""
        self._numbered: dict[tuple[int, Any], Place] = {}
        """The same, by the number that a simulated emitter puts into the payload."""

    def see(self, wire: Wire, event: dict[str, Any]) -> None:
        """Check an event on its way to a device: its place, its content, and its owner."""
        records, offset = self._records, event["offset"]
        placed = _placed(event)
        if offset > wire.fenced_above:
            records.complain(3, f"wire {wire.number}: offset {offset} after its session went on elsewhere")
        if wire.plain and wire.user_id in records.forks:
            self._check_owner(wire, placed)  # a plain connection is not told the epoch, and this one may have changed
            return
        epoch = wire.epoch if not wire.plain or self._low_of is None else self._low_of(wire.user_id)[0]
        log = records.log(wire, epoch, offset)
        log.written.add(offset)
        known = log.events.get(offset)
        joined = known is not None and placed.type == DELTA and known.type == DELTA
        if known is None or (joined and known.first_seq > placed.first_seq):
            log.events[offset] = placed
        elif known != placed and not joined:
            records.complain(2, f"offset {offset} of {wire.user_id} is {known}, and later {placed}")
        if known is None:
            self._check_place(wire, placed, (wire.user_id, records.origin(wire.user_id, epoch, offset), offset))
            self._check_owner(wire, placed)

    def _check_place(self, wire: Wire, placed: Placed, place: Place) -> None:
        complain = self._records.complain
        number = wire.life, placed.payload.get("n")
        if isinstance(number[1], int) and self._numbered.setdefault(number, place) != place:
            complain(2, f"number {number} is at {self._numbered[number]} and at {place}")
        if placed.event_id is None:
            return
        key = wire.life, placed.thread_id, placed.event_id
        if self._places.setdefault(key, place) != place:
            complain(2, f"event {placed.event_id} is at {self._places[key]} and at {place}")
        emit = self._records.emits.get(key)
        if emit is None and _closes_a_run(placed):
            return
        if emit is None:
            complain(2, f"event {placed.event_id} of {placed.thread_id} is at {place}, and nobody emitted it")
        elif not emit.calls and emit.ended < math.inf:
            complain(1, f"event {placed.event_id} was refused to its emitter, and is at {place}")
        elif placed.type != DELTA and emit.payload is not None and emit.payload != placed.payload:
            complain(6, f"event {placed.event_id}: {emit.payload} was emitted, {placed.payload} is at {place}")

    def _check_owner(self, wire: Wire, placed: Placed) -> None:
        records = self._records
        emit = records.emits.get((wire.life, placed.thread_id, placed.event_id or ""))
        if emit is None:
            return
        owners = records.owners_of(placed.thread_id, wire.life)
        owners.look(records.now)
        if wire.user_id not in owners.after(emit.begun, emit.ended):
            records.complain(4, f"event {placed.event_id} of {placed.thread_id} was sent to {wire.user_id}")


def _closes_a_run(placed: Placed) -> bool:
    """True for the event with which a store closes a run whose process has ended."""
    return placed.type == "agent_failed" and placed.payload.get("error", {}).get("type") == "EmitterLost"


def _placed(event: dict[str, Any]) -> Placed:
    return Placed(
        thread_id=event["thread_id"],
        seq=event["seq"],
        first_seq=event.get("seq0", event["seq"]),
        type=event["type"],
        run_id=event.get("run_id"),
        event_id=event.get("event_id"),
        payload=event["payload"],
    )
