"""The directory of one log: by offset, the segment and the rowid of each event that is there.

It is a list of *runs*. A run is a range of offsets without a hole in one segment;
an offset between two runs belongs to an event that was damaged. Of a segment
that is open a run also has the times and sizes of its events, which go to disk
when it is closed, and of a closed one only until a start is over.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator

import msgspec


class Run(msgspec.Struct, gc=False):
    """A range of a log's offsets in one segment."""

    first: int
    segment: int
    places: array[int]
    """Rowids, relative to the segment's first one; ascending."""
    times: array[float]
    sizes: array[int]
    """Empty, like ``times``, once the segment is closed and a start is over."""

    @property
    def end(self) -> int:
        """The offset behind the last one."""
        return self.first + len(self.places)

    def part(self, first: int, end: int) -> Run:
        """Return the run of those of its offsets that are from ``first`` to before ``end``."""
        first, end = max(first, self.first), min(end, self.end)
        cut = slice(first - self.first, max(end - self.first, first - self.first))
        return Run(first, self.segment, self.places[cut], self.times[cut], self.sizes[cut])

    def forget_columns(self) -> None:
        """Let go of the times and sizes."""
        self.times, self.sizes = array("d"), array("I")


def follow(runs: list[Run], offset: int, segment: int, *, place: int, at: float, size: int) -> None:
    """Add an event to the last of some runs, or begin another one."""
    last = runs[-1] if runs else None
    if last is None or last.segment != segment or last.end != offset or not last.sizes:
        runs.append(Run(offset, segment, array("I", (place,)), array("d", (at,)), array("I", (size,))))
    else:
        last.places.append(place)
        last.times.append(at)
        last.sizes.append(size)


class Directory:
    """The runs of one log, ascending and disjoint."""

    __slots__ = ("runs",)

    def __init__(self) -> None:
        self.runs: list[Run] = []

    @property
    def end(self) -> int:
        """The offset behind the last event that is there, 0 without one."""
        return self.runs[-1].end if self.runs else 0

    def put(self, run: Run) -> Counter[int]:
        """Add a run, in the place of what is there of its offsets; returns how many that is, by segment."""
        if not self.runs or self.runs[-1].end <= run.first:
            self.runs.append(run)
            return Counter()
        gone: Counter[int] = Counter()
        kept: list[Run] = []
        for old in self.runs:
            parts = [part for part in (old.part(0, run.first), old.part(run.end, old.end)) if part.places]
            untouched = old.end <= run.first or old.first >= run.end
            kept += [old] if untouched else parts
            gone[old.segment] += 0 if untouched else len(old.places) - sum(len(part.places) for part in parts)
        self.runs = sorted([*kept, run], key=_first)
        return +gone

    def extend(self, run: Run) -> None:
        """Add a run behind all others, as part of the last one if it continues that."""
        last = self.runs[-1] if self.runs else None
        if last is None or last.segment != run.segment or last.end != run.first or not last.sizes:
            self.runs.append(run)
        else:
            last.places.extend(run.places)
            last.times.extend(run.times)
            last.sizes.extend(run.sizes)

    def trim(self, low: int, *, was: int) -> Counter[int]:
        """Let a log begin at ``low`` and not at ``was``; returns how many events left with that, by segment."""
        gone: Counter[int] = Counter()
        for run in self.runs:
            if run.first >= low:
                break
            left = min(run.end, low) - max(run.first, was)
            if left > 0:
                gone[run.segment] += left
        while self.runs and self.runs[0].end <= low:
            del self.runs[0]
        return gone

    def find(self, first: int, last: int) -> Iterator[Run]:
        """Return those parts of runs that lie between two offsets, both included."""
        at = max(bisect_right(self.runs, first, key=_first) - 1, 0)
        for run in self.runs[at:]:
            if run.first > last:
                return
            if (part := run.part(first, last + 1)).places:
                yield part

    def columns(self, low: int, head: int) -> tuple[array[float], array[int]]:
        """Return times and sizes from low to head; an event that is not there has size 0 and its predecessor's time."""
        times: array[float] = array("d")
        sizes: array[int] = array("I")
        for run in self.find(low, head):
            _fill(times, sizes, run.first - low, run.times[0])
            times.extend(run.times)
            sizes.extend(run.sizes)
        _fill(times, sizes, head - low + 1, 0.0)
        return times, sizes


def _first(run: Run) -> int:
    return run.first


def _fill(times: array[float], sizes: array[int], count: int, at: float) -> None:
    """Fill up to a count with events that are not there."""
    missing = count - len(times)
    if missing > 0:
        times.extend([times[-1] if times else at] * missing)
        sizes.extend([0] * missing)
