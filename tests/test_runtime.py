"""The runtime from an emitter's side: receipts that are true, owners that are respected, books that balance."""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

import actors
from actors import Balance, Cause, Stage
from actors.environment import Environment
from actors.errors import StoreError
from actors.kernel.mailbox import Mailbox
from actors.stores.memory import MemoryStore
from actors.stores.store import Act, Answered, Append, Bind
from actors.testing.journal import Fault
from tests.stores.held import FullStore
from tests.stores.waiting import WaitingStore
from tests.support.crashing import crash
from tests.support.stores import bounds_of, state_of, timed_environment

LIMITS = actors.Limits()


class FailingStore(MemoryStore):
    """A memory store whose appends can be made to crash."""

    fail: Callable[[Append], bool] = staticmethod(lambda _: False)

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        if isinstance(act, Append) and self.fail(act):
            raise ZeroDivisionError("a bug in the store")
        super().submit(act, answered)


# --- emitting -------------------------------------------------------------------


async def test_unbound_events_are_buffered_and_follow_in_order() -> None:
    """Events of a thread without an owner are BUFFERED, and STORED in their order when it is bound."""
    async with actors.open_runtime() as runtime:
        thread = runtime.thread("t1")
        receipts = [await thread.emit("step", {"n": n}) for n in range(3)]
        assert [receipt.stage for receipt in receipts] == [Stage.BUFFERED] * 3
        await runtime.bind("t1", "alice")
        receipts.append(await thread.emit("step", {"n": 3}))
        assert [receipt.stage for receipt in receipts] == [Stage.STORED] * 4
        assert [receipt.seq for receipt in receipts] == [1, 2, 3, 4]
        assert [receipt.offset for receipt in receipts] == [1, 2, 3, 4]


async def test_user_id_binds_a_thread_that_nobody_owns() -> None:
    """``emit(user_id=…)`` makes that user the owner, and what waited goes first."""
    async with actors.open_runtime() as runtime:
        waiting = await runtime.thread("t1").emit("step", {})
        routed = await runtime.thread("t1").emit("step", {}, user_id="alice")
        assert runtime.owner("t1") == "alice"
        assert (waiting.offset, routed.offset) == (1, 2)


async def test_user_id_of_another_owner_raises() -> None:
    """``emit(user_id=…)`` for a thread of somebody else raises in the emitter, and nothing is accepted."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        with pytest.raises(actors.NotTheOwner, match="alice"):
            await runtime.thread("t1").emit("step", {}, user_id="bob")
        assert runtime.audit().total.accepted == 0


async def test_unencodable_raises_in_the_emitter_before_a_number_is_taken() -> None:
    """What JSON cannot carry raises in ``emit``; the next event has the next number."""
    async with actors.open_runtime() as runtime:
        thread = runtime.thread("t1")
        with pytest.raises(actors.Unencodable, match=r"payload\.when\[0\]"):
            await thread.emit("step", {"when": [object()]})
        assert (await thread.emit("step", {})).seq == 1


async def test_given_id_gives_the_first_receipt() -> None:
    """The same event id with the same content is the same event: one placement, one receipt."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        thread = runtime.thread("t1")
        first = await thread.emit("step", {"n": 1}, event_id="mine")
        again = await thread.emit("step", {"n": 1}, event_id="mine")
        assert again is first
        audit = runtime.audit()
        assert (audit.total.accepted, audit.total.retained, audit.total.deduplicated) == (2, 1, 1)


async def test_given_id_with_other_content_raises() -> None:
    """The same event id with other content raises, and is not accepted."""
    async with actors.open_runtime() as runtime:
        thread = runtime.thread("t1")
        await thread.emit("step", {"n": 1}, event_id="mine")
        with pytest.raises(actors.IdempotencyConflict, match="mine"):
            await thread.emit("step", {"n": 2}, event_id="mine")
        assert runtime.audit().total.accepted == 1


async def test_repeated_id_of_a_buffered_event_follows_it() -> None:
    """A repetition of an event that is still held gives the receipt that later becomes STORED."""
    async with actors.open_runtime() as runtime:
        first = await runtime.thread("t1").emit("step", {}, event_id="mine")
        again = await runtime.thread("t1").emit("step", {}, event_id="mine")
        await runtime.bind("t1", "alice")
        assert first.stage is again.stage is Stage.STORED


@pytest.mark.parametrize("payload", [attrs.make_class("A", ["x"])(1), b'{"x": 1}', {"x": 1}])
async def test_payloads_of_every_kind(payload: Any) -> None:
    """Payloads may be objects or ready JSON bytes."""
    async with actors.open_runtime() as runtime:
        assert (await runtime.thread("t1").emit("step", payload)).stage is Stage.BUFFERED


async def test_emit_from_another_thread() -> None:
    """Code in another operating system thread emits through ``emit_from_thread`` and gets the same receipt."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        receipt = await trio.to_thread.run_sync(
            lambda: runtime.emit_from_thread("t1", "step", {"from": threading.get_ident()}, event_id="mine")
        )
        assert receipt.stage is Stage.STORED


async def test_a_direct_call_from_another_thread_is_refused() -> None:
    """Calling the runtime from a foreign thread raises, and accepts nothing."""
    async with actors.open_runtime() as runtime:
        thread = runtime.thread("t1")

        def call() -> None:
            with pytest.raises(actors.ForeignThread):
                thread.emit_nowait("step", {})

        await trio.to_thread.run_sync(call)
        assert runtime.audit().total.accepted == 0


async def test_closed_runtime_refuses() -> None:
    """After its block has ended the runtime raises RuntimeClosed, and what was never written is DROPPED(shutdown)."""
    async with actors.open_runtime() as runtime:
        held = await runtime.thread("t1").emit("step", {})
        stored = await runtime.thread("t2").emit("step", {}, user_id="alice")
    for receipt in (held, stored):
        assert (receipt.stage, receipt.cause) == (Stage.DROPPED, Cause.SHUTDOWN)
        with pytest.raises(actors.Dropped, match="shutdown"):
            await receipt.reached(Stage.ACKED)
    with pytest.raises(actors.RuntimeClosed):
        await runtime.thread("t1").emit("step", {})
    assert runtime.audit().total.dropped == 2


async def test_hosts_exception_comes_out_bare() -> None:
    """An exception in the body of ``open_runtime`` comes out as it is, not in a group."""
    with pytest.raises(ZeroDivisionError, match="mine"):
        async with actors.open_runtime():
            raise ZeroDivisionError("mine")


async def test_exception_comes_out_bare_under_a_cancellation() -> None:
    """Also when the scope around the runtime is cancelled, what the body raises comes out as it is."""

    async def host(scope: trio.CancelScope) -> None:
        async with actors.open_runtime():
            scope.cancel()
            raise ZeroDivisionError("mine")

    with trio.CancelScope() as scope, pytest.raises(ZeroDivisionError, match="mine"):
        await host(scope)


async def test_ctrl_c_comes_out_bare() -> None:
    """KeyboardInterrupt is itself for who catches it, though it strikes a listener in nurseries of its own."""

    async def serve(runtime: actors.Runtime) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.serve)
            nursery.start_soon(interrupt)

    async def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with actors.open_runtime() as runtime:
            await serve(runtime)


# --- owners ---------------------------------------------------------------------


async def test_binding() -> None:
    """bind is idempotent and refuses a thread of another; rebind takes it; unbind leaves it to nobody."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        await runtime.bind("t1", "alice")
        with pytest.raises(actors.NotTheOwner):
            await runtime.bind("t1", "bob")
        assert runtime.owner("t1") == "alice"
        await runtime.rebind("t1", "bob")
        assert runtime.owner("t1") == "bob"
        await runtime.unbind("t1")
        assert runtime.owner("t1") is None
        with pytest.raises(actors.Unencodable, match="user_id"):
            await runtime.bind("t1", "")


async def test_nothing_accepted_for_one_owner_reaches_the_next() -> None:
    """What was accepted while alice owned the thread is in her log only, in order; bob's begins after the rebind."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        mine = await runtime.thread("t1").emit("step", {})
        await runtime.rebind("t1", "bob")
        his = await runtime.thread("t1").emit("step", {})
        assert mine.position is not None
        assert his.position is not None
        assert (mine.position.user_id, his.position.user_id) == ("alice", "bob")
        assert (mine.seq, his.seq) == (1, 2)


async def test_stale_generation_is_dropped_not_delivered(autojump_clock: trio.testing.MockClock) -> None:
    """An event queued for one owner, while another node gives the thread away, is DROPPED(owner_changed)."""
    store = WaitingStore()
    async with actors.open_runtime(store=store) as runtime:
        await runtime.bind("t1", "alice")

        await (await runtime.thread("t1").emit("step", {})).reached(Stage.STORED)
        state_of(store).bind(Bind("t1", "bob", True), 0.0)
        receipt = await runtime.thread("t1").emit("step", {})
        with pytest.raises(actors.Dropped):
            await receipt.reached(Stage.STORED)
        assert receipt.cause is Cause.OWNER_CHANGED
        assert bounds_of(store, "bob").head == 0
        after = await runtime.thread("t1").emit("step", {})
        await after.reached(Stage.STORED)
        assert after.position is not None
        assert (after.position.user_id, after.seq) == ("bob", 2)


# --- a store that has to be waited for ---------------------------------------------


async def test_events_gather_while_the_store_works(autojump_clock: trio.testing.MockClock) -> None:
    """A store that must wait commits what gathered together; receipts go from ACCEPTED to STORED."""
    store = WaitingStore()
    async with actors.open_runtime(store=store) as runtime:
        await runtime.bind("t1", "alice")
        receipts = [await runtime.thread("t1").emit("step", {"n": n}) for n in range(10)]
        assert receipts[-1].stage is Stage.ACCEPTED
        assert runtime.audit().total.queued > 0
        await receipts[-1].reached(Stage.STORED)
        assert [receipt.offset for receipt in receipts] == list(range(1, 11))
        assert len([size for size in store.journal.batches if size]) == 2, "one while the other gathered"


@pytest.mark.parametrize("fault", ["full", "unwritten", "unanswered"])
async def test_a_failed_commit_is_tried_again(fault: Fault, autojump_clock: trio.testing.MockClock) -> None:
    """When it is not known whether events were written, or they were not, they are placed all the same, and once."""
    store = WaitingStore()
    async with actors.open_runtime(store=store) as runtime:
        await runtime.bind("t1", "alice")
        store.journal.faults.extend([fault, fault])
        receipt = await runtime.thread("t1").emit("step", {})
        await receipt.reached(Stage.STORED)
        assert bounds_of(store, "alice").head == 1
        assert store.journal.failed[0] == fault
        assert runtime.audit().total.retained == 1


async def test_conflict_found_late_is_a_cause(autojump_clock: trio.testing.MockClock) -> None:
    """With a store that must be waited for, a conflicting id is found after acceptance: DROPPED(conflict)."""
    async with actors.open_runtime(store=WaitingStore()) as runtime:
        await runtime.thread("t1").emit("step", {"n": 1}, event_id="mine")
        second = await runtime.thread("t1").emit("step", {"n": 2}, event_id="mine")
        with pytest.raises(actors.Dropped):
            await second.reached(Stage.STORED)
        assert second.cause is Cause.CONFLICT


async def test_wrong_owner_found_late_is_a_cause(autojump_clock: trio.testing.MockClock) -> None:
    """With a store that must be waited for, a wrong owner is found after acceptance: DROPPED(not_the_owner)."""
    async with actors.open_runtime(store=WaitingStore()) as runtime:
        await runtime.bind("t1", "alice")
        receipt = await runtime.thread("t1").emit("step", {}, user_id="bob")
        with pytest.raises(actors.Dropped):
            await receipt.reached(Stage.STORED)
        assert receipt.cause is Cause.NOT_THE_OWNER


async def test_back_pressure_is_at_the_emitter(autojump_clock: trio.testing.MockClock) -> None:
    """A store that has no room, and a mailbox that is full for that, raise in ``emit_nowait`` and make ``emit`` wait;
    nothing is lost and order is kept."""
    limits = actors.Limits(mailbox_messages=4)
    store = FullStore()
    async with actors.open_runtime(store=store, limits=limits) as runtime:
        await runtime.bind("t1", "alice")
        thread = runtime.thread("t1")
        receipts = [thread.emit_nowait("step", {"n": n}) for n in range(5)]
        with pytest.raises(trio.WouldBlock):
            thread.emit_nowait("step", {"n": 5})
        with trio.move_on_after(60):
            while True:
                receipts.append(await thread.emit("step", {}))
        assert len(receipts) == 1 + 2 * limits.mailbox_messages, "those in the actor's hands, and a queue behind them"
        store.gate.set()
        receipts += [await thread.emit("step", {}) for _ in range(11)]
        await receipts[-1].reached(Stage.STORED)
        assert [receipt.seq for receipt in receipts] == list(range(1, 21))


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when the task in it is about to take its ``step``-th step."""

    def __init__(self, step: int) -> None:
        self.scope = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self._left -= 1
            if self._left == 0:
                self.scope.cancel()


@pytest.mark.parametrize("store_class", [MemoryStore, WaitingStore])
async def test_cancelled_at_any_step(
    store_class: type[MemoryStore | WaitingStore], autojump_clock: trio.testing.MockClock
) -> None:
    """Whenever an emitter is cancelled: ``emit`` returned means accepted, raised means never delivered."""
    step, finished = 0, False
    while not finished:
        step += 1
        finished = await _cancelled_run(store_class, step)
    assert step > 10


async def _cancelled_run(store_class: type[MemoryStore | WaitingStore], step: int) -> bool:
    limits = actors.Limits(mailbox_messages=2)
    returned: list[actors.Receipt] = []
    attempts = 0

    async def emit_all(instrument: CancelAtStep, runtime: actors.Runtime) -> None:
        nonlocal attempts
        instrument.task = trio.lowlevel.current_task()
        with instrument.scope:
            await runtime.thread("t1").emit("first", {})
            await runtime.bind("t1", "alice")
            for n in range(8):
                attempts += 1
                returned.append(await runtime.thread("t1").emit("step", {"n": n}, event_id=f"e{n}"))
            await returned[-1].reached(Stage.STORED)
            await runtime.rebind("t1", "bob")

    instrument = CancelAtStep(step)
    trio.lowlevel.add_instrument(instrument)
    try:
        async with actors.open_runtime(limits=limits, store=store_class()) as runtime:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(emit_all, instrument, runtime)
            await trio.sleep(1)
            given = [receipt for receipt in returned if receipt.event_id.startswith("e")]
            assert all(receipt.stage >= Stage.BUFFERED for receipt in given)
            audit = runtime.audit()
            assert audit.balanced
            assert audit.total.queued == 0
            assert audit.total.accepted in {len(returned), len(returned) + 1}, "the first event, and the others"
            assert len(returned) in {attempts, attempts - 1}
    finally:
        trio.lowlevel.remove_instrument(instrument)
    return not instrument.scope.cancelled_caught


async def test_a_repetition_of_what_was_shed_is_shed(autojump_clock: trio.testing.MockClock) -> None:
    """A given id that comes again after its hold has expired is the same event: dropped, with the same cause."""
    async with actors.open_runtime(environment=timed_environment()) as runtime:
        thread = runtime.thread("t1")
        await thread.emit("step", {}, event_id="mine")
        await trio.sleep(LIMITS.unbound_seconds + 2)
        again = await thread.emit("step", {}, event_id="mine")
        assert again.cause is Cause.UNBOUND_EXPIRED
        await runtime.bind("t1", "alice")
        assert (await thread.emit("step", {})).offset == 2, "after the notice of what expired"


async def test_repetitions_in_the_queue_follow_the_first(autojump_clock: trio.testing.MockClock) -> None:
    """Copies of one event that are queued together have one placement, and all their receipts say so."""
    async with actors.open_runtime(store=WaitingStore()) as runtime:
        await runtime.bind("t1", "alice")
        receipts = [runtime.thread("t1").emit_nowait("step", {}, event_id="mine") for _ in range(3)]
        await receipts[-1].reached(Stage.STORED)
        assert {receipt.offset for receipt in receipts} == {1}
        assert runtime.audit().total.deduplicated == 2


async def test_a_failed_commit_of_a_bind_is_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    """When the store cannot say whether a bind is written, it is tried again; nothing crashes, nothing is lost."""
    store = WaitingStore()
    store.journal.faults.extend(["unanswered", "unwritten"])
    async with actors.open_runtime(store=store) as runtime:
        receipts = [runtime.thread("t1").emit_nowait("step", {"n": n}) for n in range(3)]
        await runtime.bind("t1", "alice")
        assert [receipt.offset for receipt in receipts] == [1, 2, 3]
        assert len(runtime.failures) == 0


# --- crashes ------------------------------------------------------------------------


async def test_crash_in_a_burst_costs_one_event(autojump_clock: trio.testing.MockClock) -> None:
    """An actor that crashes in the middle of a burst loses the event in its hand, said so, and no other."""
    store = FailingStore()
    store.fail = lambda append: b'"bad"' in append.body
    async with actors.open_runtime(store=store) as runtime:
        await runtime.bind("t1", "alice")
        kinds = ["ok", "ok", "bad", "ok", "ok"]
        receipts = [await runtime.thread("t1").emit(kind, {}) for kind in kinds]
        await receipts[-1].reached(Stage.STORED)
        assert [receipt.cause for receipt in receipts] == [None, None, Cause.CRASHED, None, None]
        assert [receipt.offset for receipt in receipts] == [1, 2, None, 3, 4]
        assert [(failure.path, failure.handling) for failure in runtime.failures] == [("threads/t1", "Emission")]
        assert "a bug in the store" in runtime.failures[0].traceback
        assert [letter.cause for letter in runtime.dead_letters] == [Cause.CRASHED]
        assert "crashed" in str(runtime.explain(receipts[2].event_id))


async def test_crash_loop_is_quarantined_and_nobody_else_notices(autojump_clock: trio.testing.MockClock) -> None:
    """A thread that crashes beyond its budget is taken out of service; others go on, and it can be released."""
    store = FailingStore()
    async with actors.open_runtime(store=store) as runtime:
        held = await runtime.thread("t1").emit("step", {})
        store.fail = lambda append: append.thread_id == "t1"
        crashed = [await runtime.thread("t1").emit("step", {}) for _ in range(6)]
        other = await runtime.thread("t2").emit("step", {}, user_id="bob")
        await trio.sleep(10)
        with pytest.raises(actors.Quarantined, match="threads/t1"):
            await runtime.thread("t1").emit("step", {})
        assert {receipt.cause for receipt in crashed} == {Cause.CRASHED, Cause.QUARANTINED}
        assert held.stage is Stage.BUFFERED
        assert other.stage is Stage.STORED
        assert len(runtime.failures) == LIMITS.restarts + 1
        store.fail = lambda _: False
        runtime.release("threads/t1")
        assert (await runtime.thread("t1").emit("step", {}, user_id="alice")).offset == 2
        assert held.offset == 1
        with pytest.raises(ValueError, match="expected the path of a quarantined actor, got 'threads/t1'"):
            runtime.release("threads/t1")


async def test_quarantined_user_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A user's actor that crashes beyond its budget leaves the user's log as it was, and everybody else alone."""
    async with actors.open_runtime() as runtime:
        receipt = await runtime.thread("t1").emit("step", {}, user_id="alice")
        other = await runtime.thread("t2").emit("step", {}, user_id="bob")
        assert receipt.position is not None
        for _ in range(LIMITS.restarts + 1):
            runtime.tree.users.mailbox("alice").tell(crash())
            await trio.sleep(0.5)
        assert runtime.tree.users.quarantined("alice") is not None
        assert {receipt.stage, other.stage} == {Stage.STORED}
        assert bounds_of(runtime.tree.store, "alice").epoch == receipt.position.epoch
        assert (await runtime.thread("t1").emit("step", {})).offset == 2
        assert {failure.path for failure in runtime.failures} == {"users/alice"}


# --- bounds, warnings, explanations ---------------------------------------------------


async def test_held_events_expire_with_their_cause(autojump_clock: trio.testing.MockClock) -> None:
    """A hold lasts a minute; then its events are DROPPED(unbound_expired), and the dead letters say which."""
    async with actors.open_runtime(environment=timed_environment()) as runtime:
        receipt = await runtime.thread("t1").emit("step", {})
        await trio.sleep(LIMITS.unbound_seconds - 2)
        assert receipt.stage is Stage.BUFFERED
        await trio.sleep(4)
        assert receipt.cause is Cause.UNBOUND_EXPIRED
        letter = runtime.dead_letters[-1]
        assert (letter.thread_id, letter.first, letter.last, letter.count) == ("t1", 1, 1, 1)


async def test_overflowing_hold_sheds_the_oldest() -> None:
    """A hold keeps its newest 256 events; the rest are DROPPED(unbound_overflow), joined in one dead letter."""
    async with actors.open_runtime() as runtime:
        receipts = [await runtime.thread("t1").emit("step", {}) for _ in range(LIMITS.unbound_events + 44)]
        assert [receipt.cause for receipt in receipts[:44]] == [Cause.UNBOUND_OVERFLOW] * 44
        assert {receipt.stage for receipt in receipts[44:]} == {Stage.BUFFERED}
        assert [(letter.first, letter.last) for letter in runtime.dead_letters] == [(1, 44)]
        await runtime.bind("t1", "alice")
        assert receipts[44].offset == 2, "after the notice of what was shed"


async def test_retention_settles_by_range(autojump_clock: trio.testing.MockClock) -> None:
    """What leaves the log unwritten is DROPPED(retention): by number at once, by age after five minutes."""
    async with actors.open_runtime(environment=timed_environment()) as runtime:
        await runtime.bind("t1", "alice")
        receipts = [runtime.thread("t1").emit_nowait("step", {}) for _ in range(LIMITS.retained_events + 10)]
        assert [receipt.cause for receipt in receipts[:10]] == [Cause.RETENTION] * 10
        assert receipts[10].stage is Stage.STORED
        await trio.sleep(LIMITS.retained_seconds + 2)
        assert {receipt.cause for receipt in receipts} == {Cause.RETENTION}
        assert runtime.audit().users["alice"].dropped == LIMITS.retained_events + 10
        assert len(runtime.dead_letters) == 1


async def test_one_warning_per_thread_and_period(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Events that nobody can receive are told once per thread and period, saying why."""
    caplog.set_level(logging.INFO, "actors")
    async with actors.open_runtime() as runtime:
        for _ in range(3):
            await runtime.thread("t1").emit("step", {})
            await runtime.thread("t2").emit("step", {}, user_id="alice")
        assert len(caplog.records) == 2
        assert "t1 has no owner" in caplog.text
        assert "alice has no device" in caplog.text
        await trio.sleep(LIMITS.warning_seconds + LIMITS.sweep_seconds)
        await runtime.thread("t1").emit("step", {})
        *left_out, last = caplog.messages[2:]
        assert all(text.startswith("2 more events of ") for text in left_out)
        assert "t1 has no owner" in last


async def test_explain_reads_as_an_answer() -> None:
    """``explain`` follows an event by id or receipt, and says *forgotten* rather than guess."""
    async with actors.open_runtime() as runtime:
        receipt = await runtime.thread("t1").emit("step", {})
        assert "thread t1, seq 1 → held, 1 of 1" in str(runtime.explain(receipt.event_id))
        await runtime.bind("t1", "alice")
        text = str(runtime.explain(receipt))
        assert "owner alice → offset 1 → stored, not written to any device yet" in text
        assert "no device of alice is here, or was lately" in text
        unknown = runtime.explain("e_nothing")
        assert not unknown.known
        assert "forgotten" in str(unknown)


async def test_explain_forgets_beyond_its_memory() -> None:
    """Of more events than are remembered the oldest are forgotten; those that are held are no exception."""
    async with actors.open_runtime(limits=actors.Limits(explained_events=10)) as runtime:
        receipts = [await runtime.thread("t1").emit("step", {}) for _ in range(15)]
        assert [runtime.explain(receipt.event_id).known for receipt in receipts] == [False] * 5 + [True] * 10
        assert runtime.explain(receipts[-1].event_id).receipt == receipts[-1]


async def test_explain_one_of_several_events_of_an_id() -> None:
    """An id that names events of several threads is explained for the thread that is named, and for none unnamed."""
    async with actors.open_runtime() as runtime:
        alices = await runtime.thread("t1").emit("step", {}, event_id="evt_1", user_id="alice")
        assert runtime.explain("evt_1").receipt is alices
        bobs = await runtime.thread("t2").emit("step", {}, event_id="evt_1", user_id="bob")
        fate = runtime.explain("evt_1")
        assert (fate.known, fate.threads) == (False, ("t1", "t2"))
        assert str(fate) == "evt_1: 2 events have this id, in the threads t1 and t2; name the thread of one"
        assert "alice" in str(runtime.explain("evt_1", "t1"))
        assert "bob" in str(runtime.explain("evt_1", thread_id="t2"))
        assert (runtime.explain("evt_1", "t1").receipt, runtime.explain("evt_1", "t2").receipt) == (alices, bobs)
        assert str(runtime.explain("evt_1", "t3")) == "evt_1: forgotten, or never accepted in thread t3"
        assert await runtime.thread("t2").emit("step", {}, event_id="evt_1") is bobs
        assert str(runtime.explain(bobs)) == str(runtime.explain("evt_1", "t2"))


async def test_explain_an_id_made_here_and_given_again() -> None:
    """An id that the runtime made, and that an emitter gives in another thread, names two events."""
    async with actors.open_runtime() as runtime:
        made = await runtime.thread("t1").emit("step", {}, user_id="alice")
        given = await runtime.thread("t2").emit("step", {}, user_id="bob", event_id=made.event_id)
        assert runtime.explain(made.event_id).threads == ("t1", "t2")
        assert runtime.explain(made.event_id, "t1").receipt == made
        assert runtime.explain(made.event_id, "t2").receipt is given
        assert not runtime.explain(made.event_id, "t3").known


async def test_explain_an_id_of_very_many_threads() -> None:
    """Of the threads of one id, which may be all there are, the newest are named."""
    async with actors.open_runtime() as runtime:
        for number in range(100):
            await runtime.thread(f"t{number}").emit("welcome", {}, event_id="welcome", user_id="alice")
        assert runtime.explain("welcome").threads == tuple(f"t{number}" for number in range(84, 100))
        assert "seq 1" in str(runtime.explain("welcome", "t3"))


async def test_what_people_read_is_on_the_wall_clock(autojump_clock: trio.testing.MockClock) -> None:
    """When something happened is told in seconds since 1970, whatever the runtime's own clock began with."""
    begun = trio.current_time()
    environment = Environment(wall_clock=lambda: 1_764_211_000.0 + trio.current_time() - begun)
    async with actors.open_runtime(environment=environment) as runtime:
        receipt = await runtime.thread("t1").emit("step", {})
        assert receipt.accepted_at == pytest.approx(1_764_211_000)
        await trio.sleep(LIMITS.unbound_seconds + 5)
        (letter,) = runtime.dead_letters
        assert letter.cause is Cause.UNBOUND_EXPIRED
        assert letter.at == pytest.approx(1_764_211_000 + LIMITS.unbound_seconds, abs=2)


async def test_explain_follows_a_queued_event(autojump_clock: trio.testing.MockClock) -> None:
    """An event that was queued when its emit returned is found again, wherever it has come to."""
    async with actors.open_runtime(store=WaitingStore()) as runtime:
        await runtime.bind("t1", "alice")
        receipt = await runtime.thread("t1").emit("step", {})
        assert "queued for the store" in str(runtime.explain(receipt.event_id))
        await receipt.reached(Stage.STORED)
        assert "offset 1" in str(runtime.explain(receipt.event_id))


async def test_users_who_have_gone_leave_a_sum(autojump_clock: trio.testing.MockClock) -> None:
    """Of users who are gone with all their events, a row of the books is left for all of them together, whose the
    threads are, and where each log ended. What comes for one of them later goes on from there."""
    async with actors.open_runtime(environment=timed_environment()) as runtime:
        threads = [runtime.thread(f"t{number}") for number in range(20)]
        receipts = [await thread.emit("step", {}, user_id=f"u{n}") for n, thread in enumerate(threads)]
        await trio.sleep(LIMITS.retained_seconds + 10)
        assert len(runtime.audit().users) == 20
        await trio.sleep(LIMITS.session_seconds + 3 * LIMITS.retire_seconds)
        assert runtime.audit().users == {}
        assert runtime.audit().former == runtime.audit().total == Balance(accepted=20, dropped=20)
        assert {receipt.cause for receipt in receipts} == {Cause.RETENTION}
        assert "left the log" in str(runtime.explain(receipts[3]))
        assert not state_of(runtime.tree.store).logs
        assert runtime.owner("t3") == "u3"
        later = await threads[3].emit("step", {})
        assert (later.seq, later.offset) == (2, 2)
        assert later.position is not None
        assert receipts[3].position is not None
        assert later.position.epoch == receipts[3].position.epoch
        assert (receipts[3].stage, receipts[3].cause) == (Stage.DROPPED, Cause.RETENTION)
        assert runtime.audit().users == {"u3": Balance(accepted=1, retained=1)}
        assert runtime.audit().former == Balance(accepted=20, dropped=20)
        assert runtime.audit().balanced


async def test_idle_threads_are_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    """Threads that nobody speaks of leave nothing behind once their holds have expired; their order goes on."""
    async with actors.open_runtime(environment=timed_environment()) as runtime:
        await runtime.bind("kept", "alice")
        for n in range(100):
            await runtime.thread(f"idle-{n}").emit("step", {})
        await runtime.thread("kept").emit("step", {})
        await trio.sleep(2 * LIMITS.retire_seconds + 2)
        gc.collect()
        mailboxes = [thing for thing in gc.get_objects() if isinstance(thing, Mailbox)]
        assert not [mailbox.key for mailbox in mailboxes if mailbox.key.startswith("idle-")]
        assert runtime.tree.accounts.holds == {}
        assert (await runtime.thread("kept").emit("step", {})).seq == 2


async def test_a_crash_loses_no_confirmation() -> None:
    """A confirmation that a user's actor had in hand when it crashed is in the books all the same."""
    async with actors.open_runtime() as runtime:
        receipt = await runtime.thread("t1").emit("step", {}, user_id="alice")
        ledger = runtime.tree.accounts.users["alice"].ledger

        runtime.tree.users.mailbox("alice").tell(crash(ledger))
        assert receipt.stage is Stage.ACKED
        await trio.testing.wait_all_tasks_blocked()
        assert len(runtime.failures) == 1


async def test_a_store_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    """``open_runtime`` raises the store's own error, bare, when there is nothing to begin with."""
    with pytest.raises(StoreError, match="expected the folder"):
        async with actors.open_runtime(store=actors.SQLiteStore(tmp_path / "nowhere" / "events.db")):
            pytest.fail("expected no runtime")


@pytest.mark.parametrize("reading", [1, 2])
def test_a_signal_in_the_middle_of_an_emit(reading: int) -> None:
    """An emit that a KeyboardInterrupt comes into has either happened, whole, and returned its receipt, or it raised
    and has not happened."""
    left = [0]

    def clock() -> float:
        left[0] -= 1
        if not left[0]:
            signal.raise_signal(signal.SIGINT)
        return time.time()

    async def main() -> None:
        async with actors.open_runtime(environment=Environment(wall_clock=clock)) as runtime:
            await runtime.bind("t1", "alice")
            receipts: list[actors.Receipt] = []

            async def emit() -> None:
                receipts.append(runtime.thread("t1").emit_nowait("step", {}))
                await trio.sleep_forever()

            left[0] = reading
            with pytest.raises(KeyboardInterrupt):
                await emit()
            assert [receipt.stage for receipt in receipts] == ([] if reading == 1 else [Stage.STORED])
            assert runtime.audit().total == Balance(accepted=len(receipts), retained=len(receipts))

    trio.run(main)
