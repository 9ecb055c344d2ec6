"""A thread whose store has to be waited for, and may not answer: what is said of its events stays true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest
import trio
import trio.testing

import actors
from actors import Cause, Stage
from actors.delivery.accounts import Balance
from actors.environment import Environment
from actors.errors import StoreUnavailable
from actors.kernel.signals import Reply
from actors.stores.store import Append, Binding, Placement
from actors.threads.actor import ThreadActor
from actors.threads.messages import Bind
from tests.stores.waiting import WaitingStore
from tests.support.crashing import crash
from tests.support.served import served

LIMITS = actors.Limits()


class Unsteady(WaitingStore):
    """Carries out what it is asked for, and loses so many of its answers."""

    def __init__(self, limits: actors.Limits = LIMITS) -> None:
        super().__init__(limits, Environment())
        self.losses: dict[Literal["append", "bind"], int] = {"append": 0, "bind": 0}
        self.lost = trio.Event()

    async def append(self, appends: Sequence[Append], now: float) -> Sequence[Placement | Exception]:
        answers = await super().append(appends, now)
        self._lose("append")
        return answers

    async def bind(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        binding = await super().bind(thread_id, user_id, now, take=take)
        self._lose("bind")
        return binding

    def _lose(self, call: Literal["append", "bind"]) -> None:
        if self.losses[call]:
            self.losses[call] -= 1
            self.lost.set()
            raise StoreUnavailable("the line went dead")


def crash_on(patch: pytest.MonkeyPatch, store: Unsteady, times: int) -> None:
    """Once an answer was lost, the store breaks, and then the actor, which has the same event in hand again."""
    handle, left = ThreadActor.handle, [times]

    def broken() -> None:
        if store.lost.is_set() and left[0] == times:
            left[0] -= 1
            raise RuntimeError("a bug in the store")

    def crash(self: ThreadActor, message: Any) -> bool | None:
        if 0 < left[0] < times:
            left[0] -= 1
            raise RuntimeError("a bug in the actor")
        return handle(self, message)

    store.interfere = broken
    patch.setattr(ThreadActor, "handle", crash)


async def test_a_bind_whose_answer_was_lost(autojump_clock: trio.testing.MockClock) -> None:
    """The events of a bind are in the books and the receipts though its answer was lost; so is the notice before
    them."""
    store = Unsteady(actors.Limits(unbound_events=2))
    async with actors.open_runtime(store=store, limits=actors.Limits(unbound_events=2)) as runtime:
        receipts = [await runtime.thread("t1").emit("step", {}) for _ in range(3)]
        await receipts[-1].reached(Stage.BUFFERED)
        store.losses["bind"] = 2
        await runtime.bind("t1", "alice")
        receipts.append(await runtime.thread("t1").emit("step", {}))
        await receipts[-1].reached(Stage.STORED)
        assert [receipt.offset for receipt in receipts] == [None, 2, 3, 4]
        assert runtime.audit().users == {"alice": Balance(accepted=4, retained=4)}
        assert runtime.audit().balanced


async def test_an_owner_whom_an_event_named_and_whose_answer_was_lost(autojump_clock: trio.testing.MockClock) -> None:
    """The same for the bind that comes with an event; naming the owner again and again changes nothing more."""
    store = Unsteady()
    async with actors.open_runtime(store=store) as runtime:
        receipts = [await runtime.thread("t1").emit("step", {})]
        store.losses["bind"] = 1
        receipts += [await runtime.thread("t1").emit("step", {}, user_id="alice") for _ in range(3)]
        await receipts[-1].reached(Stage.STORED)
        assert [receipt.offset for receipt in receipts] == [1, 2, 3, 4]
        assert runtime.audit().users == {"alice": Balance(accepted=4, retained=4)}


async def test_an_answer_that_comes_after_its_users_quarantine(autojump_clock: trio.testing.MockClock) -> None:
    """What was placed for a user who is out of service by the time the store answers is booked in the epoch that has
    ended, though the books had nothing of it, and dropped for that."""
    store = Unsteady()
    async with actors.open_runtime(store=store, limits=actors.Limits(restarts=0)) as runtime:
        receipt = await runtime.thread("t1").emit("step", {})
        await receipt.reached(Stage.BUFFERED)
        store.losses["bind"] = 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.bind, "t1", "alice")
            await store.lost.wait()
            runtime.tree.users.mailbox("alice").tell(crash())
            await trio.testing.wait_all_tasks_blocked()
            assert runtime.tree.users.quarantined("alice") is not None
        assert receipt.cause is Cause.QUARANTINED
        runtime.release("users/alice")
        later = await runtime.thread("t1").emit("step", {})
        await later.reached(Stage.STORED)
        assert later.offset == 1
        assert runtime.audit().users == {"alice": Balance(accepted=2, retained=1, dropped=1)}


async def test_what_a_lost_answer_had_to_shed(autojump_clock: trio.testing.MockClock) -> None:
    """The events shed for one whose answer was lost are dropped, and no others are."""
    limits = actors.Limits(unbound_events=2, unbound_total_threads=1)
    store = Unsteady(limits)
    async with actors.open_runtime(store=store, limits=limits) as runtime:
        receipts = [await runtime.thread("t1").emit("step", {}) for _ in range(2)]
        await receipts[-1].reached(Stage.BUFFERED)
        store.losses["append"] = 3
        receipts += [await runtime.thread("t1").emit("step", {}) for _ in range(2)]
        await receipts[-1].reached(Stage.BUFFERED)
        assert [receipt.cause for receipt in receipts] == [Cause.UNBOUND_OVERFLOW] * 2 + [None] * 2
        store.losses["append"] = 1
        other = await runtime.thread("t2").emit("step", {})
        await other.reached(Stage.BUFFERED)
        assert [receipt.cause for receipt in receipts] == [Cause.UNBOUND_OVERFLOW] * 4
        assert runtime.audit().total == Balance(accepted=5, held=1, dropped=4)


async def test_an_event_that_may_be_placed_is_not_dropped_by_a_crash(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that the store took without an answer is asked about again, however its thread crashes meanwhile."""
    store = Unsteady()
    async with actors.open_runtime(store=store) as runtime:
        await runtime.bind("t1", "alice")
        store.losses["append"] = 1
        crash_on(monkeypatch, store, 3)
        receipts = [runtime.thread("t1").emit_nowait("step", {}) for _ in range(3)]
        await receipts[-1].reached(Stage.STORED)
        assert [(receipt.seq, receipt.offset) for receipt in receipts] == [(1, 1), (2, 2), (3, 3)]
        assert len(runtime.failures) == 3
        assert runtime.audit().total == Balance(accepted=3, retained=3)


async def test_an_event_in_doubt(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event whose thread is taken out of service before the store has answered is neither stored nor dropped, for
    nobody knows; whoever waits is told so, and so is who asks."""
    store, limits = Unsteady(), actors.Limits(restarts=0)
    async with actors.open_runtime(store=store, limits=limits) as runtime:
        await runtime.bind("t1", "alice")
        store.losses["append"] = 1
        crash_on(monkeypatch, store, 1)
        receipt = await runtime.thread("t1").emit("step", {})
        with pytest.raises(StoreUnavailable, match="expected the store to say whether it took it"):
            await receipt.reached(Stage.STORED)
        assert receipt.stage is Stage.ACCEPTED
        assert "given to the store, which did not say whether it took it" in str(runtime.explain(receipt))
        assert runtime.audit().total == Balance(accepted=1, queued=1)


async def test_what_a_quarantined_thread_held_is_dropped_though_its_answer_was_lost(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event of nobody is not in doubt: whether the store held it or not, the quarantine let go of it."""
    store, limits = Unsteady(), actors.Limits(restarts=0)
    async with actors.open_runtime(store=store, limits=limits) as runtime:
        store.losses["append"] = 1
        crash_on(monkeypatch, store, 1)
        receipt = await runtime.thread("t1").emit("step", {})
        with pytest.raises(actors.Dropped):
            await receipt.reached(Stage.STORED)
        assert receipt.cause is Cause.QUARANTINED
        assert runtime.audit().total == Balance(accepted=1, dropped=1)
        runtime.release("threads/t1")
        after = await runtime.thread("t1").emit("step", {})
        await after.reached(Stage.BUFFERED)
        assert (after.seq, after.stage) == (2, Stage.BUFFERED)


async def test_a_change_of_owner_that_crashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bind is answered though the actor crashed behind it, because it is redelivered."""
    async with actors.open_runtime() as runtime:
        note = ThreadActor._note_bind

        def crash(self: ThreadActor, binding: Binding, now: float) -> None:
            monkeypatch.setattr(ThreadActor, "_note_bind", note)
            raise RuntimeError("a bug")

        waiting = await runtime.thread("t1").emit("step", {})
        monkeypatch.setattr(ThreadActor, "_note_bind", crash)
        await runtime.bind("t1", "alice")
        assert len(runtime.failures) == 1
        assert (waiting.stage, waiting.offset) == (Stage.STORED, 1)


async def test_a_change_of_owner_that_always_crashes() -> None:
    """Where it cannot be noted, whoever changes an owner is not told that nothing happened; it is noted when the thread
    is back in service."""
    async with actors.open_runtime(limits=actors.Limits(restarts=0)) as runtime:
        waiting = await runtime.thread("t1").emit("step", {})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ThreadActor, "_note_bind", lambda *_: 1 // 0)
            with pytest.raises(actors.Quarantined, match="it is not known whether the owner was changed"):
                await runtime.bind("t1", "alice")
        assert runtime.owner("t1") == "alice"
        runtime.release("threads/t1")
        assert (waiting.stage, waiting.offset) == (Stage.STORED, 1)


async def test_what_is_done_is_not_done_again(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of owner that was answered is not repeated when the actor crashes behind it: nobody sees a thread that
    is another's by now."""
    store = Unsteady()
    asked: list[str | None] = []
    bind = WaitingStore.bind

    async def noting(self: WaitingStore, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        asked.append(user_id)
        return await bind(self, thread_id, user_id, now, take=take)

    def broken() -> None:
        store.interfere = lambda: None
        raise RuntimeError("a bug in the store")

    async with actors.open_runtime(store=store) as runtime:
        await runtime.bind("t1", "carol")
        monkeypatch.setattr(WaitingStore, "bind", noting)
        store.interfere = broken
        replies: list[Reply[Binding]] = [Reply(), Reply()]
        for user_id, reply in zip(("alice", "bob"), replies, strict=True):
            runtime.tree.threads.mailbox("t1").tell(Bind("rebind", user_id, reply))
        receipt = await runtime.thread("t1").emit("step", {})
        await receipt.reached(Stage.STORED)
        assert [(await reply.wait()).user_id for reply in replies] == asked == ["alice", "bob"]
        assert len(runtime.failures) == 1
        assert receipt.position is not None
        assert receipt.position.user_id == "bob"


async def test_time_goes_on_while_the_store_is_silent(autojump_clock: trio.testing.MockClock) -> None:
    """An event is as old as the store's having taken it: what waited out an outage is held as long as any other."""
    store = Unsteady()

    def silent() -> None:
        if trio.current_time() < begin + 2 * LIMITS.unbound_seconds:
            raise StoreUnavailable("the line is dead")

    async with actors.open_runtime(store=store) as runtime:
        begin = trio.current_time()
        store.interfere = silent
        receipt = await runtime.thread("t1").emit("step", {})
        await receipt.reached(Stage.BUFFERED)
        await trio.sleep(LIMITS.unbound_seconds - 5)
        assert receipt.stage is Stage.BUFFERED


async def test_a_bind_repeated_after_its_user_was_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    """Naming an owner again who has gone since, with all he had, books nothing that never was."""
    limits = actors.Limits(unbound_events=1)
    async with actors.open_runtime(limits=limits) as runtime:
        for _ in range(2):
            await runtime.thread("t1").emit("step", {})
        await runtime.bind("t1", "alice")
        await trio.sleep(limits.retained_seconds + limits.session_seconds + 5 * limits.retire_seconds)
        assert runtime.audit().users == {}
        before = runtime.audit().total
        await runtime.bind("t1", "alice")
        assert runtime.audit().total == before
        receipt = await runtime.thread("t1").emit("step", {}, user_id="alice")
        assert receipt.offset == 3
        assert runtime.audit().users == {"alice": Balance(accepted=1, retained=1)}
        assert {letter.cause for letter in runtime.dead_letters} == {Cause.UNBOUND_OVERFLOW, Cause.RETENTION}


@pytest.mark.parametrize("others", [None, "bob"])
async def test_a_message_that_meets_a_change_of_owner(others: str | None) -> None:
    """A user's message that was on its way when the thread was taken from him does not give it back to him."""
    store = WaitingStore()
    async with served(store=store) as server, server.peer() as peer:
        await peer.attach("alice")
        await server.runtime.bind("t1", "alice")
        async with trio.open_nursery() as nursery:
            ahead = await server.runtime.thread("t1").emit("step", {})
            if others is None:
                nursery.start_soon(server.runtime.unbind, "t1")
            else:
                nursery.start_soon(server.runtime.rebind, "t1", others)
            await peer.say({"op": "send", "id": "c1", "thread_id": "t1", "payload": {}})
            reply = await peer.next_op("reply")
        assert reply["error"]["name"] == "unknown_thread"
        assert server.runtime.owner("t1") == others
        assert ahead.offset == 1
