"""The times of acks: after so many events, after some seconds, or at once for the terminal event of a run."""

from __future__ import annotations

import math

from actors.protocol.server_messages import ServerLimits


class Acks:
    """The acks of one connection after the other; no clock but the numbers it is given."""

    def __init__(self) -> None:
        self._acked = 0
        self._unacked_since: float | None = None
        self._urgent = 0

    def __repr__(self) -> str:
        return f"<Acks acked={self._acked}>"

    def begin_connection(self) -> None:
        """Begin with a connection, on which nothing is urgent."""
        self._unacked_since = None
        self._urgent = 0

    def note_acked(self, offset: int) -> None:
        """Count everything up to an offset as acked, because the server knows that the log was taken up to there."""
        self._acked = offset
        self._unacked_since = None

    def urge(self, offset: int) -> None:
        """Ack an offset at once when it may be acked."""
        self._urgent = offset

    def due(self, offset: int, now: float, asked: ServerLimits, *, everything: bool = False) -> int | None:
        """Return ``offset`` if an ack of it is due at ``now``, or, with ``everything``, if it is not acked."""
        if offset <= self._acked:
            self._unacked_since = None
            return None
        if self._unacked_since is None:
            self._unacked_since = now
        urgent = everything or self._acked < self._urgent <= offset
        if not urgent and offset - self._acked < asked.ack_events and now < self._unacked_since + asked.ack_s:
            return None
        self.note_acked(offset)
        return offset

    def due_at(self, asked: ServerLimits) -> float:
        """Return the time at which an ack will be due, if nothing more is taken."""
        return math.inf if self._unacked_since is None else self._unacked_since + asked.ack_s
