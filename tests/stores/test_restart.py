"""A runtime over what an earlier one left: books, devices and cursors go on from there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors import Limits, Stage
from actors.protocol.codes import CLOSINGS
from actors.stores.journal import Row
from actors.stores.local import LocalStore
from actors.testing.journal import Disk, SimJournal
from tests.support.raw import Message, Peer
from tests.support.served import Served, offsets, served
from tests.support.stores import timed_environment

CRASHED = pytest.mark.parametrize("crashed", [False, True], ids=["closed", "crashed"])


class Lives:
    """Runtimes over one disk, one after the other."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.environment = timed_environment()

    @asynccontextmanager
    async def life(self, **limits: Any) -> AsyncIterator[actors.Runtime]:
        """A runtime for the length of a block."""
        store = LocalStore(SimJournal(self.disk, 0.0))
        async with actors.open_runtime(store=store, environment=self.environment, limits=Limits(**limits)) as runtime:
            yield runtime

    def crash(self) -> None:
        """Have the present life leave things as they are now."""
        self.disk = self.disk.crashed()


async def emit(runtime: actors.Runtime, count: int, user_id: str | None = "alice") -> list[actors.Receipt]:
    """Emit events, and wait until they are stored."""
    thread = runtime.thread(f"thread-of-{user_id}")
    receipts = [await thread.emit("step", {}, user_id=user_id) for _ in range(count)]
    for receipt in receipts:
        await receipt.reached(Stage.STORED if user_id else Stage.BUFFERED)
    return receipts


# --- books ------------------------------------------------------------------------


@CRASHED
async def test_books_begin_with_what_was_left(autojump_clock: trio.testing.MockClock, crashed: bool) -> None:
    """Events of the earlier life are in the books as restored, each in one column: held ones at once, those of a log
    when it is first used."""
    lives = Lives()
    async with lives.life() as runtime:
        await emit(runtime, 3)
        await emit(runtime, 2, None)
        if crashed:
            lives.crash()
    async with lives.life() as runtime:
        total = runtime.audit().total
        assert (total.restored, total.held, total.accepted, runtime.audit().balanced) == (2, 2, 0, True)
        await emit(runtime, 1)
        total = runtime.audit().total
        assert (total.restored, total.retained, total.accepted, total.held) == (5, 4, 1, 2)
        await runtime.bind("thread-of-None", "bob")
        users, total = runtime.audit().users, runtime.audit().total
        assert (users["bob"].restored, users["bob"].accepted, users["bob"].retained) == (2, 0, 2)
        assert (total.restored, total.held, runtime.audit().balanced) == (5, 0, True)


async def test_what_goes_by_age_is_in_the_books(autojump_clock: trio.testing.MockClock) -> None:
    """Of restored events those that leave their log or their hold are dropped, as others are."""
    lives = Lives()
    async with lives.life() as runtime:
        await emit(runtime, 3)
        await emit(runtime, 2, None)
    async with lives.life(retained_seconds=10, unbound_seconds=10) as runtime:
        await emit(runtime, 1)
        await trio.sleep(20)
        total = runtime.audit().total
        assert (total.restored, total.dropped, total.held, total.retained) == (5, 6, 0, 0)
        assert runtime.audit().balanced


@CRASHED
async def test_an_id_that_comes_again(autojump_clock: trio.testing.MockClock, crashed: bool) -> None:
    """A repetition of an event of the earlier life is booked as one, and its receipt reads where that event is."""
    lives = Lives()
    async with lives.life() as runtime:
        first = await runtime.thread("t").emit("step", {}, event_id="once", user_id="alice")
        await first.reached(Stage.STORED)
        if crashed:
            lives.crash()
    async with lives.life() as runtime:
        again = await runtime.thread("t").emit("step", {}, event_id="once", user_id="alice")
        await again.reached(Stage.STORED)
        assert (again.seq, again.offset, again.promise) == (1, 1, actors.Promise.POWER)
        total = runtime.audit().total
        assert (total.accepted, total.deduplicated, total.restored, total.retained) == (1, 1, 1, 1)
        assert runtime.audit().balanced


# --- devices ------------------------------------------------------------------------


class Unreadable(SimJournal):
    """Cannot read as often as a test says."""

    failures = 0

    async def load(self, user_id: str, first: int, last: int) -> list[Row]:
        if self.failures:
            self.failures -= 1
            raise OSError("bad sector")
        return await super().load(user_id, first, last)


@asynccontextmanager
async def restarted(
    disk: Disk, events: int, journal: SimJournal | None = None
) -> AsyncIterator[tuple[Served, Message]]:
    """A server over a log of so many events that is on the disk alone, and the welcome of a device of the earlier
    life, which had the first three."""
    async with served(store=LocalStore(SimJournal(disk, 0.0))) as server, server.peer() as peer:
        welcome = await peer.attach("alice")
        for receipt in await server.emit(events):
            await receipt.reached(Stage.STORED)
    async with served(store=LocalStore(journal or SimJournal(disk, 0.0))) as server:
        yield server, welcome


async def resume(peer: Peer, welcome: Message, offset: int) -> Message:
    """Come back with a cursor."""
    await peer.open("actors.v1")
    resumed = {"epoch": welcome["epoch"], "offset": offset}
    return await peer.hello("alice", session=welcome["session"], resume=resumed, renames=True)


async def read_to(peer: Peer, last: int) -> list[int]:
    """Read events up to an offset."""
    events = [await peer.next_event()]
    while events[-1]["offset"] < last:
        events.append(await peer.next_event())
    return offsets(events)


async def test_a_cursor_into_what_is_on_disk_alone() -> None:
    """A device that comes back after a restart goes on behind its cursor, with every event in order, though none of
    them is in memory; what is emitted meanwhile comes behind them."""
    async with restarted(Disk(), 400) as (server, welcome), server.peer() as peer:
        again = await resume(peer, welcome, 3)
        assert (again["resume"], again["epoch"], again["session"]) == ("replayed", welcome["epoch"], welcome["session"])
        await server.emit(5)
        assert await read_to(peer, 405) == list(range(4, 406))
        await peer.next_op("caught_up")
        await peer.ack(405)
        await peer.echo()
        total = server.runtime.audit().total
        assert (total.acked, total.restored, total.accepted) == (405, 400, 5)


async def test_a_cursor_after_a_crash() -> None:
    """After a crash the log goes on under another name, which the device is told, and nothing comes twice."""
    disk = Disk()
    async with served(store=LocalStore(SimJournal(disk, 0.0))) as server, server.peer() as peer:
        welcome = await peer.attach("alice")
        for receipt in await server.emit(20):
            await receipt.reached(Stage.STORED)
        disk = disk.crashed()
    async with served(store=LocalStore(SimJournal(disk, 0.0))) as server, server.peer() as peer:
        again = await resume(peer, welcome, 3)
        assert again["resume"] == "renamed"
        assert again["epoch"] != welcome["epoch"]
        assert await read_to(peer, 20) == list(range(4, 21))


async def test_a_journal_that_cannot_load() -> None:
    """A device whose events cannot be read is sent away so that it comes back, which is a failure of its own; when it
    does, they may be readable."""
    disk = Disk()
    journal = Unreadable(disk, 0.0)
    journal.failures = 1
    async with restarted(disk, 10, journal) as (server, welcome):
        async with server.peer() as peer:
            await resume(peer, welcome, 3)
            ending = await peer.farewell()
            assert ending is not None
            assert ending[0] == CLOSINGS["failed"].code
            assert CLOSINGS["failed"].temporary
        async with server.peer() as peer:
            await resume(peer, welcome, 3)
            assert await read_to(peer, 10) == list(range(4, 11))
        assert [failure.error for failure in server.runtime.failures] == ["OSError: bad sector"]
