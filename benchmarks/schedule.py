"""The schedule of events and their due times: the same for every server and for the load client.

The schedule is open loop: an event is due at its moment whether or not the server
has finished the one before. A server that stalls therefore finds the backlog
waiting, and its latency, counted from the due time, shows the stall.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import attrs

WARMUP_SECONDS = 1.0
"""Time that is not measured: the first allocations, and the first segment of each connection."""

TICK_SECONDS = 0.001
"""The interval in which a feeder wakes. A sleep per event would measure the timer, not the delivery (25-45 µs each)."""

TEXT = "x" * 32
"""Padding of the payload: an event takes about 230 bytes on the wire, with its envelope and frame header."""


@attrs.frozen
class Schedule:
    """``rate`` events per second over all connections in turn, ``burst`` of them to one connection at once."""

    connections: int
    rate: int
    seconds: float
    burst: int = 1

    @property
    def turns(self) -> int:
        """The number of bursts in a run."""
        return round(self.rate * (WARMUP_SECONDS + self.seconds) / self.burst)

    def events(self, connection: int) -> int:
        """Return the number of events that a connection gets in a run."""
        laps, rest = divmod(self.turns, self.connections)
        return self.burst * (laps + (connection < rest))


@attrs.define
class Feed:
    """A schedule that has started: yields each event once, in order, when it is due."""

    schedule: Schedule
    start: float
    turn: int = 0

    @property
    def finished(self) -> bool:
        """True if every event was yielded."""
        return self.turn >= self.schedule.turns

    def due(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Yield the events due at the moment of the call, each as its connection and payload.

        Later ones wait for the next call, because a server over its limit would otherwise never
        leave this loop to write anything. In a payload, ``n`` counts from 1 on each connection, and
        ``due`` is on the monotonic clock.
        """
        schedule = self.schedule
        seconds_per_turn = schedule.burst / schedule.rate
        turns_due = int((time.monotonic() - self.start) / seconds_per_turn) + 1
        while self.turn < min(turns_due, schedule.turns):
            lap, connection = divmod(self.turn, schedule.connections)
            due = self.start + self.turn * seconds_per_turn
            for nth in range(1, schedule.burst + 1):
                yield connection, {"n": lap * schedule.burst + nth, "due": due, "text": TEXT}
            self.turn += 1
