"""UndeliveredWatch: the application hears of what nobody confirmed, once, and of nothing else."""

from __future__ import annotations

import trio
from trio.testing import MockClock

import actors
from actors import Fate, Limits, Stage
from tests.stores.waiting import WaitingStore
from tests.support.served import served

LIMITS = Limits(undelivered_seconds=30, undelivered_calls=2, undelivered_call_seconds=5)


class Told:
    """A hook that remembers."""

    def __init__(self) -> None:
        self.fates: list[Fate] = []

    async def __call__(self, fate: Fate) -> None:
        self.fates.append(fate)

    @property
    def events(self) -> list[str]:
        return [fate.event_id for fate in self.fates]


async def test_told_once_when_the_time_is_up(autojump_clock: MockClock) -> None:
    """An event that nobody confirms within its time is told of once, with its fate, whether it has an owner or not."""
    told = Told()
    async with actors.open_runtime(on_undelivered=told, limits=LIMITS) as runtime:
        owned = await runtime.thread("t1").emit("step", {}, user_id="alice")
        unowned = await runtime.thread("t2").emit("step", {})
        await trio.sleep(29)
        assert told.events == []
        await trio.sleep(2.5)
        assert told.events == [owned.event_id, unowned.event_id]
        await trio.sleep(300)
        assert len(told.fates) == 2
    assert "owner alice" in str(told.fates[0])
    assert told.fates[0].receipt is owned


async def test_what_was_confirmed_is_no_news() -> None:
    """What a device has confirmed is not told of; what it was only sent is."""
    told = Told()
    limits = Limits(undelivered_seconds=0.2, sweep_seconds=0.05)
    async with served(on_undelivered=told, limits=limits) as server, server.peer() as peer:
        await peer.attach("alice")
        first, second = await server.emit(2)
        await peer.next_event()
        await peer.ack(1)
        await first.reached(Stage.ACKED)
        while not told.fates:  # noqa: ASYNC110 - the hook has nobody to wake
            await trio.sleep(0.01)
        assert told.events == [second.event_id]
        assert told.fates[0].receipt is not None
        assert told.fates[0].receipt.stage is Stage.WRITTEN


async def test_tokens_are_not_told_of(autojump_clock: MockClock) -> None:
    """Of a run that nobody sees its few events are told, and not its tokens."""
    told = Told()
    async with actors.open_runtime(on_undelivered=told, limits=LIMITS) as runtime:
        async with runtime.thread("t1").run("writer") as run:
            for _ in range(50):
                run.delta("word ")
                await trio.sleep(0.1)
        await trio.sleep(60)
        assert len(told.fates) == 2


async def test_a_repetition_is_the_same_event(autojump_clock: MockClock) -> None:
    """An event that was emitted twice under one id is told of once, with a store that has to be waited for as well."""
    told = Told()
    environment = actors.Environment()
    store = WaitingStore()
    async with actors.open_runtime(on_undelivered=told, limits=LIMITS, store=store, environment=environment) as runtime:
        for _ in range(2):
            await runtime.thread("t1").emit("step", {}, event_id="mine", user_id="alice")
        await trio.sleep(60)
        assert told.events == ["mine"]


async def test_a_hook_that_fails_or_hangs(autojump_clock: MockClock) -> None:
    """A call that raises or takes too long is a failure of its own; the others are made."""
    called: list[str] = []

    async def hook(fate: Fate) -> None:
        called.append(fate.event_id)
        if len(called) == 1:
            raise ZeroDivisionError("no mail server")
        if len(called) == 2:
            await trio.sleep_forever()

    async with actors.open_runtime(on_undelivered=hook, limits=LIMITS) as runtime:
        receipts = [await runtime.thread("t1").emit("step", {}, user_id="alice") for _ in range(5)]
        await trio.sleep(60)
        assert called == [receipt.event_id for receipt in receipts]
        assert [failure.error for failure in runtime.failures] == [
            "ZeroDivisionError: no mail server",
            "TooSlowError",
        ]
        assert {failure.path for failure in runtime.failures} == {"undelivered"}


async def test_too_many_to_watch(autojump_clock: MockClock) -> None:
    """Of more events than are watched the oldest are told of early, and none is forgotten."""
    told = Told()
    limits = Limits(undelivered_seconds=30, undelivered_events=10)
    async with actors.open_runtime(on_undelivered=told, limits=limits) as runtime:
        receipts = [await runtime.thread("t1").emit("step", {}, user_id="alice") for _ in range(25)]
        await trio.sleep(2)
        assert told.events == [receipt.event_id for receipt in receipts[:15]]
        await trio.sleep(60)
        assert told.events == [receipt.event_id for receipt in receipts]
