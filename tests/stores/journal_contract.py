"""The promises of every journal, as one suite that each of them runs.

A journal's own test module has a subclass of :class:`JournalContract` that says
on which :class:`Disk` it is kept.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, Protocol

import attrs
import pytest
import trio

from actors.delivery.lineage import Fork, fork
from actors.errors import StoreError
from actors.limits import Limits
from actors.stages import Cause
from actors.stores.journal import (
    Effect,
    GivenId,
    GivenIdsExpired,
    Held,
    HoldShed,
    Journal,
    Letter,
    LogRecord,
    Marks,
    NotTaken,
    Placed,
    Restored,
    Row,
    RunClosed,
    RunRecord,
    ThreadForgotten,
    ThreadRecord,
)
from tests.stores.journal_model import Model, plain

SECRET = bytes(range(32))
LIMITS = Limits()


class Disk(Protocol):
    """A place for one journal, which outlives the processes that open it."""

    def journal(self) -> Journal:
        """A journal over what is there, not open yet."""
        ...

    def crash(self) -> None:
        """The process that has the journal open is killed."""
        ...

    def fail(self, how: Literal["full", "before", "after"]) -> None:
        """The next commit fails: for want of room, or without an answer before or after it was written."""
        ...

    def contents(self) -> object:
        """Everything that is there, for comparison."""
        ...


def placed(user_id: str, offset: int, *, thread_id: str = "t", seq: int = 0, at: float = 0.0) -> Placed:
    text = b'{"user":"%s","offset":%d,"pad":"%s"}' % (user_id.encode(), offset, b"x" * (offset % 50))
    return Placed(user_id, offset, thread_id, seq or offset, at or 1_000.0 + offset / 8, text)


def placed_range(user_id: str, first: int, last: int) -> list[Effect]:
    return [placed(user_id, offset) for offset in range(first, last + 1)]


async def load_all(journal: Journal, user_id: str, first: int, last: int) -> list[Row]:
    rows: list[Row] = []
    while first <= last:
        found = await journal.load(user_id, first, last)
        assert found, "a load gives one row at least"
        rows += found
        first = found[-1].offset + 1
    return rows


EVERY_KIND: list[Effect] = [
    LogRecord("alice", "ep.2", (Fork("ep", 0), Fork("ep.1", 0))),
    LogRecord("bob", "ep_b"),
    ThreadRecord("t", "alice", "g1", 0, (), b"answer"),
    *placed_range("alice", 1, 5),
    Marks("alice", 2, ((1, 1), (3, 4)), 3),
    ThreadRecord("loose", None, "g0", 7, ((Cause.UNBOUND_OVERFLOW, 2),)),
    Held("loose", 8, 2_000.0, b"eight"),
    Held("loose", 9, 2_001.0, b"nine"),
    Held("loose", 10, 2_002.0, b"ten"),
    HoldShed("loose", 8, Cause.UNBOUND_EXPIRED, 1),
    Held("gone", 1, 2_003.0, b"gone"),
    ThreadForgotten("gone"),
    ThreadRecord("claimed", None, "g0", 0),
    Held("claimed", 1, 2_004.0, b"claimed"),
    ThreadRecord("claimed", "bob", "g1", 1),
    placed("bob", 1, thread_id="claimed", seq=1),
    GivenId("loose", "e1", b"fp1", 8, 1_500.0),
    GivenId("loose", "e2", b"fp2", 9, 1_600.0),
    GivenId("loose", "e3", b"fp3", 10, 1_700.0),
    GivenId("loose", "e2", b"fp2", 9, 1_600.0, "bob", "ep_b", 1),
    GivenIdsExpired(1_600.0),
    RunRecord("r1", "t", False, b"message", "alice"),
    RunRecord("r2", "t", True),
    RunRecord("r1", "t", True, b"message", "alice"),
    RunRecord("r3", "t", True),
    RunClosed("r3"),
    RunClosed("never begun"),
    Letter(Cause.RETENTION, 3, 2_500.0, "alice", "t", "e9", 1, 3),
    Letter(Cause.CRASHED, 1, 2_600.0),
]


class History:
    """Random batches that a store could decide."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._at = 1_000.0
        self._epochs = 0
        self.model = Model()

    def batch(self) -> list[Effect]:
        """The effects of one batch, which the model has taken."""
        effects: list[Effect] = []
        for _ in range(self._chance.randrange(1, 12)):
            made = self._effects()
            self.model.take(made)
            effects += made
        return effects

    def _effects(self) -> list[Effect]:
        chance = self._chance
        self._at += chance.random()
        user, thread = chance.choice("abc"), chance.choice(["t1", "t2", "t3", "t4"])
        match chance.randrange(10):
            case 0 | 1 | 2 | 3:
                return [*self._log(user), *self._place(user, thread)]
            case 4:
                return self._mark(user)
            case 5:
                return self._shed(thread)
            case 6:
                seq = self._seq(thread)
                return [GivenId(thread, f"e{chance.randrange(9)}", b"f", seq, self._at), GivenIdsExpired(self._at - 5)]
            case 7:
                run = f"r{chance.randrange(5)}"
                return [RunClosed(run) if chance.random() < 0.4 else RunRecord(run, thread, chance.random() < 0.5)]
            case 8:
                owner = chance.choice([None, user])
                return [ThreadRecord(thread, owner, f"g{chance.randrange(99)}", self._seq(thread))]
            case _:
                return self._renew(user)

    def _log(self, user: str) -> list[Effect]:
        return [] if user in self.model.logs else self._new(user)

    def _new(self, user: str) -> list[Effect]:
        self._epochs += 1
        return [LogRecord(user, f"ep{self._epochs}")]

    def _place(self, user: str, thread: str) -> list[Effect]:
        log = self.model.logs.get(user)
        head, seq = (0 if log is None else log.head), self._seq(thread)
        known = self.model.threads.get(thread)
        if known is None or known.record.user_id is None:
            return [Held(thread, seq + 1, self._at, b"held %d" % seq)]
        many = range(1, self._chance.randrange(2, 6))
        return [placed(user, head + k, thread_id=thread, seq=seq + k, at=self._at) for k in many]

    def _mark(self, user: str) -> list[Effect]:
        log = self.model.logs.get(user)
        if log is None or not log.head:
            return []
        low = self._chance.randint(min(log.low, log.head), log.head + 1)
        return [Marks(user, low, ((1, log.head),), self._chance.randint(0, log.head))]

    def _shed(self, thread: str) -> list[Effect]:
        held = [] if thread not in self.model.threads else self.model.threads[thread].held
        if not held:
            return [ThreadForgotten(thread)] if self._chance.random() < 0.2 and self._vacant(thread) else []
        return [HoldShed(thread, held[0].seq, Cause.UNBOUND_EXPIRED, 1)]

    def _vacant(self, thread: str) -> bool:
        events = (one for log in self.model.logs.values() for one in log.events.values())
        return all(one.thread_id != thread for one in events)

    def _renew(self, user: str) -> list[Effect]:
        log = self.model.logs.get(user)
        if log is None or self._chance.random() < 0.3:
            return self._new(user)
        self._epochs += 1
        return [LogRecord(user, f"ep{self._epochs}", fork(log.lineage, log.epoch, log.head))]

    def _seq(self, thread: str) -> int:
        return self.model.threads[thread].record.seq if thread in self.model.threads else 0


@attrs.define
class Opened:
    """A journal that was opened, and what its life began with."""

    journal: Journal
    restored: Restored


class JournalContract:
    """The suite; a subclass gives the fixture ``disk``."""

    @pytest.fixture
    def disk(self) -> Disk:
        raise NotImplementedError

    async def opened(self, disk: Disk, limits: Limits = LIMITS) -> Opened:
        journal = disk.journal()
        return Opened(journal, await journal.open(limits, SECRET))

    async def again(self, disk: Disk, journal: Journal, how: str, limits: Limits = LIMITS) -> Opened:
        """End a life, and begin the next one."""
        if how == "crash":
            disk.crash()
        else:
            await journal.aclose(clean=how == "clean")
        return await self.opened(disk, limits)

    # --- lives ------------------------------------------------------------------

    async def test_a_new_journal_is_empty(self, disk: Disk) -> None:
        """The first life begins with nothing, but the secret that was handed in."""
        one = await self.opened(disk)
        assert one.restored == Restored(1, True, SECRET, 0.0, [], [], [], [])
        await one.journal.aclose(clean=True)

    async def test_the_secret_stays(self, disk: Disk) -> None:
        """Another secret that is handed in later is not taken."""
        one = await self.opened(disk)
        await one.journal.aclose(clean=True)
        journal = disk.journal()
        assert (await journal.open(LIMITS, b"another" * 4)).secret == SECRET
        await journal.aclose(clean=True)

    @pytest.mark.parametrize(("how", "clean"), [("clean", True), ("closed", False), ("crash", False)])
    async def test_a_life_that_ended_in_order_is_known(self, disk: Disk, how: str, clean: bool) -> None:
        """The next life has the next number, and knows how the one before ended."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep")])
        two = await self.again(disk, one.journal, how)
        assert (two.restored.life, two.restored.clean) == (2, clean)
        await two.journal.aclose(clean=True)

    @pytest.mark.parametrize("how", ["clean", "crash"])
    async def test_a_life_without_a_commit_changes_nothing(self, disk: Disk, how: str) -> None:
        """Neither a clean end before it is forgotten, nor an unclean one."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep")])
        two = await self.again(disk, one.journal, how)
        three = await self.again(disk, two.journal, "crash")
        four = await self.again(disk, three.journal, "clean")
        assert four.restored.clean is (how == "clean")
        await four.journal.aclose(clean=True)

    async def test_a_closed_journal_takes_nothing(self, disk: Disk) -> None:
        """A commit and a load after the end are refused; to close again is no error."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep"), placed("alice", 1)])
        await one.journal.aclose(clean=True)
        with pytest.raises(StoreError, match="open"):
            await one.journal.commit(2, [placed("alice", 2)])
        with pytest.raises(StoreError, match="open"):
            await one.journal.load("alice", 1, 1)
        await one.journal.aclose(clean=True)

    async def test_one_writer(self, disk: Disk) -> None:
        """A second one is refused, and changes nothing."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep")])
        before = disk.contents()
        with pytest.raises(StoreError, match="expected a journal that is not open"):
            await self.opened(disk)
        assert disk.contents() == before
        await one.journal.commit(2, [placed("alice", 1)])
        await one.journal.aclose(clean=True)

    # --- effects ------------------------------------------------------------------

    @pytest.mark.parametrize("how", ["clean", "closed", "crash"])
    @pytest.mark.parametrize("together", [True, False])
    async def test_every_kind_of_effect_comes_back(self, disk: Disk, how: str, together: bool) -> None:
        """In one batch or in as many as there are effects; two lives later as well."""
        model = Model(secret=SECRET, life=1, clean=how == "clean")
        model.take(EVERY_KIND)
        one = await self.opened(disk)
        batches: Sequence[list[Effect]] = [EVERY_KIND] if together else [[effect] for effect in EVERY_KIND]
        for number, batch in enumerate(batches, 1):
            await one.journal.commit(number, batch)
        two = await self.again(disk, one.journal, how)
        assert plain(two.restored) == plain(model.restored(LIMITS))
        rows = await load_all(two.journal, "alice", 2, 5)
        assert rows == [Row(offset, placed("alice", offset).text) for offset in range(2, 6)]
        three = await self.again(disk, two.journal, "crash")
        assert plain(three.restored) == plain(model.restored(LIMITS))
        await three.journal.aclose(clean=True)

    async def test_a_log_goes_on_or_begins_again(self, disk: Disk) -> None:
        """With its epoch in the lineage it goes on; without it nothing of it is left."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 4)])
        lineage = (Fork("ep", 4),)
        await one.journal.commit(2, [LogRecord("alice", "ep.2", lineage), placed("alice", 5)])
        two = await self.again(disk, one.journal, "crash")
        (log,) = two.restored.logs
        assert (log.epoch, log.lineage, log.low, log.head) == ("ep.2", lineage, 1, 5)
        await two.journal.commit(1, [LogRecord("alice", "new"), placed("alice", 1, at=9.0)])
        three = await self.again(disk, two.journal, "crash")
        (log,) = three.restored.logs
        assert (log.epoch, log.lineage, log.low, log.head, list(log.times)) == ("new", (), 1, 1, [9.0])
        await three.journal.aclose(clean=True)

    async def test_no_more_than_is_retained(self, disk: Disk) -> None:
        """A start hands out the newest events of a log; those that the limits had dropped before stay dropped."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 20)])
        two = await self.again(disk, one.journal, "clean", Limits(retained_events=5))
        (log,) = two.restored.logs
        assert (log.low, log.head, list(log.sizes)) == (16, 20, [len(placed("alice", k).text) for k in range(16, 21)])
        assert [row.offset for row in await load_all(two.journal, "alice", 16, 20)] == list(range(16, 21))
        await two.journal.aclose(clean=True)

    async def test_an_empty_log_keeps_its_place(self, disk: Disk) -> None:
        """Its low is behind its head, and its numbering goes on."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 3), Marks("alice", 4, (), 3)])
        two = await self.again(disk, one.journal, "crash")
        (log,) = two.restored.logs
        assert (log.low, log.head, len(log.times)) == (4, 3, 0)
        await two.journal.commit(1, [placed("alice", 4)])
        three = await self.again(disk, two.journal, "clean")
        (log,) = three.restored.logs
        assert (log.low, log.head, len(log.times)) == (4, 4, 1)
        await three.journal.aclose(clean=True)

    @pytest.mark.parametrize("seed", range(20))
    async def test_any_history_comes_back(self, disk: Disk, seed: int) -> None:
        """Over lives that end in every way, each start is what the effects amount to."""
        history, chance = History(seed), random.Random(seed)
        history.model.secret = SECRET
        one = await self.opened(disk)
        for life in range(1, 7):
            for number in range(1, chance.randrange(2, 9)):
                await one.journal.commit(number, history.batch())
            how = chance.choice(["clean", "closed", "crash"])
            history.model.life, history.model.clean = life, how == "clean"
            one = await self.again(disk, one.journal, how)
            assert plain(one.restored) == plain(history.model.restored(LIMITS))
            for user_id, log in history.model.logs.items():
                low = max(log.low, 1)
                texts = [log.events[offset].text for offset in range(low, log.head + 1)]
                assert [row.text for row in await load_all(one.journal, user_id, low, log.head)] == texts
        await one.journal.aclose(clean=True)

    # --- loads --------------------------------------------------------------------

    async def test_loads_give_one_row_at_least(self, disk: Disk) -> None:
        """However long the range is and however large the events are."""
        large = [Placed("alice", k, "t", k, 1.0, b"%d" % k * 900_000) for k in range(1, 13)]
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep"), *large])
        rows = await load_all(one.journal, "alice", 1, 12)
        assert [(row.offset, row.text) for row in rows] == [(event.offset, event.text) for event in large]
        await one.journal.aclose(clean=True)

    async def test_loads_go_on_beside_commits(self, disk: Disk) -> None:
        """A reader sees each event as it was placed while others are."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 50)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_often, one.journal)
            for number in range(2, 40):
                first = 50 * (number - 1) + 1
                await one.journal.commit(number, placed_range("alice", first, first + 49))
        await one.journal.aclose(clean=True)

    async def _read_often(self, journal: Journal) -> None:
        for _ in range(30):
            rows = await journal.load("alice", 3, 48)
            assert [row.text for row in rows] == [placed("alice", k).text for k in range(3, 3 + len(rows))]

    # --- trouble ------------------------------------------------------------------

    async def test_what_was_not_taken_is_not_there(self, disk: Disk) -> None:
        """The same effects may be committed again, and count once."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep"), placed("alice", 1)])
        disk.fail("full")
        with pytest.raises(NotTaken, match="full"):
            await one.journal.commit(2, placed_range("alice", 2, 4))
        assert [row.text for row in await load_all(one.journal, "alice", 2, 4)] == [None] * 3
        await one.journal.commit(2, placed_range("alice", 2, 4))
        two = await self.again(disk, one.journal, "crash")
        assert [log.head for log in two.restored.logs] == [4]
        await two.journal.aclose(clean=True)

    async def test_what_was_not_taken_before_a_crash_is_lost(self, disk: Disk) -> None:
        """A commit that was refused leaves nothing to a later life."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep"), placed("alice", 1)])
        disk.fail("full")
        with pytest.raises(NotTaken):
            await one.journal.commit(2, [*placed_range("alice", 2, 4), Held("h", 1, 5.0, b"held")])
        two = await self.again(disk, one.journal, "crash")
        assert [log.head for log in two.restored.logs] == [1]
        assert [thread.record.thread_id for thread in two.restored.threads] == ["t"]
        await two.journal.aclose(clean=True)

    @pytest.mark.parametrize("how", ["before", "after"])
    async def test_reopening_says_what_is_there(self, disk: Disk, how: Literal["before", "after"]) -> None:
        """Where the outcome of a commit is not known, its number is found or not, and its effects with it."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep"), placed("alice", 1)])
        disk.fail(how)
        with pytest.raises(StoreError) as caught:
            await one.journal.commit(2, [placed("alice", 2)])
        assert not isinstance(caught.value, NotTaken)
        assert await one.journal.reopen() == (2 if how == "after" else 1)
        if how == "before":
            await one.journal.commit(2, [placed("alice", 2)])
        await one.journal.commit(3, [placed("alice", 3)])
        assert [row.text for row in await load_all(one.journal, "alice", 1, 3)] == [
            placed("alice", k).text for k in range(1, 4)
        ]
        two = await self.again(disk, one.journal, "crash")
        assert [(log.low, log.head) for log in two.restored.logs] == [(1, 3)]
        await two.journal.aclose(clean=True)

    async def test_reopening_in_a_life_without_a_commit(self, disk: Disk) -> None:
        """Batches of the life before do not count."""
        one = await self.opened(disk)
        await one.journal.commit(7, [LogRecord("alice", "ep")])
        two = await self.again(disk, one.journal, "clean")
        disk.fail("before")
        with pytest.raises(StoreError):
            await two.journal.commit(1, [placed("alice", 1)])
        assert await two.journal.reopen() == 0
        await two.journal.commit(1, [placed("alice", 1)])
        await two.journal.aclose(clean=True)

    async def test_a_commit_is_not_cancelled_halfway(self, disk: Disk) -> None:
        """Within a scope that is cancelled it is written all the same."""
        one = await self.opened(disk)
        await one.journal.commit(1, [LogRecord("alice", "ep")])
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.journal.commit(2, [placed("alice", 1)])
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.journal.aclose(clean=True)
        two = await self.opened(disk)
        assert (two.restored.clean, [log.head for log in two.restored.logs]) == (True, [1])
        await two.journal.aclose(clean=True)
