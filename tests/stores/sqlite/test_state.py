"""What the process remembers of a file."""

from __future__ import annotations

from array import array

from actors.stages import Cause
from actors.stores.sqlite.directory import Directory, Run
from actors.stores.sqlite.rows import row_crc
from actors.stores.sqlite.state import Life, LogEntry, Segment, State, ThreadEntry, rows_with_crc


def state_with(*runs: Run) -> tuple[State, LogEntry]:
    state = State(secret=b"s", life=Life(1, True, 0, 0.0))
    log = LogEntry(1, "alice", "ep", head=20)
    directory = state.directories[1] = Directory()
    for run in runs:
        directory.put(run)
        state.segments[run.segment] = Segment(run.segment, 1, 0.0, closed=True, live=len(run.places))
    return state, log


def run(first: int, count: int, segment: int) -> Run:
    return Run(first, segment, array("I", range(count)), array("d"), array("I"))


def test_a_segment_loses_what_a_low_passes() -> None:
    """However many segments are concerned, and at last all of a log that ends."""
    state, log = state_with(run(1, 10, 1), run(11, 10, 2))
    log.low = 14
    state.trim(log, was=1)
    assert [one.live for one in state.segments.values()] == [0, 7]
    state.drop_log(log)
    assert [one.live for one in state.segments.values()] == [0, 0]
    state.drop_log(log)


def test_the_open_segment_is_the_last() -> None:
    """There is none once that is closed."""
    state, _ = state_with(run(1, 10, 1))
    assert state.open_segment is None
    state.segments[2] = Segment(2, 11, 0.0)
    assert state.open_segment is state.segments[2]


def test_a_thread_counts_what_it_shed() -> None:
    """By cause, in the order in which the causes came."""
    thread = ThreadEntry(1, "t")
    for cause in (Cause.UNBOUND_EXPIRED, Cause.QUARANTINED, Cause.UNBOUND_EXPIRED):
        thread.add_shed(cause, 2)
    assert thread.shed == ((Cause.UNBOUND_EXPIRED, 4), (Cause.QUARANTINED, 2))


def test_rows_have_their_checksums() -> None:
    """Of a row that others name its number is covered, of another one not."""
    row = LogEntry(3, "alice", "ep").row()
    assert row[-1] == row_crc(row[:-1])
    assert rows_with_crc([(3, "a", 1)]) == [(3, "a", 1, row_crc(("a", 1)))]
