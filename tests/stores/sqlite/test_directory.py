"""Where the events of a log are."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from actors.stores.sqlite.directory import Directory, Run, follow


def run(first: int, count: int, segment: int) -> Run:
    places = range(count)
    return Run(first, segment, array("I", places), array("d", map(float, places)), array("I", [7] * count))


def where(directory: Directory) -> dict[int, int]:
    """The segment of each offset."""
    return {run.first + k: run.segment for run in directory.runs for k in range(len(run.places))}


def test_events_follow_each_other() -> None:
    """A run goes on until there is a hole or another segment."""
    runs: list[Run] = []
    for offset, segment in ((1, 1), (2, 1), (4, 1), (5, 2)):
        follow(runs, offset, segment, place=offset, at=1.0, size=3)
    assert [(one.first, one.end, one.segment) for one in runs] == [(1, 3, 1), (4, 5, 1), (5, 6, 2)]
    runs[-1].forget_columns()
    follow(runs, 6, 2, place=6, at=1.0, size=3)
    assert len(runs) == 4, "a closed run takes nothing"


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12)), max_size=12))
def test_the_last_one_counts(puts: list[tuple[int, int]]) -> None:
    """Of runs that overlap the later one has the offsets, and each offset that left its segment is counted."""
    directory, expected = Directory(), dict[int, int]()
    for segment, (first, count) in enumerate(puts):
        covered = range(first, first + count)
        gone = [expected[offset] for offset in covered if offset in expected]
        counted = directory.put(run(first, count, segment))
        assert dict(counted) == {one: gone.count(one) for one in set(gone)}
        expected.update(dict.fromkeys(covered, segment))
        assert where(directory) == expected
        assert [one.first for one in directory.runs] == sorted(one.first for one in directory.runs)


@given(st.lists(st.integers(1, 60), max_size=6).map(sorted))
def test_trimming_counts_each_event_once(lows: list[int]) -> None:
    """Whatever the steps, each segment loses as many events as it has below the low."""
    directory = Directory()
    for segment, first in enumerate((1, 11, 21, 41)):
        directory.put(run(first, 10, segment))
    before, was, gone = where(directory), 1, dict[int, int]()
    for low in lows:
        for segment, count in directory.trim(low, was=was).items():
            gone[segment] = gone.get(segment, 0) + count
        was = max(low, was)
    left = [segment for offset, segment in before.items() if offset < was]
    assert gone == {segment: left.count(segment) for segment in set(left)}
    assert all(one.end > was for one in directory.runs)


def test_finding() -> None:
    """A range gives the parts of runs that are in it."""
    directory = Directory()
    for segment, first in enumerate((1, 11, 31)):
        directory.put(run(first, 10, segment))
    found = [(one.first, one.end, one.segment, one.places[0]) for one in directory.find(5, 32)]
    assert found == [(5, 11, 0, 4), (11, 21, 1, 0), (31, 33, 2, 0)]
    assert list(directory.find(22, 30)) == []
    assert list(Directory().find(1, 9)) == []


def test_columns_are_dense() -> None:
    """An event that is not there has no size, and the time of the one before; or of the next, if it is the first."""
    directory = Directory()
    directory.put(run(3, 2, 0))
    directory.put(run(7, 1, 1))
    times, sizes = directory.columns(2, 8)
    assert (list(times), list(sizes)) == ([0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0], [0, 7, 7, 0, 0, 7, 0])
    assert [list(column) for column in Directory().columns(5, 4)] == [[], []]
