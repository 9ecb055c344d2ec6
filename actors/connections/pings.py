"""The pings of one connection: what a pong proves, and whether one can be expected yet.

A device takes messages in order, and a slow one takes what was written before
a ping first: it cannot answer what has not reached it.
"""

from __future__ import annotations


class Pings:
    """Pings sent and answered, and how far the stream of bytes has to be delivered for the last one."""

    __slots__ = ("_answered", "_delivered", "_end", "_sent")

    def __init__(self) -> None:
        self._sent = 0
        self._answered = 0
        self._end = 0.0
        """The end of the last ping in the stream."""
        self._delivered = 0.0
        """The bytes of the stream that had been delivered at the last call of :meth:`still_queued`."""

    def ping(self, delivered: float, end: float) -> int:
        """Note a ping written up to the byte ``end``, when ``delivered`` had arrived; returns its number."""
        self._sent += 1
        self._delivered, self._end = delivered, end
        return self._sent

    def pong(self) -> None:
        """Note the answer to a ping; ignore one to none."""
        self._answered = min(self._answered + 1, self._sent)

    def is_answered(self, number: int) -> bool:
        """True if this ping was answered: then the device has said after it all that it says from now on."""
        return self._answered >= number

    def still_queued(self, delivered: float) -> bool:
        """True if the last ping had not arrived at the previous call, and bytes before it have since.

        Records what had arrived, for the next call.
        """
        moved = self._delivered < min(delivered, self._end)
        self._delivered = delivered
        return moved

    def __repr__(self) -> str:
        return f"<Pings sent={self._sent} answered={self._answered}>"
