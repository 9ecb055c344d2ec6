"""A ledger's facts about each offset, and its counts."""

from __future__ import annotations

import itertools
from collections import Counter

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.bounds import Spans
from actors.delivery.ledger import PAGE_SIZE, Ledger, acked_spans, open_spans, restore
from actors.delivery.lineage import MOST_FORKS
from actors.events.delivered import Position
from actors.events.states import EventState
from actors.stages import Cause, Stage

offsets = st.integers(1, 3 * PAGE_SIZE)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(1, PAGE_SIZE), st.none()),
        st.tuples(st.sampled_from(["write", "ack"]), offsets, offsets),
        st.tuples(st.just("trim"), offsets, st.sampled_from([Cause.RETENTION, Cause.SHUTDOWN])),
    ),
    max_size=25,
)


@attrs.define
class Fact:
    """The model's facts about one offset."""

    written: bool = False
    acked: bool = False
    gone: Cause | None = None

    @property
    def stage(self) -> Stage:
        """The stage that these facts come to."""
        if self.acked:
            return Stage.ACKED
        if self.gone is not None:
            return Stage.UNCONFIRMED if self.written else Stage.DROPPED
        return Stage.WRITTEN if self.written else Stage.STORED


@given(low=offsets, order=st.permutations(range(3 * PAGE_SIZE)), steps=steps)
def test_ledger_agrees_with_a_dictionary(low: int, order: list[int], steps: list[tuple[str, int, object]]) -> None:
    """Whatever is noted, and in whatever order, an offset's stage and the totals are what was done to it."""
    ledger, bottom = Ledger("alice", "e", low=low), low
    facts = {offset: Fact() for offset in range(bottom, bottom + 3 * PAGE_SIZE)}
    states: dict[int, EventState] = {}
    unplaced = [bottom + index for index in order]
    for name, first, second in steps:
        if name == "place":
            for _ in range(min(first, len(unplaced))):
                offset = unplaced.pop()
                states[offset] = ledger.add(offset)
        elif name == "trim":
            assert isinstance(second, Cause)
            high = bottom + first - 1
            leaving = [offset for offset in range(low, high) if facts[offset].gone is None]
            for offset in leaving:
                facts[offset].gone = second
            lost = sum(offset in states and facts[offset].stage is Stage.DROPPED for offset in leaving)
            assert ledger.trim(high, second) == lost
            low = max(low, high)
        else:
            assert isinstance(second, int)
            last = bottom + second - 1
            touched = [facts[o] for o in range(max(low, bottom + first - 1), last + 1) if facts[o].gone is None]
            before = sum(facts[o].acked for o in states)
            for fact in touched:
                fact.written, fact.acked = True, fact.acked or name == "ack"
            if name == "write":
                ledger.write(bottom + first - 1, last)
            else:
                assert ledger.ack(bottom + first - 1, last) == sum(facts[o].acked for o in states) - before
        check(ledger, facts, states, low)


def check(ledger: Ledger, facts: dict[int, Fact], states: dict[int, EventState], low: int) -> None:
    for offset, state in states.items():
        fact = facts[offset]
        assert state.stage(offset) is fact.stage
        assert state.cause(offset) == (fact.gone if fact.stage > Stage.ACKED else None)
        assert state.position(offset) == Position("alice", "e", offset)
    stages = Counter(facts[offset].stage for offset in states)
    assert ledger.acked == stages[Stage.ACKED]
    assert ledger.unconfirmed == stages[Stage.UNCONFIRMED]
    assert ledger.dropped == stages[Stage.DROPPED]
    assert ledger.retained == stages[Stage.STORED] + stages[Stage.WRITTEN]
    assert ledger.low == low
    after = max(states, default=min(facts) - 1) + 1
    assert ledger.head == after - 1
    inside = range(low, after)
    assert ledger.first_unacked() == next((o for o in inside if not facts[o].acked), after)
    assert ledger.first_unwritten() == next((o for o in inside if not facts[o].written), after)


def test_a_settled_offset_stays_as_it_was() -> None:
    """After an event has left the log, neither writes nor acknowledgements nor another cause change what it was."""
    ledger = Ledger("alice", "e")
    page = ledger.add(1)
    assert ledger.add(2) is ledger.add(3) is page
    ledger.write(2, 2)
    ledger.ack(3, 3)
    ledger.trim(4, Cause.RETENTION)
    ledger.write(1, 3)
    assert ledger.ack(1, 3) == 0
    assert ledger.trim(4, Cause.SHUTDOWN) == 0
    assert [page.stage(offset) for offset in (1, 2, 3)] == [Stage.DROPPED, Stage.UNCONFIRMED, Stage.ACKED]
    assert [page.cause(offset) for offset in (1, 2, 3)] == [Cause.RETENTION, Cause.RETENTION, None]


def test_a_log_does_not_grow_back() -> None:
    """A trim to where the log already began, or before, changes nothing."""
    ledger = Ledger("alice", "e")
    ledger.add(1)
    ledger.trim(2, Cause.RETENTION)
    assert ledger.trim(1, Cause.RETENTION) == 0
    assert (ledger.low, ledger.dropped) == (2, 1)


@pytest.mark.parametrize("low", [1, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 1_000_000])
def test_pages_are_let_go(low: int) -> None:
    """However many events went through a log, its ledger keeps what it needs for those still there."""
    ledger = Ledger("alice", "e", low=low)
    for offset in range(low, low + 50 * PAGE_SIZE):
        ledger.add(offset)
        ledger.trim(offset - 10, Cause.RETENTION)
    assert ledger.dropped == 50 * PAGE_SIZE - 11
    assert len(ledger._pages) <= 2


def test_a_receipt_keeps_its_page() -> None:
    """The fate of an event can be read long after its log has moved on."""
    ledger = Ledger("alice", "e")
    page = ledger.add(1)
    ledger.write(1, 1)
    for offset in range(2, 10 * PAGE_SIZE):
        ledger.add(offset)
        ledger.trim(offset, Cause.RETENTION)
    assert page.stage(1) is Stage.UNCONFIRMED


def test_a_late_note_finds_its_page() -> None:
    """An event whose answer comes after its log has moved on is counted for what became of it."""
    ledger = Ledger("alice", "e")
    for offset in range(2, 2 * PAGE_SIZE):
        ledger.add(offset)
    ledger.write(1, 1)
    ledger.trim(2 * PAGE_SIZE, Cause.RETENTION)
    assert ledger.add(1).stage(1) is Stage.UNCONFIRMED
    assert (ledger.unconfirmed, ledger.dropped) == (1, 2 * PAGE_SIZE - 2)
    assert len(ledger._pages) <= 1


@pytest.mark.parametrize("change", ["write", "ack", "trim"])
def test_a_change_calls_back(change: str) -> None:
    """A watcher of an event's state is called when it is written, acked, or leaves the log."""
    ledger, called = Ledger("alice", "e"), list[str]()
    near, far = ledger.add(1), ledger.add(PAGE_SIZE * 5)
    near.watch(lambda: called.append("near"))
    far.watch(lambda: called.append("far"))
    if change == "write":
        ledger.write(1, 1)
    elif change == "ack":
        ledger.ack(1, 1)
    else:
        ledger.trim(2, Cause.RETENTION)
    assert called == ["near"]


@pytest.mark.parametrize(
    ("written", "acked", "stage"),
    [(True, False, Stage.UNCONFIRMED), (True, True, Stage.ACKED), (False, False, Stage.DROPPED)],
)
def test_an_unfinished_write_is_settled_when_it_is_over(written: bool, acked: bool, stage: Stage) -> None:
    """An event that a socket has begun to take is not settled by retention before the outcome of the write is known."""
    ledger = Ledger("alice", "e")
    pages = [ledger.add(offset) for offset in (1, 2, 3)]
    ledger.begin_write(2, 3)
    assert ledger.trim(4, Cause.RETENTION) == 1
    assert [page.stage(offset) for offset, page in enumerate(pages, 1)] == [Stage.DROPPED, Stage.STORED, Stage.STORED]
    assert (ledger.retained, ledger.dropped) == (2, 1)
    if acked:
        assert ledger.ack(2, 3) == 2
    ledger.finish_write(2, 3, written=written)
    assert pages[1].stage(2) is pages[2].stage(3) is stage
    assert ledger.retained + ledger.acked + ledger.unconfirmed + ledger.dropped == 3
    assert ledger.retained == 0


def test_another_write_holds_an_event_open() -> None:
    """An event that two sockets take is settled when the last of them is over."""
    ledger = Ledger("alice", "e")
    page = ledger.add(1)
    ledger.begin_write(1, 1)
    ledger.begin_write(1, 1)
    ledger.trim(2, Cause.RETENTION)
    ledger.finish_write(1, 1, written=False)
    assert page.stage(1) is Stage.STORED
    ledger.finish_write(1, 1, written=True)
    assert page.stage(1) is Stage.UNCONFIRMED


# --- forks ------------------------------------------------------------------------


forking = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(1, 40), st.just(0)),
        st.tuples(st.sampled_from(["write", "ack"]), st.integers(1, 160), st.integers(0, 90)),
        st.tuples(st.just("late"), st.integers(0, 5), st.integers(1, 160)),
        st.tuples(st.just("trim"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("fork"), st.integers(0, 160), st.just(0)),
    ),
    max_size=30,
)


class Forked:
    """A log that forks, as a list of events; each is a dictionary's entry, and knows what was done to it."""

    def __init__(self) -> None:
        self.ledger = Ledger("alice", "e0")
        self.ledgers = [self.ledger]
        self.log: list[Fact] = []
        self.low = 1
        self.all: list[tuple[EventState, int, Fact]] = []

    def inside(self, first: int, last: int) -> list[Fact]:
        return self.log[max(first, self.low) - 1 : max(last, 0)]

    def leave(self, facts: list[Fact], cause: Cause) -> None:
        for fact in facts:
            fact.gone = fact.gone or cause

    def place(self, count: int, _: int) -> None:
        for _ in range(count):
            self.log.append(Fact())
            self.all.append((self.ledger.add(len(self.log)), len(self.log), self.log[-1]))

    def write(self, first: int, size: int) -> None:
        self.ledger.write(first, min(first + size, len(self.log)))
        for fact in self.inside(first, first + size):
            fact.written = True

    def ack(self, first: int, size: int) -> None:
        facts = self.inside(first, first + size)
        assert self.ledger.ack(first, min(first + size, len(self.log))) == sum(not fact.acked for fact in facts)
        for fact in facts:
            fact.written = fact.acked = True

    def late(self, back: int, offset: int) -> None:
        """An ack of a former epoch counts for what is still so."""
        if back >= len(self.ledgers):
            return
        former = self.ledgers[-1 - back]
        shared = min(min([one.end for one in self.ledgers[-1 - back : -1]], default=len(self.log)), offset)
        former.ack(1, offset if back else min(offset, len(self.log)))
        for fact in self.inside(1, shared):
            fact.written = fact.acked = True

    def trim(self, count: int, _: int) -> None:
        low = min(self.low + count, len(self.log) + 1)
        self.ledger.trim(low, Cause.RETENTION)
        self.leave(self.inside(self.low, low - 1), Cause.RETENTION)
        self.low = max(self.low, low)

    def fork(self, offset: int, _: int) -> None:
        offset = min(offset, len(self.log))
        self.ledger.lose(offset)
        self.leave(self.inside(offset + 1, len(self.log)), Cause.LOST)
        del self.log[offset:]
        self.low = min(self.low, offset + 1)
        self.ledger = Ledger("alice", f"e{len(self.ledgers)}", former=self.ledger)
        self.ledgers.append(self.ledger)


@given(forking)
def test_a_receipt_is_of_its_own_event(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is said of an offset, before a fork or after it, is said of the event that stood there, and of no other
    at the same offset; each is in one column."""
    model = Forked()
    for name, first, second in steps:
        getattr(model, name)(first, second)
        for state, offset, fact in model.all:
            assert state.stage(offset) is fact.stage
            assert state.cause(offset) == (fact.gone if fact.stage > Stage.ACKED else None)
        stages = Counter(fact.stage for _, _, fact in model.all)
        assert sum(ledger.acked for ledger in model.ledgers) == stages[Stage.ACKED]
        assert sum(ledger.unconfirmed for ledger in model.ledgers) == stages[Stage.UNCONFIRMED]
        assert sum(ledger.dropped for ledger in model.ledgers) == stages[Stage.DROPPED]
        assert model.ledger.retained == stages[Stage.STORED] + stages[Stage.WRITTEN]
        assert model.ledger.stored == stages[Stage.STORED]
        assert (model.ledger.low, model.ledger.head) == (model.low, len(model.log))
        inside = range(model.low, len(model.log) + 1)
        after = len(model.log) + 1
        assert model.ledger.first_unacked() == next((o for o in inside if not model.log[o - 1].acked), after)
        assert model.ledger.first_unwritten() == next((o for o in inside if not model.log[o - 1].written), after)


@pytest.mark.parametrize("written", [True, False])
def test_a_write_that_a_fork_cuts(written: bool) -> None:
    """Of a write that is unfinished when the log forks, the part that is kept is written or not, and the rest is
    settled when it is over."""
    former = Ledger("alice", "e0")
    pages = [former.add(offset) for offset in range(1, 6)]
    former.begin_write(2, 5)
    assert former.lose(3) == 0
    present = Ledger("alice", "e1", former=former)
    again = present.add(4)
    assert [pages[3].stage(4), again.stage(4)] == [Stage.STORED, Stage.STORED]
    former.finish_write(2, 5, written=written)
    kept, lost = (Stage.WRITTEN, Stage.UNCONFIRMED) if written else (Stage.STORED, Stage.DROPPED)
    assert [page.stage(offset) for offset, page in enumerate(pages, 1)] == [Stage.STORED, kept, kept, lost, lost]
    assert again.stage(4) is Stage.STORED
    present.begin_write(3, 4)
    present.finish_write(3, 4, written=True)
    assert [pages[2].stage(3), again.stage(4)] == [Stage.WRITTEN, Stage.WRITTEN]


def test_a_late_reply_about_a_former_epoch() -> None:
    """An event that the store placed before a fork, and answered for after it, is in the log or lost, as it was."""
    former = Ledger("alice", "e0")
    former.lose(2)
    present = Ledger("alice", "e1", former=former)
    assert present.of("e0") is former
    assert present.of("e9") is None
    kept, lost = former.add(2), former.add(3)
    assert (present.retained, former.dropped, lost.cause(3)) == (1, 1, Cause.LOST)
    assert present.ack(1, 2) == 1
    assert (kept.stage(2), lost.stage(3)) == (Stage.ACKED, Stage.DROPPED)
    assert present.add(1) is kept, "a store may answer under the present name"
    assert present.knows(1)


def test_the_oldest_former_epochs_are_forgotten() -> None:
    """A log that forks again and again keeps as many former epochs as it has forks."""
    ledger = Ledger("alice", "e0")
    last = MOST_FORKS + 20
    for number in range(1, last + 1):
        ledger.lose(0)
        ledger = Ledger("alice", f"e{number}", former=ledger)
    known = [ledger.of(f"e{number}") is not None for number in (last, last - MOST_FORKS, last - MOST_FORKS - 2)]
    assert known == [True, True, False]


@given(
    low=st.integers(1, 2 * PAGE_SIZE),
    count=st.integers(0, 2 * PAGE_SIZE),
    acked=st.sets(st.integers(1, 4 * PAGE_SIZE)),
    written=st.integers(0, 4 * PAGE_SIZE),
)
def test_a_log_of_an_earlier_life_is_entered(low: int, count: int, acked: set[int], written: int) -> None:
    """Of the events that an earlier life left it is known which were acked, and which were written to a socket; what
    is told on is what was restored."""
    ledger, head = Ledger("alice", "e", low=low), low + count - 1
    restore(ledger, low, head, spans_of(acked), written)
    here = acked & set(range(low, head + 1))
    assert acked_spans(ledger) == spans_of(here)
    assert (ledger.acked, ledger.retained, ledger.head) == (len(here), count - len(here), head)
    for offset in range(low, head + 1):
        stage = Stage.ACKED if offset in here else Stage.WRITTEN if offset <= written else Stage.STORED
        assert ledger.page(offset).stage(offset) is stage
    assert ledger.first_unwritten() == next(
        (o for o in range(low, head + 1) if o not in here and o > written), head + 1
    )


def spans_of(offsets: set[int]) -> Spans:
    """The ranges of offsets."""
    firsts = [one for one in sorted(offsets) if one - 1 not in offsets]
    return tuple((first, next(o for o in itertools.count(first) if o + 1 not in offsets)) for first in firsts)


def test_spans_are_of_what_is_in_the_log() -> None:
    """An ack is told on before the store's reply is noted, and no more once its event has left the log."""
    ledger = Ledger("alice", "e")
    for offset in range(1, PAGE_SIZE + 3):
        ledger.add(offset)
    ledger.ack(1, 2)
    ledger.ack(PAGE_SIZE - 1, PAGE_SIZE + 2)
    assert acked_spans(ledger) == ((1, 2), (PAGE_SIZE - 1, PAGE_SIZE + 2))
    ledger.trim(2, Cause.RETENTION)
    assert acked_spans(ledger) == ((2, 2), (PAGE_SIZE - 1, PAGE_SIZE + 2))
    ledger.trim(PAGE_SIZE + 1, Cause.RETENTION)
    assert acked_spans(ledger) == ((PAGE_SIZE + 1, PAGE_SIZE + 2),)


def test_what_is_open() -> None:
    """The offsets that no device has acked come in their order, in runs of those that sockets took and those that none
    did, also those of the epoch that this one continues."""
    former = Ledger("alice", "e1")
    for offset in range(1, 71):
        former.add(offset)
    former.write(1, 68)
    former.ack(1, 60)
    former.lose(70)
    ledger = Ledger("alice", "e2", former=former)
    for offset in range(71, 75):
        ledger.add(offset)
    ledger.ack(72, 72)
    written, unwritten = [(61, 63), (64, 68)], [(69, 70), (71, 71), (73, 74)]
    assert list(open_spans(ledger)) == [(*span, True) for span in written] + [(*span, False) for span in unwritten]
    ledger.trim(70, Cause.RETENTION)
    assert next(open_spans(ledger)) == (70, 70, False)
