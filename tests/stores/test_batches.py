"""Batches: what is decided gathers in the last one, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from actors.limits import MIB, Limits
from actors.stages import Cause
from actors.stores.batches import Batches
from actors.stores.journal import Effect, Held, LogRecord, Marks, Placed
from actors.stores.state import StoreState
from actors.stores.store import Act, Answer, Append, Bind, Shed

MARKS = Marks("alice", 1, (), 0)


def ignore(act: Act, answer: Answer) -> None:
    """Hear an answer."""


def made(**limits: int) -> tuple[StoreState, Batches]:
    """A state, and the batches of what it decides."""
    numbers = iter(range(1, 100))
    state = StoreState(
        Limits(**limits), wall_clock=lambda: 0.0, new_epoch=lambda: f"ep{next(numbers)}", effects=list[Effect]()
    )
    return state, Batches(state)


def decide(state: StoreState, batches: Batches, act: Append | Bind) -> None:
    """Decide an act, as the store does."""
    batches.gathering()
    answer = state.append(act, 0.0) if isinstance(act, Append) else state.bind(act, 0.0)
    batches.add(act, ignore, answer)


def event(thread_id: str = "t", size: int = 1) -> Append:
    """An event of so many bytes."""
    return Append(thread_id, "e", b"{" * size)


def names(acts: Sequence[tuple[Act, object, Answer]]) -> list[str]:
    return [act.thread_id for act, _, _ in acts]


steps = st.lists(st.sampled_from(["act", "large act", "close", "drop"]), max_size=40)


@given(steps=steps)
def test_no_act_is_lost_or_moved(steps: list[str]) -> None:
    """Each act is in one batch, with its effect, in the order in which it came; batches have consecutive numbers, and
    none that is closed, or as large as a batch may be, takes more."""
    state, batches = made()
    model: list[str] = []
    for number, step in enumerate(steps):
        if step.endswith("act"):
            was_closed = {batch.number: len(batch.acts) for batch in batches if batch.closed or batch.size_bytes >= MIB}
            decide(state, batches, event(f"t{number}", MIB // 3 if "large" in step else 1))
            model.append(f"t{number}")
            assert all(len(batch.acts) == was_closed.get(batch.number, len(batch.acts)) for batch in batches)
        elif step == "close":
            batches.close_first([])
        elif batches.first.closed:
            del model[: len(batches.first.acts)]
            batches.drop_first()
        there = list(batches)
        assert [one.number - there[0].number for one in there] == list(range(len(there)))
        assert [name for one in there for name in names(one.acts)] == model
        assert all(sum(isinstance(effect, Held) for effect in one.effects) == len(one.acts) for one in there)


def test_room_is_what_waits_together() -> None:
    """Acts of 16 MiB may wait, in whichever batches; there is room again when the first of them was written."""
    state, batches = made()
    while not batches.full:
        decide(state, batches, event(size=MIB - 1_000))
    assert len(list(batches)) > 5
    assert sum(one.size_bytes for one in batches) >= 16 * MIB
    batches.close_first([])
    batches.drop_first()
    assert not batches.full


def test_more_effects_go_into_a_batch_that_gathers() -> None:
    """Marks are written with the next batch; one that the journal was given is what it was when it is tried again."""
    state, batches = made()
    decide(state, batches, event())
    first = batches.close_first([MARKS])
    assert (first.closed, first.effects[-1]) == (True, MARKS)
    before = list(first.effects)
    decide(state, batches, event())
    assert batches.close_first([MARKS]) is first
    assert first.effects == before
    assert first in batches
    batches.drop_first()
    assert first not in batches


def test_empty() -> None:
    """There is nothing to write where there is neither an effect nor an act that waits for its answer."""
    state, batches = made()
    assert batches.empty
    batches.add(event(), ignore, ValueError("refused"))
    assert not batches.empty
    batches.close_first([])
    assert not batches.empty, "it waits for its turn"
    batches.drop_first()
    assert batches.empty
    state.log("alice")
    assert not batches.empty
    assert "0 acts, 0 bytes" in repr(batches)


def test_numbers_move_up() -> None:
    """A number before all that wait is made free, for a commit that goes ahead of them."""
    state, batches = made()
    decide(state, batches, event())
    batches.close_first([])
    assert batches.renumber() == 1
    assert [batch.number for batch in batches] == [2, 3]


def test_an_epoch_stands_before_what_is_placed_in_it() -> None:
    """That a log goes on in another epoch is recorded ahead of the first event there, and told until it is written."""
    state, batches = made()
    decide(state, batches, Bind("t", "alice", True))
    assert batches.begun() == set()
    before = len(batches.gathering().effects)
    decide(state, batches, event())
    batches.record("alice", before)
    kinds = [type(one) for one in batches.first.effects[before:]]
    assert kinds.index(LogRecord) < kinds.index(Placed)
    assert batches.begun() == {"alice"}
    batches.close_first([])
    assert batches.begun() == {"alice"}
    batches.drop_first()
    assert batches.begun() == set()


def test_a_batch_tells_what_was_shed_in_its_time() -> None:
    """Drops of held events are in the batch in which they were decided, and in no other."""
    state, batches = made(unbound_events=1)
    for _ in range(2):
        decide(state, batches, event())
    first = batches.close_first([])
    decide(state, batches, event())
    assert list(first.shed) == [Shed("t", 1, 1, Cause.UNBOUND_OVERFLOW)]
    batches.drop_first()
    assert list(batches.close_first([]).shed) == [Shed("t", 2, 2, Cause.UNBOUND_OVERFLOW)]
