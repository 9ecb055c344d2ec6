"""The latency of delivery: how long one of 64 events takes from its emit to a socket, and to a device's ack.

A sample is looked at where its bit in a page of the ledger is set, and at no
other moment. So an event that is none costs a comparison, and a token no more
than any event.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.delivery.ledger import Page
from actors.observability.histogram import Histogram
from actors.receipts import Receipt
from actors.stages import Stage

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""From a write in the same tick to the age at which a log lets go of events."""

_MOST_OPEN = 1_024
"""Samples that wait for an ack. Users who are away must not make a list of them; while there are so many, no other
event is one."""


class Latency:
    """The durations of the samples of one runtime."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self.written: Histogram = Histogram(BOUNDS)
        """From the emit until the first socket took it."""
        self.acked: Histogram = Histogram(BOUNDS)
        """From the emit until the first device acked it."""
        self._wall_clock = wall_clock
        self._open = 0

    def __repr__(self) -> str:
        return f"<Latency {self._open} open, written {self.written!r}, acked {self.acked!r}>"

    def sample(self, receipt: Receipt) -> None:
        """Follow an event that was placed, unless too many are followed."""
        page = receipt.state
        if self._open < _MOST_OPEN and isinstance(page, Page) and page.stage(receipt.number) is Stage.STORED:
            self._open += 1
            page.probe(receipt.number, _Sample(self, receipt.accepted_at).note)


class _Sample:
    """One event that is followed."""

    __slots__ = ("_accepted_at", "_latency", "_was_written")

    def __init__(self, latency: Latency, accepted_at: float) -> None:
        self._latency = latency
        self._accepted_at = accepted_at
        self._was_written = False

    def note(self, stage: Stage) -> None:
        """Take the stage at which the event is."""
        latency = self._latency
        seconds = latency._wall_clock() - self._accepted_at
        if stage is Stage.WRITTEN and not self._was_written:
            self._was_written = True
            latency.written.observe(seconds)
        elif stage is Stage.ACKED:
            latency.acked.observe(seconds)
        latency._open -= stage.final
