"""The state of a store: what it decides, what it notes of that for a journal, and what it shows."""

from __future__ import annotations

import pytest

from actors.delivery.bounds import Bounds
from actors.delivery.lineage import Fork
from actors.errors import IdempotencyConflict, NotTheOwner
from actors.limits import Limits
from actors.stages import Cause
from actors.stores.journal import (
    Effect,
    GivenId,
    GivenIdsExpired,
    Held,
    HoldShed,
    LogRecord,
    Placed,
    RunClosed,
    RunRecord,
    ThreadForgotten,
    ThreadRecord,
)
from actors.stores.state import REFUSALS, StoreState, threads_of
from actors.stores.store import Append, Bind, RunOver, StaleGeneration

LIMITS = Limits(unbound_events=2, unbound_seconds=60.0, retained_seconds=60.0, retained_events=2, vacant_threads=1)


def state_of(effects: list[Effect] | None = None) -> StoreState:
    """A state; with a list, one that notes what it decides."""
    epochs = iter(f"ep{number}" for number in range(100))
    return StoreState(LIMITS, wall_clock=lambda: 0.0, new_epoch=lambda: next(epochs), effects=effects)


def event(event_id: str = "e", thread_id: str = "t", fingerprint: bytes | None = None) -> Append:
    """An event."""
    return Append(thread_id, event_id, b'{"n":1', fingerprint=fingerprint)


def bind(user_id: str | None, thread_id: str = "t") -> Bind:
    """A bind, by force."""
    return Bind(thread_id, user_id, take=True)


def test_without_a_journal_everything_shows_at_once() -> None:
    """A state that nothing keeps shows an event when it has decided it."""
    state = state_of()
    state.bind(bind("alice"), 0.0)
    for number in range(3):
        state.append(event(), float(number))
    assert state.bounds("alice") == Bounds("ep0", 2, 3)


def test_with_a_journal_an_event_shows_when_it_is_told_to() -> None:
    """A state with a journal numbers an event ahead of what it shows, and trims by what it shows."""
    effects: list[Effect] = []
    state = state_of(effects)
    state.bind(bind("alice"), 0.0)
    placements = [state.append(event(), float(number)) for number in range(4)]
    assert [placement.offset for placement in placements] == [1, 2, 3, 4]
    assert state.bounds("alice") == Bounds("ep0", 1, 0)
    state.show(state.logs["alice"], 3)
    assert state.bounds("alice") == Bounds("ep0", 2, 3)
    state.show(state.logs["alice"], 1)
    assert state.bounds("alice") == Bounds("ep0", 2, 3)


def test_what_is_not_shown_does_not_expire() -> None:
    """An event that is on its way to the disk is not dropped for its age, but for the next sweep after it."""
    state = state_of([])
    state.bind(bind("alice"), 0.0)
    state.append(event(), 0.0)
    state.expire(100.0)
    assert (state.bounds("alice").low, state.bounds("alice").head) == (1, 0)
    state.show(state.logs["alice"], 1)
    assert state.expire(200.0) == ((("alice", 2),), False)


def test_decisions_are_noted() -> None:
    """A journal gets what was decided, in the order in which it was, and no more."""
    effects: list[Effect] = []
    state = state_of(effects)
    state.append(event("x", fingerprint=b"f"), 1.0)
    state.append(Append("t", "m", b"{m", user_id=None, run_id="r", edge="due"), 2.0)
    state.append(event("e3"), 3.0)
    assert effects == [
        Held("t", 1, 1.0, b'{"n":1'),
        GivenId("t", "x", b"f", 1, 1.0),
        RunRecord("r", "t", open=False, message=b"{m"),
        Held("t", 2, 2.0, b"{m"),
        Held("t", 3, 3.0, b'{"n":1'),
        HoldShed("t", 1, Cause.UNBOUND_OVERFLOW, 1),
    ]
    effects.clear()
    state.bind(bind("alice"), 4.0)
    kinds = [type(effect) for effect in effects]
    assert kinds == [LogRecord, Placed, Placed, Placed, ThreadRecord]
    assert [effect.seq for effect in effects if isinstance(effect, Placed)] == [1, 2, 3], "the notice is the first"
    effects.clear()
    state.ack_binding("t", "1")
    state.append(Append("t", "last", b"{l", run_id="r", edge="whole"), 5.0)
    assert [type(effect) for effect in effects] == [ThreadRecord, RunClosed, Placed]
    assert effects[0] == ThreadRecord("t", "alice", "1", 3)


def test_an_id_is_noted_again_where_it_was_placed() -> None:
    """A journal learns where an event of a given id went when its hold was bound."""
    effects: list[Effect] = []
    state = state_of(effects)
    state.append(event("x", fingerprint=b"f"), 1.0)
    state.bind(bind("alice"), 2.0)
    given = [effect for effect in effects if isinstance(effect, GivenId)]
    assert given[1] == GivenId("t", "x", b"f", 1, 1.0, "alice", "ep0", 1)


def test_what_expires_is_noted() -> None:
    """A journal learns which held events, ids and threads were dropped for their age."""
    effects: list[Effect] = []
    state = state_of(effects)
    for thread_id in ("a", "b"):
        state.append(event("x", thread_id, b"f"), 0.0)
    effects.clear()
    state.expire(1_000.0)
    assert effects == [
        GivenIdsExpired(400.0),
        HoldShed("a", 1, Cause.UNBOUND_EXPIRED, 1),
        HoldShed("b", 1, Cause.UNBOUND_EXPIRED, 1),
        ThreadForgotten("a"),
    ]


@pytest.mark.parametrize(
    ("act", "refusal"),
    [
        (event("x", fingerprint=b"another"), IdempotencyConflict),
        (Append("t", "e", b"{", generation="another"), StaleGeneration),
        (Append("t", "e", b"{", user_id="bob"), NotTheOwner),
        (Append("t", "e", b"{", run_id="over"), RunOver),
        (Append("t", "e", b"{", fingerprint=b"f", run_id="over"), RunOver),
        (Bind("t", "bob", take=False), NotTheOwner),
    ],
)
def test_a_refusal_decides_nothing(act: Append | Bind, refusal: type[Exception]) -> None:
    """What was refused leaves no effect, no number, and no id that is remembered."""
    effects: list[Effect] = []
    state = state_of(effects)
    state.bind(bind("alice"), 0.0)
    state.append(event("x", fingerprint=b"f"), 0.0)
    before, ids = list(effects), len(state.window)
    assert refusal in REFUSALS
    with pytest.raises(refusal):
        _ = state.append(act, 1.0) if isinstance(act, Append) else state.bind(act, 1.0)
    assert (effects, len(state.window)) == (before, ids)
    assert state.append(event(), 1.0).seq == 2


def test_a_fork_loses_the_newest() -> None:
    """A log that lost its newest events says up to where its former epoch is true, also once it was forgotten."""
    state = state_of()
    state.bind(bind("alice"), 0.0)
    for number in range(2):
        state.append(event(), float(number))
    assert state.fork("alice", 1) == Bounds("ep1", 1, 1, (Fork("ep0", 1),))
    assert state.append(event(), 2.0).offset == 2
    state.expire(1_000.0)
    assert state.forget("alice")
    assert state.bounds("alice") == Bounds("ep1", 3, 2, (Fork("ep0", 1),))


def test_a_log_that_lost_everything_may_be_forgotten() -> None:
    """Sweeps go on past a log that a fork had emptied and that was forgotten since."""
    state = state_of()
    for user_id in ("alice", "bob"):
        state.bind(bind(user_id, user_id), 0.0)
        state.append(event(thread_id=user_id), 0.0)
    state.fork("alice", 0)
    assert state.forget("alice")
    assert state.expire(1_000.0) == ((("bob", 2),), False)


def test_the_threads_of_users() -> None:
    """Each user's are counted, and the newest named; of a user without one there is none."""
    state = state_of()
    for number in range(4):
        state.bind(bind("alice", f"a{number}"), 0.0)
    state.bind(bind("bob", "b"), 0.0)
    state.append(event(thread_id="held"), 0.0)
    assert threads_of(state, ["alice", "carol"], 2) == {"alice": (4, ["a3", "a2"]), "carol": (0, [])}
