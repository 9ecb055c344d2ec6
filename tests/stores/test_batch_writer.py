"""The writer of batches: whatever a disk does, each act is answered once, in order, and written once."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import StoreUnavailable
from actors.limits import Limits
from actors.stages import Promise
from actors.stores.batch_writer import BatchWriter, CommitsLost, Policy
from actors.stores.batches import Batches
from actors.stores.journal import Effect, LogRecord, Marks, Placed
from actors.stores.progress import Progress
from actors.stores.state import StoreState
from actors.stores.store import Act, Answer, Append, Bind, Placement, Trouble
from actors.testing.determinism import run
from actors.testing.journal import Disk, Fault, SimJournal


@attrs.define(eq=False)
class Bench:
    """A writer, what it writes from and to, and what it has answered."""

    journal: SimJournal
    state: StoreState
    batches: Batches
    progress: Progress
    writer: BatchWriter
    answers: list[tuple[str, Answer]] = attrs.field(factory=list)
    _numbers: itertools.count[int] = attrs.field(factory=lambda: itertools.count(1))

    def decide(self) -> str:
        """Decide an event of alice's, as the store does; returns its id."""
        event_id = f"e{next(self._numbers)}"
        self.take(Append("t", event_id, b"{"), event_id)
        return event_id

    def take(self, act: Act, name: str) -> None:
        """Decide an act, and have it written."""
        self.batches.gathering()
        answer = self.state.append(act, 0.0) if isinstance(act, Append) else self.state.bind(act, 0.0)
        self.batches.add(act, lambda _, answer: self.answers.append((name, answer)), answer)
        self.writer.deliver()
        self.writer.ring()

    @property
    def answered(self) -> list[str]:
        return [name for name, _ in self.answers]

    @property
    def placed(self) -> list[int]:
        """The offsets that the disk has, in the order in which they were written."""
        return [one.offset for _, _, effects in self.journal.disk.commits for one in effects if isinstance(one, Placed)]


def bench(journal: SimJournal, policy: Policy = "wait") -> Bench:
    """A writer over a journal."""
    state = StoreState(Limits(), wall_clock=lambda: 0.0, new_epoch=lambda: "ep", effects=list[Effect]())
    batches, progress = Batches(state), Progress()
    writer = BatchWriter(
        batches,
        state,
        journal=journal,
        progress=progress,
        policy=policy,
        wall_clock=lambda: 1_000 + trio.current_time(),
    )
    made = Bench(journal, state, batches, progress, writer)
    made.take(Bind("t", "alice", True), "bind")
    return made


@asynccontextmanager
async def writing(journal: SimJournal, policy: Policy = "wait") -> AsyncIterator[Bench]:
    """A writer that runs, for the length of a block."""
    async with trio.open_nursery() as nursery:
        made = bench(journal, policy)
        nursery.start_soon(made.writer.run)
        yield made
        nursery.cancel_scope.cancel()


faults: st.SearchStrategy[list[Fault]] = st.lists(st.sampled_from(["full", "unwritten", "unanswered"]), max_size=6)


@given(faults=faults, pauses=st.lists(st.sampled_from([0.0, 0.005, 0.2, 3.0]), max_size=8))
def test_written_once_whatever_fails(faults: Sequence[Fault], pauses: Sequence[float]) -> None:
    """Under any faults each act is answered once, in the order in which they came, and each event is on the disk once,
    in a batch of its own number."""

    async def main(seed: int) -> None:
        journal = SimJournal(Disk(), 0.01)
        journal.faults.extend(faults)
        async with writing(journal) as it:
            names = ["bind"]
            for pause in pauses:
                names.append(it.decide())
                await trio.sleep(pause)
            await it.writer.settled()
            assert it.answered == names
            assert it.placed == list(range(1, len(names)))
            numbers = [number for _, number, _ in journal.disk.commits]
            assert numbers == sorted(set(numbers))
            assert (it.writer.trouble, it.batches.empty) == (None, True)
            assert it.state.bounds("alice").head == len(names) - 1

    run(main, 0)


@pytest.mark.parametrize("decided", ["before the commit begins", "while it goes on"])
async def test_all_that_was_decided_before_is_written(decided: str, autojump_clock: trio.testing.MockClock) -> None:
    """Whoever waits for what was decided waits for a commit that is under way, though nothing gathers behind it."""
    async with writing(SimJournal(Disk(), 0.5)) as it:
        await it.writer.settled()
        it.decide()
        if decided == "while it goes on":
            await trio.sleep(0.1)
        assert it.placed == []
        await it.writer.written()
        assert it.placed == [1]
        await it.writer.written()


async def test_pauses_grow_to_a_second(autojump_clock: trio.testing.MockClock) -> None:
    """A disk that is full is asked less and less often, once a second in the end, and at once after the next fault."""
    journal, began = SimJournal(Disk(), 0.0), trio.current_time()
    journal.full = True
    async with writing(journal) as it:
        calls = []
        for _ in range(60):
            calls.append(journal.calls)
            await trio.sleep(0.5)
        assert calls[4] >= 5, "five within two seconds"
        assert calls[-1] - calls[-21] == 10
        assert it.writer.trouble == Trouble("the simulated disk is full", 1_000 + began)
        journal.heal()
        await trio.sleep(1.1)
        journal.faults.append("full")
        it.decide()
        await trio.sleep(0.1)
        assert it.answered == ["bind", "e1"]


async def test_one_trouble_is_one(autojump_clock: trio.testing.MockClock) -> None:
    """As long as the reason is the same, the trouble is, so that nobody takes each attempt for news."""
    journal = SimJournal(Disk(), 0.0)
    journal.full = True
    async with writing(journal) as it:
        await trio.sleep(1)
        first = it.writer.trouble
        await trio.sleep(20)
        assert it.writer.trouble is first
        journal.full = False
        journal.faults.extend(["unwritten"] * 3)
        await trio.sleep(1.02)
        assert it.writer.trouble is not None
        assert first is not None
        assert (it.writer.trouble.text != first.text, it.writer.trouble.since) == (True, first.since)


async def test_room_is_made_on_a_full_disk(autojump_clock: trio.testing.MockClock) -> None:
    """While a disk has no room, the marks that say what may be dropped are tried alone, ahead of what waits; those of
    a log that the journal does not know yet are not."""
    journal = SimJournal(Disk(), 0.0)
    async with writing(journal) as it:
        it.decide()
        await it.writer.settled()
        journal.faults.extend(["full", "full"])
        it.decide()
        await trio.sleep(0.01)
        it.state.log("bob")
        for user_id in ("alice", "bob"):
            it.progress.mark(user_id, it.state.log(user_id))
        await trio.sleep(10)
        marks = [[one.user_id for one in effects if isinstance(one, Marks)] for _, _, effects in journal.disk.commits]
        assert [one for one in marks if one] == [["alice"], ["bob"]]
        assert it.placed == [1, 2]
        records = [
            one.user_id for _, _, effects in journal.disk.commits for one in effects if isinstance(one, LogRecord)
        ]
        assert records == ["alice", "bob"]


async def test_room_for_acts(autojump_clock: trio.testing.MockClock) -> None:
    """An emitter that found no room waits until the journal has taken something, and no longer."""
    journal = SimJournal(Disk(), 1.0)
    async with writing(journal) as it:
        await it.writer.room()
        while not it.batches.full:
            it.take(Append("t", "e", b"{" * 500_000), "large")
        began = trio.current_time()
        await it.writer.room()
        assert 0 < trio.current_time() - began <= 3.0
        assert not it.batches.full


async def test_settled_waits_for_what_was_there(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever waits for what came before waits for nothing that comes after."""
    journal = SimJournal(Disk(), 1.0)
    async with writing(journal) as it:
        await trio.sleep(0.5)
        it.decide()

        async def go_on() -> None:
            while True:
                await trio.sleep(0.3)
                it.decide()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            await it.writer.settled()
            nursery.cancel_scope.cancel()
        assert trio.current_time() < 4.0
        assert "e1" in it.answered


async def test_live_delivery(autojump_clock: trio.testing.MockClock) -> None:
    """Under that policy acts are answered at once in trouble, as ones that nothing keeps, and the trouble lasts until
    all that was delivered so is written."""
    journal = SimJournal(Disk(), 1.0)
    async with writing(journal, "volatile") as it:
        journal.full = True
        await trio.sleep(3)
        assert not it.writer.refuses
        it.decide()
        assert it.answered[-1] == "e1"
        (answer,) = [answer for name, answer in it.answers if name == "e1"]
        assert isinstance(answer, Placement)
        assert (answer.promise, it.placed) == (Promise.NOTHING, [])
        journal.heal()
        while it.placed != [1]:
            assert it.writer.trouble is not None
            await trio.sleep(0.1)
        await trio.sleep(0.1)
        assert it.writer.trouble is None
        assert it.answered == ["bind", "e1"], "it is not answered again"


async def test_what_cannot_be_written_by_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """A writer that is closed in trouble answers each act as one of which it is not known what becomes of it, says why,
    and does not say that the journal was closed in order."""
    journal = SimJournal(Disk(), 0.0)
    journal.full = True
    it = bench(journal)
    began = trio.current_time()
    await it.writer.close(5.0)
    assert trio.current_time() - began == pytest.approx(4.0, abs=0.1)
    ((_, answer),) = it.answers
    assert isinstance(answer, StoreUnavailable)
    assert "while it could not write: the simulated disk is full" in str(answer)
    assert not journal.disk.clean
    assert "trouble='the simulated disk is full'" in repr(it.writer)


async def test_closed_in_order(autojump_clock: trio.testing.MockClock) -> None:
    """A writer that is closed writes what is left first."""
    it = bench(SimJournal(Disk(), 1.0))
    it.decide()
    await it.writer.close(5.0)
    assert (it.answered, it.placed, it.journal.disk.clean) == (["bind", "e1"], [1], True)


async def test_a_disk_that_forgets(autojump_clock: trio.testing.MockClock) -> None:
    """A journal that no longer has what it confirmed is written to no more."""
    journal = SimJournal(Disk(), 0.0)
    it = bench(journal)
    await it.writer.write()
    journal.disk.commits.clear()
    journal.faults.append("unwritten")
    it.decide()
    with pytest.raises(CommitsLost, match="expected the journal to have commit 1 of this life, its last one is 0"):
        await it.writer.write()
    assert it.answered == ["bind"]


async def test_without_patience(autojump_clock: trio.testing.MockClock) -> None:
    """A store that opens tries each batch once, and is open in trouble rather than not at all."""
    journal = SimJournal(Disk(), 0.0)
    journal.full = True
    it = bench(journal)
    await it.writer.write(patiently=False)
    assert (journal.calls, it.answered) == (1, [])
    assert it.writer.trouble is not None
