"""The states from which receipts read: their watchers, and what they promise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.hold import Hold
from actors.delivery.ledger import Ledger
from actors.events.states import EventState, Lost, Queued, Safety
from actors.receipts import Receipt
from actors.stages import Cause, Promise, Stage


def test_a_lost_event_stays_lost() -> None:
    """The state of lost events says so for any of them, for ever, and calls nobody."""
    lost = Lost(Cause.CRASHED)
    end = lost.watch(lambda: pytest.fail("nothing changes here"))
    assert (lost.stage(1), lost.cause(2), lost.position(3)) == (Stage.DROPPED, Cause.CRASHED, None)
    end()


def _queued() -> tuple[EventState, Callable[[], object]]:
    state = Queued()
    return state, lambda: Receipt("e1", "t1", 12.5, state).move(Lost(Cause.CRASHED), 0)


def _held() -> tuple[EventState, Callable[[], object]]:
    hold = Hold(1)
    hold.take(1)
    return hold, lambda: hold.shed(1, Cause.UNBOUND_EXPIRED)


def _bound() -> tuple[EventState, Callable[[], object]]:
    hold, ledger = Hold(1), Ledger("alice", "e")
    hold.take(1)
    ledger.add(1)
    hold.bind(ledger, 1)
    return hold, lambda: ledger.write(1, 1)


def _stored() -> tuple[EventState, Callable[[], object]]:
    ledger = Ledger("alice", "e")
    return ledger.add(1), lambda: ledger.ack(1, 1)


@pytest.mark.parametrize("make", [_queued, _held, _bound, _stored])
def test_a_watch_ends(make: Callable[[], tuple[EventState, Callable[[], object]]]) -> None:
    """A watcher of a state is called when it changes; not after the watch was ended, which may be done twice."""
    state, change = make()
    called = list[str]()
    end_first = state.watch(lambda: called.append("first"))
    end_second = state.watch(lambda: called.append("second"))
    end_second()
    end_second()
    change()
    assert called == ["first"]
    end_first()
    change()
    assert called == ["first"]


def test_a_callback_may_end_its_watch() -> None:
    """A callback that ends its own watch, or begins another, disturbs nobody."""
    ledger, called = Ledger("alice", "e"), list[str]()
    page = ledger.add(1)

    def once() -> None:
        called.append("once")
        end()
        page.watch(lambda: called.append("again"))

    end = page.watch(once)
    ledger.write(1, 1)
    ledger.ack(1, 1)
    assert called == ["once", "again"]


@given(st.lists(st.sampled_from([Promise.NOTHING, Promise.POWER, None]), max_size=12))
def test_safety_agrees_with_a_list(answers: list[Promise | None]) -> None:
    """An event is safe if an answer about it, or a later one, promised it, or the store has caught up since; ``None``
    stands for that."""
    safety, model = Safety(), dict[int, Promise]()
    for number, promise in enumerate(answers, 1):
        if promise is None:
            safety.harden(Promise.POWER)
        else:
            safety.note(number, promise)
            model[number] = Promise.NOTHING
        if promise is not Promise.NOTHING:
            model = dict.fromkeys(model, Promise.POWER)
        assert {number: safety.of(number) for number in model} == model
    assert safety.promises or Promise.POWER not in model.values()


def test_safety_can_be_read() -> None:
    """It says from which number on nothing is promised."""
    safety = Safety()
    assert (repr(safety), safety.promises) == ("<Safety NOTHING>", False)
    safety.note(3, Promise.POWER)
    safety.note(4, Promise.NOTHING)
    assert (repr(safety), safety.promises) == ("<Safety POWER, nothing from 4 on>", True)
