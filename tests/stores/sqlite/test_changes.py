"""Batches, planned without touching what they are planned against."""

from __future__ import annotations

import copy
from collections import Counter

import pytest

from actors.delivery.lineage import Fork
from actors.stages import Cause
from actors.stores.journal import (
    Effect,
    GivenId,
    GivenIdsExpired,
    Held,
    HoldShed,
    Letter,
    LogRecord,
    Marks,
    Placed,
    RunClosed,
    RunRecord,
    ThreadForgotten,
    ThreadRecord,
)
from actors.stores.sqlite import schema
from actors.stores.sqlite.changes import Plan
from actors.stores.sqlite.state import Life, State
from tests.stores.journal_contract import EVERY_KIND, placed, placed_range


def new_state() -> State:
    tables = [*schema.COLUMNS, "event"]
    return State(secret=b"s", life=Life(0, True, 0, 0.0), next=Counter(dict.fromkeys(tables, 1)))


def planned(state: State, *effects: Effect) -> Plan:
    plan = Plan(state, Life(1, False, state.life.batch + 1, state.life.now))
    plan.take(effects)
    return plan


def applied(state: State, *effects: Effect) -> Plan:
    plan = planned(state, *effects)
    plan.apply()
    return plan


def image(state: State) -> object:
    return copy.deepcopy({name: getattr(state, name) for name in State.__annotations__ if name != "directories"}), {
        n: copy.deepcopy(directory.runs) for n, directory in state.directories.items()
    }


def test_a_plan_touches_nothing() -> None:
    """Until it is applied the state is as it was, whatever is in the batch."""
    state = new_state()
    applied(state, *EVERY_KIND)
    before = image(state)
    plan = planned(
        state,
        *placed_range("alice", 6, 9),
        Marks("alice", 5, ((1, 8),), 8),
        HoldShed("loose", 9, Cause.UNBOUND_EXPIRED, 1),
        Held("loose", 11, 3_000.0, b"eleven"),
        ThreadRecord("loose", "bob", "g1", 11),
        GivenIdsExpired(9_999.0),
        GivenId("t", "e7", b"f", 1, 3_000.0),
        RunClosed("r1"),
        LogRecord("bob", "again"),
    )
    assert image(state) == before
    plan.apply()
    assert image(state) != before


def test_the_rows_of_a_batch() -> None:
    """Each table gets its own, under numbers that go on."""
    plan = applied(new_state(), *EVERY_KIND)
    counts = {table: len(rows) for table, rows in plan.inserted.items() if rows}
    assert counts == {
        "log": 2, "thread": 3, "mark": 1, "held": 5, "shed": 1, "given": 4, "run": 4, "letter": 2,
    }  # fmt: skip
    assert [row[0] for row in plan.events] == [1, 2, 3, 4, 5, 6]
    assert plan.new_segment
    assert plan.life.now == 2_600.0
    for table, rows in plan.inserted.items():
        assert all(len(row) == len(schema.COLUMNS[table]) for row in rows), table


def test_numbers_go_on() -> None:
    """Over batches, and a batch that was not applied has used none."""
    state = new_state()
    applied(state, LogRecord("alice", "ep"), placed("alice", 1))
    planned(state, placed("alice", 2))
    plan = applied(state, placed("alice", 2))
    assert [row[0] for row in plan.events] == [2]
    assert not plan.new_segment


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (placed("bob", 1), "log of 'bob': expected its LogRecord before anything else of it"),
        (Marks("bob", 1, (), 0), "log of 'bob': expected its LogRecord"),
        (placed("alice", 4), "log of 'alice': expected offset 3, got 4"),
        (placed("alice", 2), "log of 'alice': expected offset 3, got 2"),
        (LogRecord("alice", "ep.2", (Fork("ep", 1),)), "'ep.2': expected to continue 'ep' at its head, 2, got 1"),
    ],
)
def test_what_does_not_follow_is_refused(effect: Effect, text: str) -> None:
    """A store that would have decided that is not one whose decisions can be kept."""
    state = new_state()
    applied(state, LogRecord("alice", "ep"), *placed_range("alice", 1, 2))
    with pytest.raises(ValueError, match=text):
        planned(state, effect)


def test_a_log_may_have_missed_epochs() -> None:
    """Of two unclean stops in a row, the first left no trace but in the lineage."""
    state = new_state()
    applied(state, LogRecord("alice", "ep"), *placed_range("alice", 1, 2))
    applied(state, LogRecord("alice", "ep.3", (Fork("ep", 2), Fork("ep.2", 2))), placed("alice", 3))
    assert (state.logs["alice"].n, state.logs["alice"].head) == (1, 3)


def test_a_log_that_begins_again_has_another_number() -> None:
    """So that no row of the former one can be taken for one of it, those of the same batch included."""
    state = new_state()
    applied(state, LogRecord("alice", "ep"), *placed_range("alice", 1, 5))
    plan = applied(state, placed("alice", 6), LogRecord("alice", "new"), placed("alice", 1))
    assert plan.deleted["log"] == [1]
    assert (state.logs["alice"].n, state.logs["alice"].head, state.segments[1].live) == (2, 1, 1)


@pytest.mark.parametrize(
    ("effects", "shrinks"),
    [
        ([Marks("alice", 2, (), 0)], True),
        ([HoldShed("h", 1, Cause.UNBOUND_EXPIRED, 1), GivenIdsExpired(5.0), RunClosed("r")], True),
        ([Letter(Cause.RETENTION, 1, 1.0), ThreadForgotten("h")], True),
        ([placed("alice", 2)], False),
        ([Held("h", 2, 1.0, b"")], False),
        ([RunRecord("r2", "h", False)], False),
        ([GivenId("h", "e", b"", 1, 1.0)], False),
    ],
)
def test_what_may_have_the_reserve(effects: list[Effect], shrinks: bool) -> None:
    """Only a batch that makes room, or takes next to none."""
    state = new_state()
    applied(state, LogRecord("alice", "ep"), placed("alice", 1), Held("h", 1, 1.0, b""), RunRecord("r", "h", True))
    assert planned(state, *effects).only_shrinks is shrinks


def test_a_thread_that_is_forgotten_and_comes_again() -> None:
    """It is another one, that begins at 1."""
    state = new_state()
    applied(state, Held("h", 5, 1.0, b""))
    applied(state, ThreadForgotten("h"), Held("h", 1, 2.0, b""))
    assert (state.threads["h"].n, state.threads["h"].seq) == (2, 1)
    assert list(state.held) == [2]


def test_expired_ids_leave_from_the_front() -> None:
    """The rows up to the last one that has expired."""
    state = new_state()
    applied(state, *[GivenId("t", f"e{n}", b"", n, float(n)) for n in range(1, 6)])
    plan = planned(state, GivenIdsExpired(4.0))
    assert plan.expired_through == 3
    plan.apply()
    assert planned(state, GivenIdsExpired(4.0)).expired_through is None


def test_placed_text_is_in_the_row() -> None:
    """The complete event, as it was handed in."""
    state = new_state()
    event = Placed("alice", 1, "t", 9, 5.5, b'{"a":1}')
    (row,) = applied(state, LogRecord("alice", "ep"), event).events
    assert row[1:7] == (1, 1, 1, 9, 5.5, b'{"a":1}')
