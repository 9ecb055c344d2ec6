"""Histograms: how often something took how long, as plain counts."""

from __future__ import annotations

from bisect import bisect_left

import attrs


@attrs.frozen(kw_only=True)
class Distribution:
    """The durations of some things, counted by their size."""

    bounds: tuple[float, ...]
    """The upper bounds of the counts but the last, in seconds, ascending."""
    counts: tuple[int, ...]
    """Durations up to each bound and over the one before it; the last of them are over all."""
    sum_seconds: float

    @property
    def count(self) -> int:
        """All durations."""
        return sum(self.counts)


class Histogram:
    """Counts durations; takes a few numbers of memory, however many there are."""

    __slots__ = ("_bounds", "_counts", "_sum_seconds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum_seconds = 0.0

    def __repr__(self) -> str:
        return f"<Histogram {sum(self._counts)} durations, {self._sum_seconds:.3f} s in all>"

    def observe(self, seconds: float) -> None:
        """Count one duration; one that a clock which was set back makes negative counts as none."""
        seconds = max(seconds, 0.0)
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum_seconds += seconds

    def read(self) -> Distribution:
        """Return what was counted up to now."""
        return Distribution(bounds=self._bounds, counts=tuple(self._counts), sum_seconds=self._sum_seconds)
