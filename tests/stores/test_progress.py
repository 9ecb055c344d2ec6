"""Progress: marks of logs, each as new as when it was asked for, and each given to the journal once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.log import Log
from actors.stores.journal import Marks
from actors.stores.progress import Progress


def log_of(low: int, head: int) -> Log:
    """A log that has the events from low to head."""
    log = Log("ep", low - 1)
    for _ in range(low, head + 1):
        log.append(b"\x81\x02{}", 0.0)
    return log


def test_what_is_new_is_marked_once() -> None:
    """What devices acked is marked when it changes, and no more once a batch has it."""
    progress, log = Progress(), log_of(3, 9)
    progress.confirm("alice", log, ((3, 4),), 6)
    assert progress.marks() == [Marks("alice", 3, ((3, 4),), 6)]
    progress.note_written(progress.marks())
    progress.confirm("alice", log, ((3, 4),), 6)
    assert not progress.waits
    assert progress.of("alice") == (((3, 4),), 6)
    assert progress.of("bob") == ((), 0)
    assert repr(progress) == "<Progress of 1 logs, 0 marks wait>"


def test_what_came_during_the_commit_waits_for_the_next() -> None:
    """Marks that were replaced since they were given to a batch are not taken for written."""
    progress, log = Progress(), log_of(1, 9)
    progress.confirm("alice", log, ((1, 1),), 1)
    given = progress.marks()
    progress.confirm("alice", log, ((1, 2),), 2)
    progress.note_written(given)
    assert [marks.acked for marks in progress.marks()] == [((1, 2),)]


def test_a_restored_log_is_marked_already() -> None:
    """What an earlier life has marked is known, and not written again."""
    progress = Progress()
    progress.restore("alice", 5, ((5, 6),), 6)
    assert progress.of("alice") == (((5, 6),), 6)
    progress.look("alice", log_of(5, 9))
    progress.confirm("alice", log_of(5, 9), ((5, 6),), 6)
    assert (progress.waits, list(progress.trimmed())) == (False, [])
    progress.look("alice", log_of(6, 9))
    assert list(progress.trimmed()) == ["alice"]
    assert list(progress.trimmed()) == []


def test_an_event_on_its_way_has_not_left() -> None:
    """A low above what is shown is marked no further than that: the events beyond are not written yet."""
    progress, log = Progress(), log_of(1, 2)
    log.append_ahead(b"\x81\x02{}", 0.0)
    log.low = 4
    progress.mark("alice", log)
    assert progress.marks() == [Marks("alice", 3, (), 0)]


def test_some_are_left_out() -> None:
    """Marks of logs that the journal does not know yet are not given to it."""
    progress = Progress()
    for user_id in ("alice", "bob"):
        progress.mark(user_id, log_of(1, 2))
    assert [marks.user_id for marks in progress.marks(but={"alice"})] == ["bob"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.booleans()), max_size=30))
def test_the_journal_ends_with_the_newest(steps: list[tuple[str, int, bool]]) -> None:
    """Whenever the journal takes what waits, it has for each log what was confirmed last."""
    progress, log = Progress(), log_of(1, 9)
    confirmed: dict[str, int] = {}
    kept: dict[str, int] = {}
    for user_id, written, takes in steps:
        progress.confirm(user_id, log, (), written)
        confirmed[user_id] = written
        if takes:
            marks = progress.marks()
            progress.note_written(marks)
            kept |= {one.user_id: one.written for one in marks}
            assert all(kept.get(one, 0) == last for one, last in confirmed.items())
            assert not progress.waits
