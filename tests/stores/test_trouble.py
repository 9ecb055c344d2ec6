"""A runtime whose store cannot store for a while: emitters, receipts, operators and probes are told what is so."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors import Cause, Limits, Promise, Receipt, Stage
from actors.errors import StoreUnavailable
from actors.stores.batch_writer import Policy
from actors.stores.local import LocalStore
from actors.stores.store import Store
from actors.testing.journal import Disk, SimJournal
from tests.support.served import ask, served
from tests.support.stores import bounds_of, state_of, timed_environment


@asynccontextmanager
async def opened(
    policy: Policy = "wait", seconds: float = 0.0, **limits: Any
) -> AsyncIterator[tuple[actors.Runtime, SimJournal]]:
    """A runtime over a simulated disk, for the length of a block."""
    journal = SimJournal(Disk(), seconds)
    options: dict[str, Any] = {"environment": timed_environment(), "limits": Limits(**limits)}
    async with actors.open_runtime(store=LocalStore(journal, policy=policy), **options) as runtime:
        yield runtime, journal


async def emit(runtime: actors.Runtime, user_id: str | None = "alice", thread_id: str = "t") -> Receipt:
    """Emit an event."""
    return await runtime.thread(thread_id).emit("step", {}, user_id=user_id)


async def fill_up(journal: SimJournal, runtime: actors.Runtime, thread_id: str = "t") -> Receipt:
    """Have the disk full, and the store know it; the receipt of the event with which it learnt that."""
    journal.full = True
    receipt = runtime.thread(thread_id).emit_nowait("step", {}, user_id="alice")
    await trio.sleep(2.5)
    return receipt


# --- promises ---------------------------------------------------------------------


async def test_what_a_receipt_promises() -> None:
    """An event in memory survives nothing; one on disk a loss of power, whether its thread has an owner or not; one on
    its way there nothing yet."""
    async with actors.open_runtime() as memory:
        assert (await emit(memory)).promise is Promise.NOTHING
        assert (await emit(memory, None, "held")).promise is Promise.NOTHING
        assert memory.explain((await emit(memory)).event_id).promise is Promise.NOTHING
    assert memory.explain("unknown").promise is Promise.NOTHING


@pytest.mark.parametrize(("user_id", "where"), [("alice", "offset 1, safe on disk"), (None, "held, 1 of 1")])
async def test_a_durable_promise(autojump_clock: trio.testing.MockClock, user_id: str | None, where: str) -> None:
    """An event on disk survives a loss of power, its fate says so, and both still hold when it is bound to a user."""
    async with opened(seconds=1.0) as (runtime, _):
        receipt = await emit(runtime, user_id)
        assert (receipt.stage, receipt.promise) == (Stage.ACCEPTED, Promise.NOTHING)
        await receipt.reached(Stage.STORED if user_id else Stage.BUFFERED)
        fate = runtime.explain(receipt)
        assert (receipt.promise, fate.promise) == (Promise.POWER, Promise.POWER)
        assert where in str(fate)
        if user_id is None:
            await runtime.bind("t", "alice")
            assert receipt.promise is Promise.POWER
            assert "safe on disk" in str(runtime.explain(receipt))


async def test_what_is_delivered_from_memory(autojump_clock: trio.testing.MockClock) -> None:
    """Under that policy events go on in trouble and survive nothing, those before them are as safe as they were, and
    all are safe within seconds of its end."""
    async with opened("volatile") as (runtime, journal):
        safe, held_safe = await emit(runtime), await emit(runtime, None, "held")
        await trio.sleep(1)
        late = await fill_up(journal, runtime)
        volatile, held = await emit(runtime), await emit(runtime, None, "held")
        assert [one.stage for one in (late, volatile, held)] == [Stage.STORED, Stage.STORED, Stage.BUFFERED]
        promises = [one.promise for one in (safe, held_safe, late, volatile, held)]
        assert promises == [Promise.POWER] * 2 + [Promise.NOTHING] * 3
        assert "nothing is stored since" in str(runtime.explain(volatile))
        assert "nothing is stored since" not in str(runtime.explain(safe))
        journal.heal()
        await trio.sleep(3)
        assert {one.promise for one in (safe, held_safe, late, volatile, held)} == {Promise.POWER}
        assert str(runtime.explain(volatile)).count("safe on disk") == 1


async def test_what_was_bound_in_trouble(autojump_clock: trio.testing.MockClock) -> None:
    """Held events that are bound while nothing is stored are safe again when all is."""
    async with opened("volatile") as (runtime, journal):
        await fill_up(journal, runtime)
        held = await emit(runtime, None, "held")
        await runtime.bind("held", "bob")
        assert (held.stage, held.promise) == (Stage.STORED, Promise.NOTHING)
        journal.heal()
        await trio.sleep(3)
        assert held.promise is Promise.POWER


# --- operators --------------------------------------------------------------------


async def test_a_fate_says_why_nothing_happens(autojump_clock: trio.testing.MockClock) -> None:
    """An event that waits for a full disk says that, and since when; afterwards it says nothing of it."""
    async with opened() as (runtime, journal):
        waiting = await fill_up(journal, runtime)
        assert waiting.stage is Stage.ACCEPTED
        steps = runtime.explain(waiting).steps
        assert steps[-2] == "queued for the store"
        assert steps[-1].startswith("nothing is stored since ")
        assert steps[-1].endswith(": the simulated disk is full")
        journal.heal()
        await trio.sleep(2)
        assert "since" not in str(runtime.explain(waiting))


async def test_trouble_is_logged_at_its_beginning_and_its_end(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """However long trouble lasts and however often a batch is tried, the log says once that it began, why, and once
    that it is over."""
    with caplog.at_level(logging.WARNING, "actors"):
        async with opened() as (runtime, journal):
            for _ in range(2):
                await fill_up(journal, runtime)
                await trio.sleep(60)
                journal.heal()
                await trio.sleep(5)
    told = [record.getMessage() for record in caplog.records if "store" in record.getMessage()]
    begins = "the store is in trouble: the simulated disk is full."
    assert [text.startswith(begins) for text in told] == [True, False] * 2, told
    assert [text.startswith("the store stores again, after 6") for text in told] == [False, True] * 2


async def test_a_probe_is_told() -> None:
    """While nothing can be stored ``/healthz`` is 503 and says why; before and after it is 200."""
    journal = SimJournal(Disk(), 0.0)
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served(store=LocalStore(journal)) as server:
        assert await ask(server, request) == (200, "ok\n")
        journal.full = True
        server.runtime.thread("t").emit_nowait("step", {}, user_id="alice")
        while server.runtime.tree.store.trouble is None:  # noqa: ASYNC110 - nobody rings
            await trio.sleep(0.01)
        assert await ask(server, request) == (503, "nothing can be stored: the simulated disk is full\n")
        journal.heal()
        while server.runtime.tree.store.trouble is not None:  # noqa: ASYNC110 - the same
            await trio.sleep(0.01)
        assert await ask(server, request) == (200, "ok\n")


# --- refusal ----------------------------------------------------------------------


async def test_emitters_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    """Under the policy of refusal emit and bind raise in trouble, nothing of it is in the books, and both go on after
    it."""
    async with opened("refuse") as (runtime, journal):
        before = await fill_up(journal, runtime)
        for thread_id in ("t", "new"):
            with pytest.raises(StoreUnavailable, match="nothing can be stored: the simulated disk is full"):
                await emit(runtime, thread_id=thread_id)
        with pytest.raises(StoreUnavailable, match="nothing can be stored"):
            await runtime.bind("u", "alice")
        assert runtime.audit().total.queued == 1
        journal.heal()
        await before.reached(Stage.STORED)
        await trio.sleep(2)
        await (await emit(runtime)).reached(Stage.STORED)
        await runtime.bind("u", "alice")


async def run_into_trouble(runtime: actors.Runtime, journal: SimJournal, text: str) -> None:
    """Run an agent of which the disk fills up meanwhile."""
    async with runtime.thread("t").run("writer") as run:
        await trio.sleep(1)
        await fill_up(journal, runtime, "u")
        if text:
            run.delta(text)
        await run.emit("note", {})


@pytest.mark.parametrize("text", ["", "a word that is refused"])
async def test_a_run_ends_in_trouble(autojump_clock: trio.testing.MockClock, text: str) -> None:
    """The last event of a run is taken even where all others are refused, text that had gathered among them, because
    nobody would emit it again."""
    async with opened("refuse") as (runtime, journal):
        await runtime.bind("t", "alice")
        with pytest.raises(StoreUnavailable):
            await run_into_trouble(runtime, journal, text)
        journal.heal()
        await trio.sleep(3)
        excerpt = await runtime.read("t")
        assert [event.type for event in excerpt.events] == ["agent_started", "agent_failed"]
        assert not len(state_of(runtime.tree.store).runs)


async def test_what_waited_for_room_is_dropped(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that waits behind a store without room, when that begins to refuse, is dropped, and says why."""
    monkeypatch.setattr("actors.stores.batches._WAITING_BYTES", 1)
    async with opened("refuse", seconds=5.0) as (runtime, journal):
        await runtime.bind("t", "alice")
        journal.full = True
        emitted = [runtime.thread("t").emit_nowait("step", {}, user_id="alice") for _ in range(4)]
        await trio.sleep(4)
        assert [one.stage for one in emitted] == [Stage.ACCEPTED] * 4
        await trio.sleep(4)
        assert [(one.stage, one.cause) for one in emitted[1:]] == [(Stage.DROPPED, Cause.TROUBLE)] * 3
        assert "the store could not store, and took nothing meanwhile" in str(runtime.explain(emitted[-1]))
        assert [letter.cause for letter in runtime.tree.accounts.dead_letters] == [Cause.TROUBLE] * 3
        journal.heal()
        await emitted[0].reached(Stage.STORED)


async def test_a_change_of_owner_that_waited_for_room(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bind that waits behind a store without room, when that begins to refuse, is refused, and changes nothing."""
    monkeypatch.setattr("actors.stores.batches._WAITING_BYTES", 1)
    async with opened("refuse", seconds=5.0) as (runtime, journal):
        await runtime.bind("t", "alice")
        journal.full = True
        runtime.thread("t").emit_nowait("step", {}, user_id="alice")
        with trio.fail_after(10), pytest.raises(StoreUnavailable, match="nothing can be stored"):
            await runtime.bind("u", "alice")
        assert runtime.owner("u") is None
        journal.heal()


async def test_a_full_runtime_goes_on_from_memory(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the policy of live delivery an event that waits for room waits on, because memory has its end, too; after
    the trouble everything is placed in its order."""
    monkeypatch.setattr("actors.stores.batches._WAITING_BYTES", 1_000)
    async with opened("volatile", seconds=0.5) as (runtime, journal):
        await runtime.bind("t", "alice")
        journal.full = True
        emitted = [runtime.thread("t").emit_nowait("step", {}, user_id="alice") for _ in range(20)]
        await trio.sleep(10)
        assert 0 < bounds_of(runtime.tree.store, "alice").head < 20
        assert emitted[-1].stage is Stage.ACCEPTED
        journal.heal()
        for receipt in emitted:
            await receipt.reached(Stage.STORED)
        await trio.sleep(5)
        assert [one.offset for one in emitted] == list(range(1, 21))
        assert {one.promise for one in emitted} == {Promise.POWER}


def test_stores_say_what_they_promise() -> None:
    """A store over a disk that survives power promises that, before it is open, and one in memory nothing."""
    stores: list[Store] = [LocalStore(SimJournal(Disk())), actors.MemoryStore()]
    assert [store.promise for store in stores] == [Promise.POWER, Promise.NOTHING]
    assert [store.trouble for store in stores] == [None, None]
