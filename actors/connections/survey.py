"""The survey: how far the connections are behind, looked at a few hundred at a time, because there may be very many.

A pass visits each connection that was there when it began, and its result
stands until the next one is over. So many are visited in a second at most that
it costs a thousandth of a core, and a result may be some seconds old.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from actors.connections.actor import Connection, standing_of

_PER_STEP = 500
"""Connections looked at in one step, 0.3 ms; then other tasks have a turn."""

_PER_SECOND = 1_000
"""Connections looked at in a second, over the time between the beginnings of two passes."""


class Survey:
    """The standing of all connections together, as the last pass found it."""

    def __init__(self, connections: Collection[Connection]) -> None:
        self.behind: int = 0
        """Connections that lack events which the log has."""
        self.lag_events: int = 0
        """The most that one lacks."""
        self.backlog_bytes: int = 0
        """Bytes that were written and that sockets have not taken."""
        self._connections = connections
        self._due = 0.0

    def __repr__(self) -> str:
        return f"<Survey {self.behind} behind, by {self.lag_events} at most, {self.backlog_bytes} bytes wait>"

    def steps(self, now: float) -> Iterator[None]:
        """Make a pass if one is due, and yield between its steps."""
        if now < self._due:
            return
        visited = tuple(self._connections)
        self._due = now + len(visited) / _PER_SECOND
        behind = lag_events = backlog_bytes = 0
        for number, connection in enumerate(visited, 1):
            lag, is_behind, waiting = standing_of(connection)
            behind += is_behind
            lag_events = max(lag_events, lag)
            backlog_bytes += waiting
            if number % _PER_STEP == 0:
                yield
        self.behind, self.lag_events, self.backlog_bytes = behind, lag_events, backlog_bytes
