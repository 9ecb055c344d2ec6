"""The marks of runs, and the events that are taken of each."""

from __future__ import annotations

import pytest

from actors.stores.records import RunMark
from actors.stores.run_marks import RunMarks
from actors.stores.store import Append, Edge, RunOver


def event(edge: Edge, run_id: str = "r", thread_id: str = "t") -> Append:
    """An event of a run."""
    return Append(thread_id, "e", b"{", user_id="alice", run_id=run_id, edge=edge)


def given(marks: RunMarks, edge: Edge, run_id: str = "r", thread_id: str = "t") -> RunMark | None:
    """Check an event, and carry it out."""
    append = event(edge, run_id, thread_id)
    marks.check(append)
    return marks.take(append)


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ([], "is over, or never began"),
        (["due"], "has yet to begin"),
        (["opens", "closes"], "is over, or never began"),
        (["whole"], "is over, or never began"),
    ],
)
@pytest.mark.parametrize("edge", ["", "closes"])
def test_an_event_of_no_open_run_is_refused(before: list[Edge], text: str, edge: Edge) -> None:
    """An event that does not begin its run is taken while that is open, and the refusal says what it is instead."""
    marks = RunMarks()
    for one in before:
        given(marks, one)
    with pytest.raises(RunOver, match=text):
        given(marks, edge)


def test_an_event_in_another_thread_is_refused() -> None:
    """A run has one thread."""
    marks = RunMarks()
    given(marks, "opens", thread_id="t1")
    with pytest.raises(RunOver, match="is in thread 't1'"):
        given(marks, "", thread_id="t2")


def test_a_run_from_its_message_to_its_end() -> None:
    """A due run keeps its message and the sender, an open one neither, and one that is over leaves nothing."""
    marks = RunMarks()
    due = given(marks, "due")
    assert due is not None
    assert (due.open, due.message, due.user_id) == (False, b"{", "alice")
    opened = given(marks, "opens")
    assert opened is not None
    assert (opened.open, opened.message, opened.user_id) == (True, b"", None)
    assert given(marks, "") is None
    assert repr(marks) == "<RunMarks 1 open of 1>"
    assert given(marks, "closes") is opened
    assert len(marks) == 0


def test_runs_of_earlier_lives_are_named() -> None:
    """The runs that an earlier life left are named by their state, oldest first, until they go on; those of this life
    are not."""
    marks = RunMarks()
    for run_id, is_open in (("r1", False), ("r2", True), ("r3", False), ("r4", False)):
        marks.restore(RunMark(run_id, "t", is_open))
    given(marks, "due", "new")
    given(marks, "opens", "r3")
    marks.drop("r4")
    marks.drop("unknown")
    assert [mark.run_id for mark in marks.inherited(open=False)] == ["r1"]
    assert [mark.run_id for mark in marks.inherited(open=True)] == ["r2"]
