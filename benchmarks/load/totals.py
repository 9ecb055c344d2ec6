"""The sums over all connections of a load client, and its report."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import attrs

NOTES = 5
"""Problems that are reported in words; the counts are complete."""


@attrs.frozen
class Report:
    """The client's report of one run."""

    events: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    lost: int
    out_of_order: int
    bytes_per_event: float
    cpu_seconds: float
    wall_seconds: float
    notes: list[str]

    @property
    def broken(self) -> bool:
        """True if an event was lost, doubled or swapped."""
        return bool(self.lost or self.out_of_order)


@attrs.define
class Totals:
    """The sums over all connections; an event due before ``mark``, in seconds after ``start``, is warm-up."""

    start: float = 0.0
    mark: float = math.inf
    latencies: array[float] = attrs.field(factory=lambda: array("d"))
    received: int = 0
    received_bytes: int = 0
    out_of_order: int = 0
    ready: list[int] = attrs.field(factory=list)
    """The numbers of the connections that are ready, in the order in which they became so."""

    lost_connections: int = 0
    notes: list[str] = attrs.field(factory=list)

    def note(self, text: str) -> None:
        """Keep the first few problems in words."""
        if len(self.notes) < NOTES:
            self.notes.append(text)

    def report(self, expected: int, cpu_seconds: float, wall_seconds: float) -> Report:
        """Sum up a run in which so many events were expected."""
        ranked = sorted(self.latencies)
        return Report(
            events=self.received,
            p50_ms=1000 * quantile(ranked, 0.5),
            p99_ms=1000 * quantile(ranked, 0.99),
            max_ms=1000 * quantile(ranked, 1.0),
            lost=expected - self.received,
            out_of_order=self.out_of_order,
            bytes_per_event=self.received_bytes / max(1, self.received),
            cpu_seconds=cpu_seconds,
            wall_seconds=wall_seconds,
            notes=self.notes,
        )


def quantile(ranked: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` of all do not exceed (nearest rank)."""
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.inf
