"""Histograms: each duration counts once, under the first bound that it does not exceed."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from actors.observability.histogram import Histogram

BOUNDS = (0.1, 1.0, 10.0)


def test_a_bound_belongs_to_the_count_below_it() -> None:
    """As Prometheus reads ``le``: a duration of exactly a bound is at most that bound."""
    histogram = Histogram(BOUNDS)
    for seconds in (0.0, 0.1, 0.2, 1.0, 10.0, 10.1, 1e9):
        histogram.observe(seconds)
    read = histogram.read()
    assert (read.bounds, read.counts, read.count) == (BOUNDS, (2, 2, 1, 2), 7)


def test_a_clock_that_was_set_back() -> None:
    """A duration below zero counts as none, so that a sum never falls."""
    histogram = Histogram(BOUNDS)
    histogram.observe(-5.0)
    assert (histogram.read().counts, histogram.read().sum_seconds) == ((1, 0, 0, 0), 0.0)


@given(st.lists(st.floats(0, 100)))
def test_all_are_counted(durations: list[float]) -> None:
    """What was read before does not change, and the counts are those of the durations, in memory that does not grow."""
    histogram = Histogram(BOUNDS)
    before = histogram.read()
    for seconds in durations:
        histogram.observe(seconds)
    read = histogram.read()
    assert before.counts == (0, 0, 0, 0)
    assert len(read.counts) == len(BOUNDS) + 1
    for at, count in enumerate(read.counts):
        assert count == sum(bisect_left(BOUNDS, one) == at for one in durations)
    assert read.count == len(durations)
    assert read.sum_seconds == sum(durations)
    assert repr(histogram).startswith(f"<Histogram {len(durations)} durations, ")
