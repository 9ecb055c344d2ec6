"""The pings of one connection: what an answer proves, and whether one can be expected yet.

A device takes messages in order, and a slow one takes what was written before
a ping first: it cannot answer what has not reached it.
"""

from __future__ import annotations


class Pings:
    """Pings asked and answered, and how far the stream of bytes has to be delivered for the last one."""

    __slots__ = ("_answered", "_asked", "_delivered", "_end")

    def __init__(self) -> None:
        self._asked = 0
        self._answered = 0
        self._end = 0.0
        """Where the last ping ends in the stream."""
        self._delivered = 0.0
        """How much of the stream had been delivered at the last look."""

    def ask(self, delivered: float, end: float) -> int:
        """A ping was written, up to the byte ``end``, when ``delivered`` had arrived; returns its number."""
        self._asked += 1
        self._delivered, self._end = delivered, end
        return self._asked

    def hear(self) -> None:
        """A ping was answered; an answer to nothing is none."""
        self._answered = min(self._answered + 1, self._asked)

    def is_answered(self, number: int) -> bool:
        """Whether this ping was; if so, all that the device said from now on it said after that ping."""
        return self._answered >= number

    def is_under_way(self, delivered: float) -> bool:
        """Whether the last ping had not arrived when this was last asked, and what is before it has moved since."""
        moved = self._delivered < min(delivered, self._end)
        self._delivered = delivered
        return moved
