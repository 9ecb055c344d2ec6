"""Receipts: what they say about an event, and what waiting for a stage does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from actors.delivery.hold import Hold
from actors.delivery.ledger import Ledger
from actors.errors import Dropped, Unconfirmed
from actors.events.delivered import Position
from actors.events.states import DOUBTFUL, EventState, Lost, Queued
from actors.receipts import Fate, Receipt
from actors.stages import Cause, Promise, Stage

LADDER = [Stage.ACCEPTED, Stage.BUFFERED, Stage.STORED, Stage.WRITTEN, Stage.ACKED]


class Scripted:
    """A state that is in whatever stage a test says, and counts who watches it."""

    def __init__(self, stage: Stage, cause: Cause | None = None) -> None:
        self.now, self.why = stage, cause
        self.watchers: list[Callable[[], object]] = []

    def stage(self, number: int) -> Stage:
        return self.now

    def cause(self, number: int) -> Cause | None:
        return self.why

    def position(self, number: int) -> Position | None:
        return Position("alice", "e", number) if number else None

    def promise(self, number: int) -> Promise:
        return Promise.POWER if number else Promise.NOTHING

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        self.watchers.append(callback)
        return lambda: self.watchers.remove(callback)

    def notify(self) -> None:
        for callback in tuple(self.watchers):
            callback()

    def advance(self, stage: Stage, cause: Cause | None = None) -> None:
        self.now, self.why = stage, cause
        self.notify()


def receipt_at(state: EventState, number: int = 0) -> Receipt:
    return Receipt("e1", "t1", 12.5, state, None, number)


@asynccontextmanager
async def soon() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks must end at once."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            yield nursery


# --- stages -----------------------------------------------------------------------


def test_the_ladder() -> None:
    """An event that is on a rung has been through it and through those below, and through none above."""
    for stage in LADDER:
        assert [stage.covers(awaited) for awaited in LADDER] == [awaited <= stage for awaited in LADDER]
        assert not stage.covers(Stage.UNCONFIRMED)
        assert not stage.covers(Stage.DROPPED)


@pytest.mark.parametrize(
    ("stage", "covered"),
    [
        (Stage.UNCONFIRMED, {Stage.ACCEPTED, Stage.BUFFERED, Stage.STORED, Stage.WRITTEN, Stage.UNCONFIRMED}),
        (Stage.DROPPED, {Stage.ACCEPTED, Stage.DROPPED}),
    ],
)
def test_the_other_ends(stage: Stage, covered: set[Stage]) -> None:
    """An unacked event had been written; of a dropped one only its acceptance is sure."""
    assert {awaited for awaited in Stage if stage.covers(awaited)} == covered


def test_what_is_final() -> None:
    """Three stages are final, and an event goes from no final stage to another."""
    assert {stage for stage in Stage if stage.final} == {Stage.ACKED, Stage.UNCONFIRMED, Stage.DROPPED}


# --- what a receipt says ------------------------------------------------------------


def test_a_receipt_reads_its_place() -> None:
    """Stage, cause and position are what the event's state says at the moment of asking."""
    state = Scripted(Stage.STORED)
    receipt = receipt_at(state, 41)
    assert (receipt.stage, receipt.cause, receipt.offset) == (Stage.STORED, None, 41)
    assert receipt.position == Position("alice", "e", 41)
    state.advance(Stage.DROPPED, Cause.SHUTDOWN)
    assert (receipt.stage, receipt.cause) == (Stage.DROPPED, Cause.SHUTDOWN)


def test_a_receipt_without_a_position() -> None:
    """An event that is in no log has no offset."""
    receipt = receipt_at(Queued())
    assert (receipt.stage, receipt.cause, receipt.position, receipt.offset) == (Stage.ACCEPTED, None, None, None)


def test_a_receipt_follows_its_event() -> None:
    """Queued, held, bound, written, confirmed: one receipt tells the whole way."""
    hold, ledger = Hold(7), Ledger("alice", "e")
    receipt, stages = receipt_at(Queued()), list[Stage]()
    stages.append(receipt.stage)
    hold.take(7)
    receipt.seq = 7
    receipt.move(hold, 7)
    stages.append(receipt.stage)
    ledger.add(1)
    hold.bind(ledger, 1)
    stages.append(receipt.stage)
    ledger.write(1, 1)
    stages.append(receipt.stage)
    ledger.ack(1, 1)
    stages.append(receipt.stage)
    assert stages == LADDER
    assert receipt.position == Position("alice", "e", 1)
    assert repr(receipt) == "<Receipt e1 thread=t1 seq=7 offset=1 ACKED>"


def test_a_repetition_follows_the_first() -> None:
    """The receipt of a repetition tells of the event that was given first."""
    first = receipt_at(Scripted(Stage.WRITTEN), 5)
    first.seq = 3
    again = receipt_at(Queued())
    again.follow(first)
    assert (again.seq, again.offset, again.stage) == (3, 5, Stage.WRITTEN)


def test_receipts_of_one_event_are_equal() -> None:
    """Receipts are equal when thread and event are, wherever the event is, and to nothing else."""
    one, other = receipt_at(Queued()), receipt_at(Scripted(Stage.ACKED), 4)
    assert one == other
    assert len({one, other}) == 1
    assert one != Receipt("e2", "t1", 12.5, Queued())
    assert one != Receipt("e1", "t2", 12.5, Queued())
    assert one != "e1"


def test_a_fate_reads_as_a_sentence() -> None:
    """A fate is its steps, one after the other; one without a receipt is of an event that is not known."""
    known = Fate(event_id="e1", receipt=receipt_at(Queued()), steps=("accepted", "offset 41"))
    assert (str(known), known.known) == ("accepted → offset 41", True)
    assert not Fate(event_id="e1", receipt=None, steps=("forgotten",)).known


# --- waiting ------------------------------------------------------------------------


async def test_reached_waits() -> None:
    """``reached`` returns when the event has been through the stage, also when it skipped it, and not before."""
    state = Scripted(Stage.ACCEPTED)
    receipt, passed = receipt_at(state), list[Stage]()

    async def wait(stage: Stage) -> None:
        await receipt.reached(stage)
        passed.append(stage)

    async with soon() as nursery:
        for stage in LADDER:
            nursery.start_soon(wait, stage)
        await trio.testing.wait_all_tasks_blocked()
        assert passed == [Stage.ACCEPTED]
        state.advance(Stage.STORED)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(passed) == [Stage.ACCEPTED, Stage.BUFFERED, Stage.STORED]
        state.advance(Stage.ACKED)
    assert sorted(passed) == LADDER
    assert state.watchers == []


async def test_reached_follows_the_event() -> None:
    """A waiter is not left behind when the event moves from one state to the next."""
    hold, ledger = Hold(1), Ledger("alice", "e")
    receipt = receipt_at(Queued())
    async with soon() as nursery:
        nursery.start_soon(receipt.reached, Stage.ACKED)
        await trio.testing.wait_all_tasks_blocked()
        hold.take(1)
        receipt.move(hold, 1)
        await trio.testing.wait_all_tasks_blocked()
        ledger.add(1)
        hold.bind(ledger, 1)
        await trio.testing.wait_all_tasks_blocked()
        ledger.write(1, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert receipt.stage is Stage.WRITTEN
        assert len(nursery.child_tasks) == 1
        ledger.ack(1, 1)


async def test_reached_goes_on_with_the_first_receipt() -> None:
    """A waiter on the receipt of a repetition is woken by the fate of the first event."""
    state = Scripted(Stage.STORED)
    first, again = receipt_at(state, 1), receipt_at(Queued())
    async with soon() as nursery:
        nursery.start_soon(again.reached, Stage.ACKED)
        await trio.testing.wait_all_tasks_blocked()
        again.follow(first)
        await trio.testing.wait_all_tasks_blocked()
        state.advance(Stage.ACKED)


@pytest.mark.parametrize("stage", [stage for stage in Stage if not Stage.DROPPED.covers(stage)])
async def test_reached_raises_what_was_dropped(stage: Stage) -> None:
    """Waiting for a stage that a dropped event cannot reach ends with the cause, also for who waited already."""
    state = Scripted(Stage.BUFFERED if stage > Stage.BUFFERED else Stage.ACCEPTED)
    receipt, causes = receipt_at(state), list[Cause]()

    async def wait() -> None:
        with pytest.raises(Dropped, match="e1 was dropped") as dropped:
            await receipt.reached(stage)
        assert not isinstance(dropped.value, Unconfirmed)
        causes.append(dropped.value.cause)

    async with soon() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        state.advance(Stage.DROPPED, Cause.UNBOUND_EXPIRED)
    await wait()
    assert causes == [Cause.UNBOUND_EXPIRED] * 2
    await receipt.reached(Stage.ACCEPTED)
    await receipt.reached(Stage.DROPPED)


async def test_reached_raises_what_is_unconfirmed() -> None:
    """Waiting for the acknowledgement of an event that left retention without one ends with that."""
    ledger = Ledger("alice", "e")
    receipt = receipt_at(ledger.add(1), 1)
    ledger.write(1, 1)
    ledger.trim(2, Cause.RETENTION)
    for stage in (Stage.ACKED, Stage.DROPPED):
        with pytest.raises(Unconfirmed) as unconfirmed:
            await receipt.reached(stage)
        assert unconfirmed.value.cause is Cause.RETENTION
    for stage in (Stage.WRITTEN, Stage.UNCONFIRMED):
        await receipt.reached(stage)


async def test_reached_is_a_checkpoint() -> None:
    """``reached`` is a checkpoint also where there is nothing to wait for."""
    receipt = receipt_at(Scripted(Stage.ACKED))
    with trio.testing.assert_checkpoints():
        await receipt.reached(Stage.WRITTEN)
    with trio.CancelScope() as scope:
        scope.cancel()
        await receipt.reached(Stage.WRITTEN)
    assert scope.cancelled_caught


async def test_cancelled_waiting_leaves_nothing_behind() -> None:
    """A waiter that stops leaves no watcher behind, and changes nothing for the event or for other waiters."""
    state = Scripted(Stage.STORED)
    receipt = receipt_at(state)
    async with soon() as nursery:
        nursery.start_soon(receipt.reached, Stage.ACKED)
        with trio.CancelScope() as scope:
            nursery.start_soon(receipt.reached, Stage.ACKED)
            async with trio.open_nursery() as cancelled:
                cancelled.start_soon(receipt.reached, Stage.ACKED)
                await trio.testing.wait_all_tasks_blocked()
                assert len(state.watchers) == 3
                scope.cancel()
        assert len(state.watchers) == 2
        assert receipt.stage is Stage.STORED
        state.advance(Stage.ACKED)
    assert state.watchers == []


# --- promises ---------------------------------------------------------------------


def test_what_is_nowhere_survives_nothing() -> None:
    """An event in a mailbox, one that was dropped and one that is in doubt promise nothing; any other what its state
    does, and a fate what its receipt does."""
    for state in (Queued(), Lost(Cause.SHUTDOWN), DOUBTFUL):
        assert receipt_at(state).promise is Promise.NOTHING
    receipt = receipt_at(Scripted(Stage.STORED), 1)
    assert receipt.promise is Promise.POWER
    assert Fate(event_id="e1", receipt=receipt, steps=("",)).promise is Promise.POWER
    assert Fate(event_id="e1", receipt=None, steps=("",)).promise is Promise.NOTHING
