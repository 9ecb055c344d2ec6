"""One user's ordered log: offsets 1, 2, 3 … of which the newest are retained.

The retained events stand one behind the other in one buffer, as the frames in
which they go to every device. To read a range is to take one slice, and to
write it one system call; there is no object per event, so neither the memory
allocator nor the cyclic collector ever walks through what is retained. As
objects, a million of them stop the world for 100 ms at a time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

import attrs

_COMPACT_ABOVE = 64


@attrs.frozen
class Chunk:
    """Consecutive events of a log: their frames, and which offsets those are."""

    first: int
    last: int
    """``first - 1`` when there are none."""
    frames: bytes


class Log:
    """The retained events of one log, in order.

    Invariant: the event at offset ``low + i`` ends at ``_ends[_start + i]``
    and begins where the one before it ends; these positions count from the
    log's beginning, and the buffer begins at ``_base``. What stands before
    ``_start`` is gone already, and is cut off when it is half of the columns,
    so that trimming costs O(1) per event.
    """

    __slots__ = ("_base", "_ends", "_frames", "_start", "_times", "epoch", "head", "low")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.low = 1
        """The first offset still here; ``head + 1`` when nothing is."""
        self.head = 0
        self._frames = bytearray()
        self._base = 0
        self._ends = array("Q")
        self._times = array("d")
        self._start = 0

    def __len__(self) -> int:
        return self.head - self.low + 1

    @property
    def size_bytes(self) -> int:
        """What the retained frames take."""
        return len(self._frames)

    @property
    def oldest_at(self) -> float:
        """When the event at ``low`` was stored; the log must not be empty."""
        return self._times[self._start]

    def append(self, frame: bytes, now: float) -> int:
        """Place an event; returns its offset."""
        frames = self._frames
        frames += frame
        self._ends.append(self._base + len(frames))
        self._times.append(now)
        self.head += 1
        return self.head

    def trim(self, keep_events: int, keep_bytes: int) -> None:
        """Let the oldest go until both bounds hold; the newest event always stays."""
        last = len(self._ends) - 1
        by_count = last + 1 - keep_events
        by_bytes = bisect_left(self._ends, self._base + len(self._frames) - keep_bytes, self._start) + 1
        if len(self._frames) <= keep_bytes:
            by_bytes = 0
        self._cut(min(max(by_count, by_bytes), last))

    def expire(self, stored_before: float) -> None:
        """Let go what was stored before a time."""
        self._cut(bisect_left(self._times, stored_before, self._start))

    def read(self, first: int, most_bytes: int) -> Chunk:
        """Events from offset ``first`` on, or from ``low`` if that is later; at least one if there is one."""
        first = max(first, self.low)
        if first > self.head:
            return Chunk(first, first - 1, b"")
        index = self._start + first - self.low
        begin = self._ends[index - 1] - self._base if index > self._start else 0
        if len(self._frames) - begin <= most_bytes:
            return Chunk(first, self.head, bytes(self._frames[begin:]))
        end_index = max(bisect_right(self._ends, self._base + begin + most_bytes, index) - 1, index)
        end = self._ends[end_index] - self._base
        return Chunk(first, first + end_index - index, bytes(self._frames[begin:end]))

    def _cut(self, start: int) -> None:
        """Let go of everything before a place in the columns."""
        if start <= self._start:
            return
        gone = self._ends[start - 1] - self._base
        del self._frames[:gone]
        self._base += gone
        self.low += start - self._start
        self._start = start
        if start > _COMPACT_ABOVE and start * 2 > len(self._ends):
            del self._ends[:start], self._times[:start]
            self._start = 0
