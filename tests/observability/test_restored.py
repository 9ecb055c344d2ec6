"""The events of an earlier life: the application hears of those whose time goes on, once it is up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

import actors
from actors import Cause, Fate, Limits, Stage
from actors.stores.journal import Row
from actors.stores.local import LocalStore
from actors.testing.journal import Disk, SimJournal
from tests.support.stores import timed_environment

LIMITS = Limits(undelivered_seconds=30)


class Told:
    """A hook that remembers."""

    def __init__(self) -> None:
        self.fates: list[Fate] = []

    async def __call__(self, fate: Fate) -> None:
        self.fates.append(fate)

    @property
    def events(self) -> list[str]:
        return [fate.event_id for fate in self.fates]


class Lives:
    """Runtimes over one disk, one after the other, of which each tells its own hook."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.environment = timed_environment()
        self.told = Told()

    @asynccontextmanager
    async def life(self, journal: SimJournal | None = None, limits: Limits = LIMITS) -> AsyncIterator[actors.Runtime]:
        """A runtime for the length of a block."""
        self.told = Told()
        store = LocalStore(journal or SimJournal(self.disk, 0.0))
        options: dict[str, Any] = {"environment": self.environment, "limits": limits, "on_undelivered": self.told}
        async with actors.open_runtime(store=store, **options) as runtime:
            yield runtime

    def crash(self) -> None:
        """Have the present life leave things as they are now; what it does from now on is lost."""
        self.disk = self.disk.crashed()


async def emit(runtime: actors.Runtime, count: int = 1, user_id: str = "alice") -> list[str]:
    """Emit events to a user; their ids."""
    thread = runtime.thread(f"thread-of-{user_id}")
    return [(await thread.emit("step", {}, user_id=user_id)).event_id for _ in range(count)]


async def ack(runtime: actors.Runtime, last: int, user_id: str = "alice") -> None:
    """Have it stored that a device acked everything up to an offset."""
    view = await runtime.tree.store.follow(user_id)
    view.confirm(view.bounds.epoch, ((1, last),), last)
    await trio.sleep(2)


async def test_an_event_of_an_earlier_life_is_told_of(autojump_clock: trio.testing.MockClock) -> None:
    """An event that no device acked, and whose time was not up when its process ended, is told of in the next life,
    when 30 seconds have passed since it was accepted; its fate reads as any other."""
    for crashed in (False, True):
        lives = Lives()
        async with lives.life() as runtime:
            (event_id,) = await emit(runtime)
            await trio.sleep(10)
            if crashed:
                lives.crash()
        async with lives.life() as runtime:
            await trio.sleep(19)
            assert lives.told.events == []
            await trio.sleep(3)
            assert lives.told.events == [event_id]
            (fate,) = lives.told.fates
            assert "thread thread-of-alice, seq 1 → owner alice → offset 1, safe on disk → stored, not" in str(fate)
            assert "no device of alice is here, or was lately" in str(fate)
            assert fate.promise is actors.Promise.POWER
            await trio.sleep(100)
            assert len(lives.told.fates) == 1


async def test_what_the_earlier_life_has_told_is_no_news(autojump_clock: trio.testing.MockClock) -> None:
    """An event whose time was up before its process ended was told of there, and not again."""
    lives = Lives()
    async with lives.life() as runtime:
        (early,) = await emit(runtime)
        await trio.sleep(40)
        assert lives.told.events == [early]
        (late,) = await emit(runtime)
    async with lives.life() as runtime:
        await trio.sleep(100)
        assert lives.told.events == [late]


async def test_what_was_acked_in_any_life_is_no_news(autojump_clock: trio.testing.MockClock) -> None:
    """Events that a device acked are not told of, whether it did so before the end or after it; a user all of whose
    events were acked costs no read."""
    lives = Lives()
    async with lives.life() as runtime:
        ids = await emit(runtime, 3)
        await emit(runtime, 2, "bob")
        await ack(runtime, 1)
        await ack(runtime, 2, "bob")
    async with lives.life() as runtime:
        await trio.sleep(1)
        assert list(runtime.tree.accounts.users) == ["alice"]
        runtime.tree.accounts.users["alice"].ledger.ack(2, 2)
        await trio.sleep(60)
        assert lives.told.events == [ids[2]]
        assert runtime.audit().total.acked == 2


async def test_several_logs_are_told_in_the_order_of_their_time(autojump_clock: trio.testing.MockClock) -> None:
    """Events of all logs are told of as their time is up, those of this life behind those of the last; a run is told of
    by its first event and its last, and not by its tokens."""
    lives = Lives()
    async with lives.life() as runtime:
        expected = []
        for user_id in ("bob", "alice", "bob"):
            expected += await emit(runtime, 1, user_id)
            await trio.sleep(3)
        await runtime.bind("talk", "alice")
        async with runtime.thread("talk").run("writer") as run:
            for _ in range(20):
                run.delta("word ")
                await trio.sleep(0.1)
    async with lives.life() as runtime:
        expected_later = await emit(runtime)
        await trio.sleep(100)
        assert lives.told.events[:3] == expected
        assert lives.told.events[5:] == expected_later
        assert len(lives.told.events) == 6


async def test_more_than_is_at_hand(autojump_clock: trio.testing.MockClock) -> None:
    """Of a long log every event is told of, however it is loaded, and the log is on the disk alone again."""
    lives = Lives()
    limits = Limits(undelivered_seconds=30, undelivered_calls=1)
    async with lives.life() as runtime:
        ids = await emit(runtime, 600)
    async with lives.life(limits=limits) as runtime:
        await trio.sleep(60)
        assert lives.told.events == ids
        assert "at_hand=601" in repr(runtime.tree.store.state.logs["alice"])  # type: ignore[attr-defined]


class Unreadable(SimJournal):
    """Cannot read one user's log."""

    async def load(self, user_id: str, first: int, last: int) -> list[Row]:
        if user_id == "alice":
            raise OSError("bad sector")
        return await super().load(user_id, first, last)


async def test_a_log_that_cannot_be_read(autojump_clock: trio.testing.MockClock) -> None:
    """A log that cannot be read is a failure of its own: events of the others are told of, and the runtime lives."""
    lives = Lives()
    async with lives.life() as runtime:
        await emit(runtime, 2, "alice")
        bobs = await emit(runtime, 2, "bob")
    async with lives.life(Unreadable(lives.disk, 0.0)) as runtime:
        await trio.sleep(60)
        assert lives.told.events == bobs
        assert [(one.path, one.error) for one in runtime.failures] == [("undelivered", "OSError: bad sector")]


async def test_what_left_the_log_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    """An event of an earlier life that leaves its log before its time is up is told of as the drop that it is."""
    lives = Lives()
    async with lives.life() as runtime:
        (event_id,) = await emit(runtime)
    limits = Limits(undelivered_seconds=30, retained_seconds=10)
    async with lives.life(limits=limits) as runtime:
        await trio.sleep(60)
        assert lives.told.events == [event_id]
        receipt = lives.told.fates[0].receipt
        assert receipt is not None
        assert (receipt.stage, receipt.cause) == (Stage.DROPPED, Cause.RETENTION)
