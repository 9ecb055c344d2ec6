"""The marks of runs: due from the message to the first event, open from there to the last one.

    (none) ─ message ─▶ due ─ first event ─▶ open ─ last event ─▶ (none)
       └──────────────────── first event ──────▲

They are what makes a run survive its process by rule: whatever was lost, a due
run has yet to begin, an open one has yet to end, and nothing is taken of one
that is over, however late it comes.
"""

from __future__ import annotations

from collections.abc import Iterator

from actors.stores.records import RunMark
from actors.stores.store import Append, RunOver


class RunMarks:
    """The runs that are due or open, oldest first."""

    __slots__ = ("_marks",)

    def __init__(self) -> None:
        self._marks: dict[str, RunMark] = {}

    def check(self, append: Append) -> None:
        """Raise RunOver for an event of a run that is not open; the first one needs none that is."""
        if append.edge in {"opens", "due", "whole"}:
            return
        run_id = append.run_id
        assert run_id is not None, "only an event of a run is checked"
        mark = self._marks.get(run_id)
        if mark is None or not mark.open or mark.thread_id != append.thread_id:
            raise RunOver(f"run {run_id!r}: expected one that is open, it {_state(mark, append.thread_id)}")

    def take(self, append: Append) -> RunMark | None:
        """Carry out the part that a taken event has in its run; returns the mark that it made or changed."""
        run_id = append.run_id
        assert run_id is not None, "only an event of a run has a part in one"
        if append.edge in {"closes", "whole"}:
            return self._marks.pop(run_id, None)
        if append.edge == "due":
            mark = RunMark(run_id, append.thread_id, False, append.body, append.user_id)
        elif append.edge == "opens":
            mark = RunMark(run_id, append.thread_id, True)
        else:
            return None
        self._marks[run_id] = mark
        return mark

    def restore(self, mark: RunMark) -> None:
        """Take over a run of an earlier life."""
        mark.inherited = True
        self._marks[mark.run_id] = mark

    def drop(self, run_id: str) -> None:
        """Forget a run, which is over without a last event."""
        self._marks.pop(run_id, None)

    def inherited(self, *, open: bool) -> Iterator[RunMark]:  # noqa: A002 - the word for the state
        """Yield the runs of earlier lives that are due still, or open."""
        yield from [mark for mark in self._marks.values() if mark.inherited and mark.open is open]

    def __len__(self) -> int:
        return len(self._marks)

    def __repr__(self) -> str:
        return f"<RunMarks {sum(mark.open for mark in self._marks.values())} open of {len(self)}>"


def _state(mark: RunMark | None, thread_id: str) -> str:
    if mark is None:
        return "is over, or never began"
    return "has yet to begin" if mark.thread_id == thread_id else f"is in thread {mark.thread_id!r}"
