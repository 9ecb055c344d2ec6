"""The invariants that the books, the simulation and its verdict all speak of."""

from __future__ import annotations

from collections.abc import Iterable

INVARIANTS = {
    1: "accounting: what was accepted is queued, held, retained, acked, unconfirmed, dropped or deduplicated, always",
    2: "order: seq has no hole in a thread that was not told, offset none in an epoch; an event is placed once",
    3: "no silent gap: after an offset comes the next one, or what says which are missing",
    4: "ownership: an event goes to no connection of a user who did not own its thread when it was accepted",
    5: "runs end: each run has one first event and exactly one terminal one, and its text is whole in between",
    6: "whole frames: no frame is torn or mixed with another, whatever is cancelled",
    7: "isolation: what one connection, thread or user does costs no other its delivery",
    8: "bounds: every buffer has a limit, and memory returns when load does",
    9: "durability: what the store has reported as stored survives what the store promises to survive",
    10: "failures: each crash is reported once, with the path of its actor, and nothing else is",
}
"""The conditions that hold at every moment, by the number that a mismatch names."""


def name_of(number: int) -> str:
    """Return the word or two that an invariant goes by."""
    return INVARIANTS[number].partition(":")[0]


def listed(numbers: Iterable[int] = INVARIANTS) -> str:
    """List the invariants of these numbers, one a line."""
    return "\n".join(f"  {number:>2}  {INVARIANTS[number]}" for number in sorted(set(numbers)))
