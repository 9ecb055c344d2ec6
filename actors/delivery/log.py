"""One user's ordered log: offsets 1, 2, 3 … of which the newest are retained.

An event is retained as the frame in which it goes to every device: bytes, in
which the cyclic collector sees nothing to walk. As objects of their own, a
million retained events stop the world for 100 ms at a time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice

import attrs

from actors.delivery.frames import text_of
from actors.delivery.lineage import Lineage, fork

_COMPACT_ABOVE = 64


@attrs.frozen
class Chunk:
    """Consecutive events of a log: their frames and their offsets."""

    first: int
    last: int
    """The last offset; ``first - 1`` when there are no events."""
    frames: bytes
    epoch: str
    """The epoch of the log, to which these offsets belong."""


class Log:
    """The retained events of one log, in order.

    Invariant: ``_frames[_start]`` has offset ``low`` and the last one
    ``head``, and so in ``_times``. Entries before ``_start`` are gone already,
    and are cut off when they are half of the columns, so that trimming costs
    O(1) per event.
    """

    __slots__ = ("_frames", "_start", "_times", "epoch", "head", "lineage", "low", "size_bytes")

    def __init__(self, epoch: str, head: int = 0, *, lineage: Lineage = ()) -> None:
        self.epoch = epoch
        self.lineage = lineage
        """The former epochs that this one continues."""
        self.low = head + 1
        """The first offset still here; ``head + 1`` when nothing is."""
        self.head = head
        self.size_bytes = 0
        """The size of the retained frames."""
        self._frames: list[bytes] = []
        self._times = array("d")
        self._start = 0

    def __len__(self) -> int:
        return self.head - self.low + 1

    def __repr__(self) -> str:
        return f"<Log {self.epoch} low={self.low} head={self.head} bytes={self.size_bytes}>"

    @property
    def oldest_at(self) -> float:
        """The time at which the event at ``low`` was stored; the log must not be empty."""
        return self._times[self._start]

    def append(self, frame: bytes, now: float) -> int:
        """Append an event; returns its offset."""
        self._frames.append(frame)
        self._times.append(now)
        self.size_bytes += len(frame)
        self.head = offset = self.head + 1
        return offset

    def trim(self, keep_events: int, keep_bytes: int) -> None:
        """Let the oldest go until both bounds hold; the newest event always stays."""
        low = max(self.low, self.head - max(keep_events, 1) + 1)
        size = self.size_bytes - self._size(self.low, low)
        while size > keep_bytes and low < self.head:
            size -= self._size(low, low + 1)
            low += 1
        self._cut(low)

    def expire(self, stored_before: float) -> None:
        """Drop the events that were stored before a time."""
        self._cut(self.low + bisect_left(self._times, stored_before, self._start) - self._start)

    def fork(self, epoch: str, offset: int) -> None:
        """Lose all beyond an offset, and go on under another epoch."""
        offset = min(offset, self.head)
        self.lineage, self.epoch = fork(self.lineage, self.epoch, offset), epoch
        kept = max(self._start + offset + 1 - self.low, self._start)
        self.size_bytes -= sum(map(len, self._frames[kept:]))
        del self._frames[kept:], self._times[kept:]
        self.low, self.head = min(self.low, offset + 1), offset

    def read(self, first: int, most_bytes: int) -> Chunk:
        """Read events from offset ``first`` on, or from ``low`` if that is later; at least one if there is one."""
        first = max(first, self.low)
        start = self._start + first - self.low
        if first == self.head:
            return Chunk(first, first, self._frames[start], self.epoch)
        end, room = start, most_bytes
        for frame in self._frames[start:]:
            room -= len(frame)
            if room < 0 and end > start:
                break
            end += 1
        return Chunk(first, first + end - start - 1, b"".join(self._frames[start:end]), self.epoch)

    def texts(self) -> Iterator[bytes]:
        """Yield the retained events as JSON, oldest first."""
        return map(text_of, islice(self._frames, self._start, None))

    def _size(self, first: int, end: int) -> int:
        start = self._start + first - self.low
        return sum(map(len, self._frames[start : start + end - first]))

    def _cut(self, low: int) -> None:
        gone = low - self.low
        if gone <= 0:
            return
        self.size_bytes -= self._size(self.low, low)
        end = self._start + gone
        self._frames[self._start : end] = [b""] * gone
        self._start, self.low = end, low
        if end > _COMPACT_ABOVE and end * 2 > len(self._frames):
            del self._frames[:end], self._times[:end]
            self._start = 0
