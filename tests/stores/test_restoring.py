"""Restoring: a state that was restored from its effects decides as the one that made them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.environment import Environment
from actors.events.delivered import Event
from actors.events.event import encode, fingerprint
from actors.limits import Limits
from actors.stages import Promise
from actors.stores.journal import Effect, Marks
from actors.stores.progress import Progress
from actors.stores.records import RunMark
from actors.stores.restoring import last_event_of, restore, restored_bounds, restored_holds
from actors.stores.state import REFUSALS, StoreState
from actors.stores.store import Act, Answer, Append, Bind, Binding, Edge, Placement, RestoredHold
from actors.testing.journal import fold

LIMITS = Limits(unbound_events=3)


def epochs(life: int) -> Iterator[str]:
    return iter(f"ep{number}.{life}" for number in range(1, 100))


def made(life: int = 1) -> StoreState:
    """The state of one life."""
    names = epochs(life)
    return StoreState(LIMITS, wall_clock=lambda: 0.0, new_epoch=lambda: next(names), effects=list[Effect]())


def event(
    thread_id: str = "t",
    event_id: str = "e",
    *,
    given: bool = False,
    user_id: str | None = None,
    run_id: str | None = None,
    edge: Edge = "",
    text: str = "",
) -> Append:
    """An event to be taken."""
    body = encode("say", {"text": text}, thread_id, run_id, event_id, 0.0, LIMITS)
    return Append(thread_id, event_id, body, None, fingerprint(body) if given else None, user_id, run_id, edge)


def decide(state: StoreState, act: Act) -> Answer:
    """Decide an act, and show what it placed."""
    try:
        answer = state.append(act, 0.0) if isinstance(act, Append) else state.bind(act, 0.0)
    except REFUSALS as refusal:
        return refusal
    for log in state.logs.values():
        state.show(log, log.head)
    return answer


def next_life(
    state: StoreState, *, clean: bool = True, marks: tuple[Marks, ...] = ()
) -> tuple[StoreState, Progress, set[str]]:
    """The state that the next life begins with, its progress, and the users whose logs go on in another epoch."""
    restored = fold([*(state.effects or ()), *marks], LIMITS)
    restored.life, restored.clean = 2, clean
    after, progress = made(2), Progress()
    forked = restore(restored, after, progress, 0.0)
    return after, progress, forked


acts = st.lists(
    st.one_of(
        st.builds(
            event,
            st.sampled_from(["t", "u"]),
            st.sampled_from(["e1", "e2", "e3"]),
            given=st.booleans(),
            user_id=st.sampled_from([None, None, "alice"]),
            run_id=st.sampled_from(["r1", "r2"]),
            edge=st.sampled_from(["", "opens", "closes", "due", "whole"]),
            text=st.sampled_from(["yes", "no"]),
        ),
        st.builds(
            Bind, st.sampled_from(["t", "u"]), st.sampled_from([None, "alice", "bob"]), st.sampled_from([True, False])
        ),
    ),
    max_size=20,
)


def comparable(answer: Answer) -> object:
    """An answer without what differs between two lives: the epochs' names."""
    if isinstance(answer, Placement | Binding):
        kept = (answer.generation, answer.user_id, answer.low)
        own = (answer.seq, answer.offset) if isinstance(answer, Placement) else (answer.first_offset, answer.notice)
        return (*kept, *own, bool(answer.epoch))
    return type(answer), str(answer)


@given(before=acts, after=acts, clean=st.booleans())
def test_the_next_life_decides_alike(before: list[Act], after: list[Act], clean: bool) -> None:
    """Whatever was decided in one life, every act of the next one is answered as the first life would have answered
    it, but for the names of epochs."""
    one = made()
    for act in before:
        decide(one, act)
    two, _, _ = next_life(one, clean=clean)
    for act in after:
        assert comparable(decide(one, act)) == comparable(decide(two, act)), act


def test_epochs_are_kept_after_an_orderly_end() -> None:
    """After an orderly end each log goes on under its name, and with its lineage."""
    state = made()
    for act in (Bind("t", "alice", True), event()):
        decide(state, act)
    after, _, forked = next_life(state)
    assert (after.bounds("alice"), forked) == (state.bounds("alice"), set())


@pytest.mark.parametrize("events", [0, 3])
def test_every_log_forks_after_a_crash(events: int) -> None:
    """After any other end a log goes on in an epoch of the next life, which shares all that is there with the one
    before, and nothing more; so does one that is empty."""
    state = made()
    decide(state, Bind("t", "alice", True))
    state.log("alice")
    for number in range(events):
        decide(state, event(event_id=f"e{number}"))
    after, _, forked = next_life(state, clean=False)
    (fork,) = after.bounds("alice").lineage
    assert after.bounds("alice").epoch == "ep1.2"
    assert (fork.epoch, fork.offset, forked) == ("ep1.1", events, {"alice"})


def test_a_given_id_is_known_in_the_present_epoch() -> None:
    """A repetition is answered with the place of the event under the name that its log has now."""
    state = made()
    for act in (event("held", "h", given=True), Bind("t", "alice", True), event(event_id="once", given=True)):
        decide(state, act)
    after, _, _ = next_life(state, clean=False)
    again = decide(after, event(event_id="once", given=True))
    assert isinstance(again, Placement)
    assert (again.again, again.epoch, again.offset) == ("given", "ep1.2", 1)
    decide(after, Bind("held", "alice", True))
    held = decide(after, event("held", "h", given=True))
    assert isinstance(held, Placement)
    assert (held.again, held.epoch, held.offset) == ("given", "ep1.2", 2)


def test_a_hold_tells_what_it_shed_in_an_earlier_life() -> None:
    """An owner is told of the held events that any life shed, as one range."""
    state = made()
    for number in range(5):
        decide(state, event(event_id=f"e{number}"))
    after, _, _ = next_life(state)
    assert restored_holds(after) == [RestoredHold("t", 3, 5)]
    decide(after, event(event_id="e5"))
    binding = decide(after, Bind("t", "alice", True))
    assert isinstance(binding, Binding)
    assert (binding.notice, binding.first_offset) == (True, 1)
    assert after.logs["alice"].head == 4


def test_a_thread_that_shed_everything() -> None:
    """A hold without an event has nothing to restore but its notice."""
    state = made()
    decide(state, event())
    state.expire(LIMITS.unbound_seconds + 1)
    after, _, _ = next_life(state)
    assert restored_holds(after) == []
    assert restored_holds(made()) == []


def test_what_devices_have_done_is_described() -> None:
    """The books begin with a log as it is now, and with what devices acked and sockets took of it before."""
    state = made()
    decide(state, Bind("t", "alice", True))
    for number in range(3):
        decide(state, event(event_id=f"e{number}"))
    after, progress, _ = next_life(state, marks=(Marks("alice", 2, ((2, 2),), 3),))
    bounds = restored_bounds(after.logs["alice"], progress.of("alice"), Promise.POWER, 12.0)
    assert (bounds.low, bounds.head, bounds.acked, bounds.written) == (2, 3, ((2, 2),), 3)
    assert (bounds.epoch, bounds.promise, bounds.until) == ("ep1.1", Promise.POWER, 12.0)


def test_the_last_event_of_a_run_that_was_lost() -> None:
    """A run whose process ended is said to have failed, for that reason; the store takes it as the run's last event."""
    state = made()
    decide(state, event(run_id="r", edge="opens"))
    after, _, _ = next_life(state, clean=False)
    (mark,) = after.runs.inherited(open=True)
    append = last_event_of(mark, Environment(wall_clock=lambda: 5.0))
    assert isinstance(decide(after, append), Placement)
    assert list(after.runs.inherited(open=True)) == []
    decide(after, Bind("t", "alice", True))
    last = msgspec.json.decode(list(after.logs["alice"].texts())[-1], type=Event)
    assert (last.type, last.run_id, last.payload["error"]["type"]) == ("agent_failed", "r", "EmitterLost")


def test_a_long_id_does_not_keep_a_store_from_opening() -> None:
    """The event of a run that was lost is made whatever a deployment's limits are by now."""
    mark = RunMark("r" * 200, "t" * 200, True)
    assert last_event_of(mark, Environment()).edge == "closes"


def test_no_two_logs_have_one_name() -> None:
    """Each log that forks has an epoch of its own: the books of one would take another's events for theirs."""
    state = made()
    for user_id in ("alice", "bob"):
        decide(state, Bind(user_id, user_id, True))
        decide(state, event(user_id))
    after, _, _ = next_life(state, clean=False)
    assert after.bounds("alice").epoch != after.bounds("bob").epoch
