"""The check of a life's beginning: what the disk has goes on, and what is not there is not made up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import msgspec
import pytest
import trio
import trio.testing

from actors.limits import Limits
from actors.stores.journal import Restored
from actors.stores.local import LocalStore
from actors.testing.beginning_check import check_beginning, left_on
from actors.testing.journal import Disk, SimJournal
from actors.testing.records import Records
from tests.stores.desk import Desk, Hands

LIMITS = Limits()


@asynccontextmanager
async def opened(disk: Disk, hands: Hands) -> AsyncIterator[Desk]:
    """A store over a disk, for the length of a block."""
    store = LocalStore(SimJournal(disk, 0.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, LIMITS, hands.environment())
        yield Desk(store, hands)
        nursery.cancel_scope.cancel()


async def lived(disk: Disk, hands: Hands) -> None:
    """Live a life: alice has five events, of which a device has acked two, and a thread holds three."""
    async with opened(disk, hands) as d:
        await d.bind("alice")
        for _ in range(5):
            await d.append()
        for _ in range(3):
            await d.append("held")
        view = await d.store.follow("alice")
        view.confirm(view.bounds.epoch, ((1, 2),), 2)


def nothing(left: Restored) -> None:
    """Leave everything as it was."""


def other_epoch(left: Restored) -> None:
    left.logs[0].epoch = "another"


def higher_head(left: Restored) -> None:
    left.logs[0].head += 1


def lower_low(left: Restored) -> None:
    log = left.logs[0]
    log.low, log.times = log.low - 1, log.times[:1] + log.times


def another_owner(left: Restored) -> None:
    (thread,) = [one for one in left.threads if one.record.thread_id == "t"]
    thread.record = msgspec.structs.replace(thread.record, user_id="bob")


def one_more_held(left: Restored) -> None:
    (thread,) = [one for one in left.threads if one.record.thread_id == "held"]
    thread.held = [msgspec.structs.replace(thread.held[0], seq=0), *thread.held]


def fewer_held(left: Restored) -> None:
    (thread,) = [one for one in left.threads if one.record.thread_id == "held"]
    del thread.held[0]


@pytest.mark.parametrize("crashed", [False, True], ids=["closed", "crashed"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (nothing, ""),
        (other_epoch, "goes on in"),
        (higher_head, "has ended at 6"),
        (lower_low, "has ended with 0 to 5"),
        (another_owner, "had the owner bob, and has alice"),
        (one_more_held, "held 0 to 3"),
        (fewer_held, "held 2 to 3"),
    ],
)
async def test_a_beginning_that_is_not_the_end(
    autojump_clock: trio.testing.MockClock, change: Callable[[Restored], None], text: str, crashed: bool
) -> None:
    """A store that begins with anything else than what its disk has is found out, and one that begins with that is
    not."""
    disk, hands, records = Disk(), Hands(), Records()
    await lived(disk, hands)
    if crashed:
        disk.crash()
    left = left_on(disk, LIMITS)
    records.log_at(("alice", left.logs[0].epoch, 1)).acked |= {1, 2}
    change(left)
    async with opened(disk, hands) as d:
        assert isinstance(d.store, LocalStore)
        check_beginning(records, d.store, left, LIMITS, 1_000_000_000.0)
    said = [str(mismatch) for mismatch in records.mismatches]
    if change is higher_head and not crashed:
        assert said == [], "an orderly end is checked by its epoch"
    else:
        assert bool(said) == bool(text)
        assert all(text in one or "acked" in one for one in said), said


async def test_what_was_too_old_may_go(autojump_clock: trio.testing.MockClock) -> None:
    """Events that had become too old by the beginning of a life may be missing there."""
    disk, hands, records = Disk(), Hands(), Records()
    await lived(disk, hands)
    left = left_on(disk, LIMITS)
    records.log_at(("alice", left.logs[0].epoch, 1)).acked |= {1, 2}
    hands.now = LIMITS.retained_seconds + 1
    async with opened(disk, hands) as d:
        assert isinstance(d.store, LocalStore)
        left.threads.clear()
        check_beginning(records, d.store, left, LIMITS, 1_000_000_000.0 + hands.now)
    assert records.mismatches == []


async def test_an_ack_that_nobody_made(autojump_clock: trio.testing.MockClock) -> None:
    """An offset that counts as acked, and that no device has acked, is found, unless no device can ack it any more."""
    disk, hands, records = Disk(), Hands(), Records()
    await lived(disk, hands)
    left = left_on(disk, LIMITS)
    log = records.log_at(("alice", left.logs[0].epoch, 1))
    log.acked.add(1)
    async with opened(disk, hands) as d:
        assert isinstance(d.store, LocalStore)
        check_beginning(records, d.store, left, LIMITS, 1_000_000_000.0)
        assert [str(one).partition(": ")[2] for one in records.mismatches] == [
            "offset 2 of alice counts as acked in the next life, and was not"
        ]
        records.mismatches.clear()
        log.forgotten.add(2)
        check_beginning(records, d.store, left, LIMITS, 1_000_000_000.0)
        assert records.mismatches == []


def test_what_is_left_says_how_it_ended() -> None:
    """A disk says whether its last life was closed in order."""
    assert left_on(Disk(), LIMITS).clean
    assert not left_on(attrs.evolve(Disk(), clean=False), LIMITS).clean
