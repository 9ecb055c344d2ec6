"""Where the events of a thread without an owner are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.hold import Hold
from actors.delivery.ledger import PAGE_SIZE, Ledger
from actors.events.delivered import Position
from actors.stages import Cause, Stage

CAUSES = [Cause.UNBOUND_OVERFLOW, Cause.UNBOUND_EXPIRED]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 40), st.none()),
        st.tuples(st.just("shed"), st.integers(-2, 30), st.sampled_from(CAUSES)),
    ),
    max_size=15,
)


def fill(first: int, steps: list[tuple[str, int, Cause | None]]) -> tuple[Hold, dict[int, Cause | None]]:
    """A hold, and for each event that it took the cause for which it was shed."""
    hold, low, high = Hold(first), first, first - 1
    fates: dict[int, Cause | None] = {}
    for name, count, cause in steps:
        if name == "take":
            for _ in range(count):
                high += 1
                hold.take(high)
                fates[high] = None
        else:
            shed = range(low, min(low + count, high + 1))
            assert hold.shed(low + min(count, high + 1 - low) - 1, cause or CAUSES[0]) == len(shed)
            fates |= dict.fromkeys(shed, cause)
            low += len(shed)
    assert (hold.low, hold.high, hold.held) == (low, high, high - low + 1)
    return hold, fates


@given(first=st.integers(1, 100), steps=steps)
def test_hold_agrees_with_a_dictionary(first: int, steps: list[tuple[str, int, Cause | None]]) -> None:
    """Each event is held, or dropped for the cause for which it was shed."""
    hold, fates = fill(first, steps)
    for seq, cause in fates.items():
        assert hold.stage(seq) is (Stage.DROPPED if cause is not None else Stage.BUFFERED)
        assert (hold.cause(seq), hold.position(seq)) == (cause, None)


@given(
    first=st.integers(1, 100),
    steps=steps,
    bound_at=st.integers(1, 200),
    after=st.lists(st.tuples(st.sampled_from(["write", "ack", "trim"]), st.integers(0, 300)), max_size=6),
)
def test_a_bound_hold_agrees_with_the_log(
    first: int, steps: list[tuple[str, int, Cause | None]], bound_at: int, after: list[tuple[str, int]]
) -> None:
    """After a bind an event is what its offset in the log is; what had been shed stays dropped."""
    hold, fates = fill(first, steps)
    ledger, low = Ledger("alice", "e", low=bound_at), hold.low
    pages = [ledger.add(bound_at + index) for index in range(hold.held)]
    hold.bind(ledger, bound_at)
    assert hold.held == 0
    for name, offset in after:
        if name == "trim":
            ledger.trim(min(offset, ledger.head + 1), Cause.RETENTION)
        else:
            getattr(ledger, name)(bound_at, min(offset, ledger.head))
    for seq, cause in fates.items():
        if cause is not None:
            assert (hold.stage(seq), hold.cause(seq), hold.position(seq)) == (Stage.DROPPED, cause, None)
        else:
            page, offset = pages[seq - low], bound_at + seq - low
            assert (hold.stage(seq), hold.cause(seq)) == (page.stage(offset), page.cause(offset))
            assert hold.position(seq) == Position("alice", "e", offset)


def test_a_hold_outlives_the_log() -> None:
    """The fate of an event that was held can be read after the log that it went to has moved on."""
    hold, ledger = Hold(1), Ledger("alice", "e")
    for seq in range(1, 4):
        hold.take(seq)
    hold.bind(ledger, 1)
    ledger.write(1, 2)
    ledger.ack(1, 1)
    for offset in range(4, 5 * PAGE_SIZE):
        ledger.add(offset)
    ledger.trim(5 * PAGE_SIZE, Cause.SHUTDOWN)
    assert [hold.stage(seq) for seq in (1, 2, 3)] == [Stage.ACKED, Stage.UNCONFIRMED, Stage.DROPPED]
    assert [hold.cause(seq) for seq in (1, 2, 3)] == [None, Cause.SHUTDOWN, Cause.SHUTDOWN]


@pytest.mark.parametrize("seq", [5, 7])
def test_holding_has_no_hole(seq: int) -> None:
    """Holding anything but the thread's next event is a bug, and is found at once."""
    hold = Hold(5)
    hold.take(5)
    with pytest.raises(AssertionError, match=f"seq {seq} held after 5"):
        hold.take(seq)


def test_a_watch_follows_the_bind() -> None:
    """A watcher of a hold is called when it sheds and when it is bound; after that, when any of its pages changes."""
    hold, ledger, called = Hold(1), Ledger("alice", "e"), list[str]()
    for seq in range(1, 2 * PAGE_SIZE):
        hold.take(seq)
    end = hold.watch(lambda: called.append("held"))
    hold.shed(1, Cause.UNBOUND_EXPIRED)
    hold.bind(ledger, 1)
    assert called == ["held", "held"]
    ledger.write(1, 1)
    assert called == ["held", "held"]
    end()
    end = hold.watch(lambda: called.append("bound"))
    ledger.write(2 * PAGE_SIZE - 2, 2 * PAGE_SIZE - 2)
    ledger.write(2, 2)
    assert called == ["held", "held", "bound", "bound"]
    end()
    ledger.ack(1, 2 * PAGE_SIZE - 2)
    assert called == ["held", "held", "bound", "bound"]
