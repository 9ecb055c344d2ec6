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
"""The shortest sleep of a feeder. A sleep per event would measure the timer, not the delivery (25-45 µs each)."""

TEXT = "x" * 32
"""Padding of the payload: an event takes about 230 bytes on the wire, with its envelope and frame header."""


@attrs.frozen
class Due:
    """One event: its user and thread, and its payload.

    In the payload, ``n`` counts the user's events from 1, and ``due`` is in seconds after the start, because
    a server that sends ready frames has to build them before the start is known.
    """

    user: int
    thread: int
    payload: dict[str, object]


@attrs.frozen
class Schedule:
    """``rate`` events per second over all users in turn, ``burst`` of them to one user at once.

    Each user has ``devices`` of the connections, all of which get the user's events, and ``threads``, which take
    turns.
    """

    connections: int
    rate: int
    seconds: float
    burst: int = 1
    devices: int = 1
    threads: int = 1
    warmup: float = WARMUP_SECONDS

    @property
    def users(self) -> int:
        """The number of users."""
        return max(1, self.connections // self.devices)

    @property
    def turns(self) -> int:
        """The number of bursts in a run."""
        return max(1, round(self.rate * (self.warmup + self.seconds) / self.burst))

    @property
    def measured_events(self) -> float:
        """The number of events that are due after the warm-up."""
        return self.rate * self.seconds

    def user_of(self, connection: int) -> int:
        """Return the user of a connection."""
        return connection % self.users

    def events(self, user: int) -> int:
        """Return the number of events that a user gets in a run."""
        laps, rest = divmod(self.turns, self.users)
        return self.burst * (laps + (user < rest))

    def turn(self, number: int) -> Iterator[Due]:
        """Yield the events of one turn."""
        lap, user = divmod(number, self.users)
        due = number * self.burst / self.rate
        for nth in range(1, self.burst + 1):
            yield Due(user, lap % self.threads, {"n": lap * self.burst + nth, "due": due, "text": TEXT})


@attrs.define
class Feed:
    """A schedule that has started: yields each turn once, in order, when it is due."""

    schedule: Schedule
    start: float
    turn: int = 0

    @property
    def finished(self) -> bool:
        """True if every event was yielded."""
        return self.turn >= self.schedule.turns

    def turns_due(self) -> range:
        """Return the numbers of the turns due at the moment of the call, and count them as yielded.

        Later ones wait for the next call, because a server over its limit would otherwise never
        leave this loop to write anything.
        """
        schedule, first = self.schedule, self.turn
        reached = int((time.monotonic() - self.start) * schedule.rate / schedule.burst) + 1
        self.turn = max(first, min(reached, schedule.turns))
        return range(first, self.turn)

    @property
    def pause_seconds(self) -> float:
        """The time for a feeder to sleep: until the next event is due, and at least a tick.

        Not a tick each time, because at a calm rate a server would then be measured waking for nothing.
        """
        next_due = self.start + self.turn * self.schedule.burst / self.schedule.rate
        return max(TICK_SECONDS, next_due - time.monotonic())

    def due(self) -> Iterator[Due]:
        """Yield the events due at the moment of the call."""
        for number in self.turns_due():
            yield from self.schedule.turn(number)
