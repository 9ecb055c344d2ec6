"""The store over a journal keeps the contract, and through all that a disk may do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import settings

from actors.delivery.log import NotAtHand
from actors.errors import StoreError, StoreUnavailable
from actors.limits import Limits
from actors.stages import Cause, Promise
from actors.stores.batch_writer import Policy
from actors.stores.journal import LogRecord, Row
from actors.stores.local import LocalStore
from actors.stores.store import Bind, Placement, RestoredHold, Shed, Store
from actors.testing.journal import Disk, SimJournal
from actors.testing.journal import Fault as DiskFault
from tests.stores.contract import StoreContract, StoreMachine
from tests.stores.desk import PLENTY, Desk, Fault, Hands, Place, Taken, events_of, shares

DISK_FAULTS: dict[Fault, DiskFault] = {"refused": "full", "unwritten": "unwritten", "unanswered": "unanswered"}


class DiskPlace(Place):
    """A simulated disk."""

    faults = tuple(DISK_FAULTS)
    loses = True

    def __init__(self) -> None:
        self.disk = Disk()
        self.journal = SimJournal(self.disk, 0.0)

    def store(self) -> Store:
        self.journal = SimJournal(self.disk, 0.0)
        return LocalStore(self.journal)

    def crash(self, lost: int = 0) -> None:
        self.disk = attrs.evolve(self.disk, commits=list(self.disk.commits))
        self.disk.crash(lost)

    def fail(self, fault: Fault, nth: int) -> None:
        self.journal.fail_call, self.journal.fail_with = self.journal.calls + nth, DISK_FAULTS[fault]


@pytest.mark.usefixtures("autojump_clock")
class TestLocalStore(StoreContract):
    """The contract, example by example."""

    @pytest.fixture
    def place(self) -> Place:
        """A disk that outlives the stores on it."""
        return DiskPlace()


class LocalMachine(StoreMachine):
    """The contract against its model."""

    place = DiskPlace


TestLocalMachine = LocalMachine.TestCase
TestLocalMachine.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)


# --- what a disk may do ---------------------------------------------------------------


@asynccontextmanager
async def opened(
    journal: SimJournal, *, policy: Policy = "wait", hands: Hands | None = None, **limits: Any
) -> AsyncIterator[Desk]:
    """A store over a journal, for the length of a block; its answers are not checked."""
    store, hands = LocalStore(journal, policy=policy), hands or Hands()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, Limits(**limits), hands.environment())
        yield Desk(store, hands)
        nursery.cancel_scope.cancel()


async def filled(disk: Disk, events: int = 10) -> None:
    """Leave events in alice's log."""
    async with opened(SimJournal(disk, 0.0)) as d:
        await d.bind("alice")
        for _ in range(events):
            d.submit(d.compose())


class Damaged(SimJournal):
    """Has lost the texts of some offsets."""

    offsets: Sequence[int] = ()

    async def load(self, user_id: str, first: int, last: int) -> list[Row]:
        rows = await super().load(user_id, first, last)
        return [Row(row.offset, None if row.offset in self.offsets else row.text) for row in rows]


class Forgetful(SimJournal):
    """Says after a fault that it has nothing of this life."""

    async def reopen(self) -> int:
        await super().reopen()
        return 0


async def test_acts_share_commits(autojump_clock: trio.testing.MockClock) -> None:
    """What comes during a commit is written by the next one: each act waits for two at most."""
    journal = SimJournal(Disk(), 1.0)
    async with opened(journal) as d:
        began, taken = trio.current_time(), []
        for _ in range(100):
            taken.append(d.submit(d.compose()))
            await trio.sleep(0.01)
        await d.store.settled()
        assert all(one.answers for one in taken)
        assert trio.current_time() - began <= 3.0
        assert len(journal.disk.commits) == 2


async def test_emitters_wait_for_a_full_disk(autojump_clock: trio.testing.MockClock) -> None:
    """While the disk is full nothing is answered, nothing is visible, and the store says why, and since when; within
    two seconds of its return everything goes on."""
    journal = SimJournal(Disk(), 0.0)
    async with opened(journal) as d:
        await d.bind("alice")
        view = await d.store.follow("alice")
        journal.full = True
        d.hands.now = 5.0
        taken = [d.submit(d.compose()) for _ in range(3)]
        await trio.sleep(100)
        assert d.store.trouble is not None
        assert (str(d.store.trouble), d.store.trouble.since) == ("the simulated disk is full", 1_000_000_005.0)
        assert "trouble='the simulated disk is full'" in repr(d.store)
        assert ([one.answers for one in taken], view.bounds.head) == ([[], [], []], 0)
        journal.heal()
        await trio.sleep(2)
        assert [one.result().promise for one in taken] == [Promise.POWER] * 3
        assert view.bounds.head == 3
        assert "trouble" not in repr(d.store)


async def test_emitters_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    """Under the policy of refusal nothing is taken in trouble, and what was taken before is answered after it."""
    journal = SimJournal(Disk(), 0.0)
    async with opened(journal, policy="refuse") as d:
        journal.full = True
        before = d.submit(d.compose())
        await trio.sleep(1)
        with pytest.raises(StoreUnavailable, match="nothing can be stored: the simulated disk is full"):
            d.submit(d.compose())
        journal.heal()
        await trio.sleep(2)
        assert [answer.seq for answer in before.answers if isinstance(answer, Placement)] == [1]
        assert (await d.append()).seq == 2


async def test_events_are_delivered_in_memory(autojump_clock: trio.testing.MockClock) -> None:
    """Under the policy of live delivery an event is visible in trouble, and answered as one that nothing keeps; after
    the trouble it is kept."""
    disk = Disk()
    journal = SimJournal(disk, 0.0)
    async with opened(journal, policy="volatile", unbound_events=1) as d:
        await d.bind("alice")
        view = await d.store.follow("alice")
        journal.full = True
        early = d.submit(d.compose())
        await trio.sleep(1)
        late = [d.submit(d.compose(thread_id)) for thread_id in ("t", "held", "held")]
        assert [one.result().promise for one in [early, *late]] == [Promise.NOTHING] * 4
        assert view.bounds.head == 2
        assert list(d.store.shed()) == [Shed("held", 1, 1, Cause.UNBOUND_OVERFLOW)]
        assert view.bounds.epoch == (await d.bounds("bob")).epoch or d.store.trouble, "nothing waits for the disk"
        journal.heal()
        await trio.sleep(2)
        assert (await d.append()).promise is Promise.POWER
        assert list(d.store.shed()) == []
    async with opened(SimJournal(disk, 0.0)) as d:
        assert await d.numbers("alice") == [("t", seq, seq) for seq in (1, 2, 3)]
        assert list(d.store.restored_holds()) == [RestoredHold("held", 2, 2)]


async def test_an_outcome_that_stays_unknown(autojump_clock: trio.testing.MockClock) -> None:
    """While a journal cannot even say what it has, nothing is answered and nothing is written twice."""
    journal = SimJournal(Disk(), 0.0)
    async with opened(journal) as d:
        journal.faults.extend(["unanswered", "full"])
        taken = d.submit(d.compose())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SimJournal, "reopen", AsyncBroken())
            await trio.sleep(10)
            assert (taken.answers, str(d.store.trouble)) == ([], "OSError: not now")
        await d.store.settled()
        assert len(taken.answers) == len(journal.disk.commits) == 1


class AsyncBroken:
    """A call that fails."""

    async def __call__(self) -> int:
        await trio.lowlevel.checkpoint()
        raise OSError("not now")


async def test_closed_in_trouble(autojump_clock: trio.testing.MockClock) -> None:
    """What cannot be written by the end of the time to close is answered as not known to be stored, and the next life
    takes nothing for granted."""
    disk = Disk()
    journal = SimJournal(disk, 0.0)
    async with opened(journal, store_seconds=5.0) as d:
        await d.bind("alice")
        epoch = (await d.append()).epoch
        journal.full = True
        taken, began = d.submit(d.compose()), trio.current_time()
    assert trio.current_time() - began < 7
    (answer,) = taken.answers
    assert isinstance(answer, StoreUnavailable)
    assert "the simulated disk is full" in str(answer)
    assert not disk.clean
    async with opened(SimJournal(disk, 0.0)) as d:
        assert await d.numbers("alice") == [("t", 1, 1)]
        assert shares(await d.bounds("alice"), epoch) == 1


async def test_a_disk_that_lost_what_it_had_confirmed(autojump_clock: trio.testing.MockClock) -> None:
    """A store whose journal has lost commits ends, says so, writes nothing more there, and leaves no act unanswered."""
    disk = Disk()
    journal, taken = Forgetful(disk, 0.0), list[Taken]()

    async def lose_a_commit() -> None:
        async with opened(journal) as d:
            await d.bind("alice")
            journal.faults.append("unwritten")
            taken.append(d.submit(d.compose()))
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as ended:
        await lose_a_commit()
    assert ended.group_contains(StoreError, match="the disk has lost what it had confirmed")
    assert [type(answer) for answer in taken[0].answers] == [StoreUnavailable]
    assert (len(disk.commits), disk.clean, disk.is_open) == (1, False, False)


async def test_run_again(autojump_clock: trio.testing.MockClock) -> None:
    """A store whose run has ended goes on when it is run again, with all that it had."""
    journal, hands = SimJournal(Disk(), 0.0), Hands()
    store, environment = LocalStore(journal), hands.environment()
    desk = Desk(store, hands)
    epochs = set()
    for number in range(1, 4):
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run, Limits(), environment)
            await desk.bind("alice")
            placement = await desk.append()
            epochs.add(placement.epoch)
            assert placement.offset == number
            desk.submit(desk.compose("held"))
            nursery.cancel_scope.cancel()
    desk.check_answers()
    assert len(epochs) == 1


async def test_run_again_after_a_crash(autojump_clock: trio.testing.MockClock) -> None:
    """What a run left that crashed is written by the next one, though nobody asks for it."""
    journal, hands = SimJournal(Disk(), 0.0), Hands()
    store, environment = LocalStore(journal), hands.environment()
    desk = Desk(store, hands)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, Limits(store_seconds=1.0), environment)
        await desk.bind("alice")
        journal.full = True
        desk.submit(desk.compose())
        nursery.cancel_scope.cancel()
    assert store.trouble is not None
    journal.heal()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, Limits(), environment)
        await trio.sleep(1)
        assert store.trouble is None
        assert (await desk.append()).offset == 2
        nursery.cancel_scope.cancel()


async def test_a_start_on_a_full_disk(autojump_clock: trio.testing.MockClock) -> None:
    """A store that begins on a full disk is open, and in trouble; closed before that is over, it has not been closed in
    order, and the next one ends what it could not."""
    disk = Disk()
    async with opened(SimJournal(disk, 0.0)) as d:
        await d.run_event("r", "opens")
    journal = SimJournal(disk, 0.0)
    store, hands, limits = LocalStore(journal), Hands(), Limits()
    journal.full = True
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, limits, hands.environment())
        assert str(store.trouble) == "the simulated disk is full"
        nursery.cancel_scope.cancel()
    assert (disk.is_open, disk.clean) == (False, False)
    store = LocalStore(journal := SimJournal(disk, 0.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, limits, hands.environment())
        assert list(store.restored_holds()) == [RestoredHold("t", 1, 2)]
        nursery.cancel_scope.cancel()


# --- what is on the disk alone ------------------------------------------------------------


async def test_events_are_loaded_on_demand(autojump_clock: trio.testing.MockClock) -> None:
    """A life begins with no event at hand; those that are asked for are brought, the newest first."""
    disk = Disk()
    await filled(disk, 600)
    async with opened(SimJournal(disk, 0.0)) as d:
        view = await d.store.follow("alice")
        with pytest.raises(NotAtHand):
            view.read(600, PLENTY)
        await view.fill(600)
        assert (view.read(600, PLENTY).first, view.read(600, PLENTY).last) == (600, 600)
        await d.append()
        assert view.read(600, PLENTY).last == 601, "what is new is at hand"
        with pytest.raises(NotAtHand):
            view.read(1, PLENTY)
        await view.fill(1)
        assert [event.offset for event in events_of(view.read(1, PLENTY))] == list(range(1, 602))


async def test_a_log_is_let_go_of(autojump_clock: trio.testing.MockClock) -> None:
    """A log that was forgotten is on the disk alone, with what was acked of it; one with events on their way there is
    not forgotten."""
    async with opened(SimJournal(Disk(), 0.1)) as d:
        await d.bind("alice")
        for _ in range(3):
            await d.append()
        view = await d.store.follow("alice")
        view.confirm(view.bounds.epoch, ((1, 2),), 3)
        d.submit(d.compose())
        assert not d.store.forget("alice")
        await d.store.settled()
        assert d.store.forget("alice")
        with pytest.raises(NotAtHand):
            view.read(4, PLENTY)
        restored = d.store.restored("alice")
        assert restored is not None
        assert (restored.head, restored.acked, restored.written) == (4, ((1, 2),), 3)
        assert await d.numbers("alice") == [("t", seq, seq) for seq in (1, 2, 3, 4)]


async def test_damaged_events_are_told(autojump_clock: trio.testing.MockClock) -> None:
    """Events that cannot be read are holes in the log, and told once, as ranges, however many tasks found them."""
    disk = Disk()
    await filled(disk)
    journal = Damaged(disk, 0.01)
    journal.offsets = (3, 4, 7)
    async with opened(journal) as d:
        view = await d.store.follow("alice")
        async with trio.open_nursery() as nursery:
            for first in (1, 5, 1):
                nursery.start_soon(view.fill, first)
        chunks = [view.read(1, PLENTY), view.read(3, PLENTY), view.read(7, PLENTY)]
        assert [(chunk.first, chunk.last) for chunk in chunks] == [(1, 2), (5, 6), (8, 10)]
        assert sorted(d.store.expire().damaged) == [("alice", 3, 4), ("alice", 7, 7)]
        assert d.store.expire().damaged == ()
        assert await d.history() == ([1, 2, 5, 6, 8, 9, 10], ((3, 4), (7, 7)), False)


async def test_an_epoch_is_shown_once_it_is_recorded(autojump_clock: trio.testing.MockClock) -> None:
    """A log that is new, or goes on in another epoch, is followed once its epoch is as safe as its events will be; of
    other logs' records nobody waits for the commit."""
    disk = Disk()
    for life in (1, 2):
        journal = SimJournal(disk, 1.0)
        async with opened(journal) as d:
            began = trio.current_time()
            epoch = (await d.store.follow("alice")).bounds.epoch
            assert trio.current_time() - began >= 1.0
            records = [one for _, _, effects in disk.commits for one in effects if isinstance(one, LogRecord)]
            records = [one for one in records if one.user_id == "alice"]
            assert (len(records), records[-1].epoch) == (life, epoch)
            began = trio.current_time()
            await d.store.follow("alice")
            d.submit(Bind("t", "bob", take=True))
            d.submit(d.compose())
            await d.store.follow("alice")
            assert trio.current_time() == began
        disk.crash()
