"""The pings of one connection: what a pong proves, and whether one can be expected yet.

A device takes messages in order, and a slow one first takes those written
before a ping: it cannot answer a ping that has not reached it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from actors.wire.transport import Transport


class Pings:
    """Pings sent and answered, and how far the stream of bytes has to be delivered for the last one."""

    __slots__ = ("_answered", "_delivered", "_end", "_fence", "_sent", "_transport", "is_fenced")

    def __init__(self, transport: Transport) -> None:
        self.is_fenced: bool = False
        """True if the device may not have taken the last reset, so that its acks are of an ended epoch."""
        self._transport = transport
        self._sent = 0
        self._answered = 0
        self._fence = 0
        """The ping that went out with the last reset."""
        self._end = 0
        """The end of the last ping in the stream."""
        self._delivered = 0
        """The bytes delivered at the last look, or at the last ping; no end of them if none came before that ping."""

    def write(self, frames: bytes, write: Callable[[bytes], object]) -> None:
        """Write frames that end with a ping, and note it; with no bytes before it on their way, it arrives at once."""
        transport = self._transport
        self._delivered = transport.delivered_bytes if transport.pending_bytes else sys.maxsize
        write(frames)
        self._end = transport.delivered_bytes + transport.pending_bytes
        self._sent += 1

    def fence(self) -> None:
        """Ignore acks until the last ping is answered, because up to there they are of an ended epoch."""
        self._fence = self._sent
        self.is_fenced = self._answered < self._fence

    def pong(self) -> None:
        """Note the answer to a ping; ignore one to none."""
        self._answered = min(self._answered + 1, self._sent)
        self.is_fenced = self._answered < self._fence

    def has_progressed(self) -> bool:
        """True if bytes up to the end of the last ping have reached the device since the previous look.

        Called once per pong timeout, because it records the progress: such a
        device is slow and not silent, and gets the time once more.
        """
        delivered = self._transport.delivered_bytes
        moved = self._delivered < min(delivered, self._end)
        self._delivered = delivered
        return moved

    def __repr__(self) -> str:
        return f"<Pings sent={self._sent} answered={self._answered}>"
