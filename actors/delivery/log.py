"""One user's ordered log: offsets 1, 2, 3 … of which the newest are retained.

An event is retained as the frame in which it goes to every device, and the
frames stand one behind the other in one run of bytes. The cyclic collector sees
nothing in it to walk: a million retained events stop the world for 100 ms at a
time as objects, and for 28 ms as bytes in lists. A read is one slice, which is
cut where its bytes end by bisection, and to let the oldest go is to move the
beginning.

What was appended is not *shown* as long as it is on its way to a disk, and what
is retained may not be *at hand*, because it is on the disk alone.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from actors.delivery.bounds import Chunk
from actors.delivery.frames import header, text_frame, texts_of
from actors.delivery.lineage import Lineage, fork
from actors.events.event import NUMBERED

_COMPACT_ABOVE = 64

_HEADER_BYTES = 4
"""The size of the header of a frame that is not at hand: that of most, and made exact when the frame is loaded."""


class NotAtHand(Exception):
    """Events were asked for that are retained, and have to be loaded first."""


class Log:
    """The retained events of one log, in order.

    Invariant: ``_times[_start]`` is of offset ``low`` and the last one of
    ``head``. ``_marks`` has the position of each event's frame, and one more
    where the last one ends; at ``_marks[_start]`` is the first byte of
    ``_bytes``. The frame of an event that was damaged where it was kept, or
    that is not at hand, is empty. Entries before ``_start`` are gone already,
    and are cut off when they are half of the columns, so that trimming costs
    O(1) per event. Up to ``shown`` events may be read, from ``at_hand`` on they
    are here.
    """

    __slots__ = (
        "_away",
        "_away_from",
        "_bytes",
        "_damaged",
        "_marks",
        "_start",
        "_times",
        "at_hand",
        "epoch",
        "forgotten",
        "head",
        "lineage",
        "low",
        "shown",
        "size_bytes",
    )

    def __init__(self, epoch: str, head: int = 0, *, lineage: Lineage = ()) -> None:
        self.epoch: str = epoch
        self.lineage: Lineage = lineage
        """The epochs that this one continues."""
        self.low: int = head + 1
        """The first offset still here; ``head + 1`` when nothing is."""
        self.at_hand: int = head + 1
        self.head: int = head
        self.shown: int = head
        self.forgotten: bool = False
        """True once its user has another one, or none: a thread that kept it looks for the other."""
        self.size_bytes: int = 0
        """The size of the retained frames."""
        self._bytes = bytearray()
        self._marks = array("q", (0,))
        self._times = array("d")
        self._start = 0
        self._away: array[int] | None = None
        """The sizes of the events that were not at hand when it was made, from ``_away_from`` on, without headers."""
        self._away_from = 0
        self._damaged = False
        """True if the frame of an event at hand may be empty."""

    @classmethod
    def restore(cls, epoch: str, lineage: Lineage, *, low: int, times: array[float], sizes: array[int]) -> Log:
        """Make a log of which no event is at hand yet, from the times and the sizes of its texts, in bytes."""
        log = cls(epoch, low - 1, lineage=lineage)
        log._times = times
        log._marks = array("q", (0,)) * (len(times) + 1)
        log._away, log._away_from = sizes, low
        log.size_bytes = sum(sizes) + _HEADER_BYTES * len(sizes)
        log.head = log.shown = low + len(times) - 1
        log.at_hand = log.head + 1
        return log

    def __len__(self) -> int:
        return self.head - self.low + 1

    def __repr__(self) -> str:
        shown = "" if self.shown == self.head else f" shown={self.shown}"
        away = "" if self.at_hand <= self.low else f" at_hand={self.at_hand}"
        return f"<Log {self.epoch} low={self.low} head={self.head}{shown}{away} bytes={self.size_bytes}>"

    @property
    def oldest_at(self) -> float:
        """The time at which the event at ``low`` was stored; the log must not be empty."""
        return self._times[self._start]

    def place(self, body: bytes, seq: int, now: float) -> int:
        """Append an event that has only its body yet, and show it; returns its offset.

        As :meth:`append` does with a frame of the text that the event gets, but
        in one function, because each event goes through it.
        """
        self.head = self.shown = offset = self.head + 1
        text = NUMBERED % (body, seq, offset)
        start = header(len(text))
        size = len(start) + len(text)
        self._bytes += start
        self._bytes += text
        self._marks.append(self._marks[-1] + size)
        self._times.append(now)
        self.size_bytes += size
        return offset

    def append(self, frame: bytes, now: float) -> int:
        """Append an event, and show it; returns its offset."""
        self._bytes += frame
        marks = self._marks
        marks.append(marks[-1] + len(frame))
        self._times.append(now)
        self.size_bytes += len(frame)
        self.head = self.shown = offset = self.head + 1
        return offset

    def append_ahead(self, frame: bytes, now: float) -> int:
        """Append an event, ahead of what is shown; returns its offset."""
        shown = self.shown
        offset = self.append(frame, now)
        self.shown = shown
        return offset

    def trim(self, keep_events: int, keep_bytes: int) -> None:
        """Let the oldest go until both bounds hold; the newest event that is shown always stays."""
        low = self.shown if keep_events < 1 else self.shown - keep_events + 1
        if low < self.low:  # noqa: PLR1730 - max() takes as long as the rest of this method
            low = self.low
        size = self.size_bytes - self._size(self.low, low)
        while size > keep_bytes and low < self.shown:
            size -= self._size(low, low + 1)
            low += 1
        if low > self.low:
            self._cut(low, size)

    def expire(self, stored_before: float) -> None:
        """Drop the events that were stored before a time."""
        low = self.low + bisect_left(self._times, stored_before, self._start) - self._start
        low = min(low, self.shown + 1)
        if low > self.low:
            self._cut(low, self.size_bytes - self._size(self.low, low))

    def read(self, first: int, most_bytes: int) -> Chunk:
        """Read events from offset ``first`` on, or from ``low`` if that is later; at least one if there is one.

        Damaged events are stepped over as those below ``low`` are. Raises
        :class:`NotAtHand` for events that have to be loaded.
        """
        first, last = max(first, self.low), self.shown
        if first < self.at_hand and first <= last:
            raise NotAtHand
        marks, start = self._marks, self._start + first - self.low
        stop = start + last - first + 1
        if self._damaged:
            start, stop = self._undamaged(start, stop)
            first = self.low + start - self._start
        if start >= stop:
            return Chunk(first, first - 1, b"", self.epoch)
        end = bisect_right(marks, marks[start] + most_bytes, start + 2, stop + 1) - 1
        return Chunk(first, first + end - start - 1, self._frames(start, end), self.epoch)

    def _undamaged(self, start: int, stop: int) -> tuple[int, int]:
        """Find the first run of undamaged events between two entries."""
        marks = self._marks
        while start < stop and marks[start] == marks[start + 1]:
            start += 1
        end = start
        while end < stop and marks[end] < marks[end + 1]:
            end += 1
        return start, end

    def _frames(self, start: int, end: int) -> bytes:
        marks = self._marks
        first = marks[self._start]
        return bytes(self._bytes[marks[start] - first : marks[end] - first])

    def texts(self) -> Iterator[bytes]:
        """Yield the retained events that are shown as JSON, oldest first; all must be at hand."""
        if self.low < self.at_hand and self.low <= self.shown:
            raise NotAtHand
        return texts_of(self._frames(self._start, self._start + max(self.shown - self.low + 1, 0)))

    def fork(self, epoch: str, offset: int) -> None:
        """Lose the events beyond an offset, and go on in another epoch, which continues this one up to there."""
        offset = max(min(offset, self.shown), 0)
        kept = max(self._start + offset + 1 - self.low, self._start)
        self.size_bytes -= self._size(max(offset + 1, self.low), self.head + 1)
        del self._bytes[self._marks[kept] - self._marks[self._start] :]
        del self._marks[kept + 1 :], self._times[kept:]
        self.lineage, self.epoch = fork(self.lineage, self.epoch, offset), epoch
        self.low, self.head, self.shown = min(self.low, offset + 1), offset, offset
        self.at_hand = min(self.at_hand, offset + 1)

    # --- events that are not at hand ------------------------------------------

    def load(self, first: int, texts: Sequence[bytes | None]) -> None:
        """Bring to hand the events from an offset up to the first that is; ``None`` stands for a damaged one."""
        if first + len(texts) != self.at_hand:
            return  # another task has loaded them meanwhile
        texts = texts[max(self.low - first, 0) :]
        first = self.at_hand - len(texts)
        frames = [b"" if text is None else text_frame(text) for text in texts]
        self.size_bytes += sum(map(len, frames)) - self._size(first, self.at_hand)
        # All that is at hand stands behind them, and where that begins is their end.
        self._bytes[:0] = b"".join(frames)
        entry = self._start + self.at_hand - self.low
        position = self._marks[entry]
        for frame in reversed(frames):
            entry, position = entry - 1, position - len(frame)
            self._marks[entry] = position
        self._marks[self._start : entry] = array("q", (position,)) * (entry - self._start)
        self._damaged = self._damaged or not all(frames)
        self.at_hand = max(first, self.low)
        if self.at_hand == self.low:
            self._away = None

    def unload(self) -> None:
        """Keep the numbers, times and sizes of the events alone, which must all be shown."""
        assert self.shown == self.head, "what is on its way to the disk cannot be loaded from there"
        offsets = range(self.low, self.head + 1)
        sizes = array("I", [max(self._size(offset, offset + 1) - _HEADER_BYTES, 0) for offset in offsets])
        self._bytes, self._damaged = bytearray(), False
        self._marks[self._start :] = array("q", (0,)) * (len(sizes) + 1)
        self._away, self._away_from, self.at_hand = sizes, self.low, self.head + 1
        self.size_bytes = sum(sizes) + _HEADER_BYTES * len(sizes)

    def _size(self, first: int, end: int) -> int:
        start = self._start + first - self.low
        here = self._marks[start + end - first] - self._marks[start]
        if self._away is None or first >= self.at_hand:
            return here
        away = self._away[first - self._away_from : min(end, self.at_hand) - self._away_from]
        return here + sum(away) + _HEADER_BYTES * len(away)

    def _cut(self, low: int, size_bytes: int) -> None:
        """Let go of what is below an offset; the size is that of the rest."""
        self.size_bytes = size_bytes
        end = self._start + low - self.low
        del self._bytes[: self._marks[end] - self._marks[self._start]]
        self._start, self.low = end, low
        if self.at_hand < low:  # noqa: PLR1730 - as in trim, which is called for each event of a full log
            self.at_hand = low
        if end > _COMPACT_ABOVE and end * 2 > len(self._times):
            del self._marks[:end], self._times[:end]
            self._start = 0
