"""A thread whose store has to be waited for, and may not answer: what is said of its events stays true."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors import Cause, Stage
from actors.delivery.balance import Balance
from actors.errors import StoreUnavailable
from actors.kernel.signals import Reply
from actors.stores.memory import MemoryStore
from actors.stores.store import Act, Answered, Bind, Binding
from actors.testing.journal import Fault
from actors.threads import actor as thread_actor
from actors.threads import dead_letters
from actors.threads.messages import OwnerRequest
from tests.stores.held import FullStore, HeldStore, OneByOneStore
from tests.stores.waiting import WaitingStore
from tests.support.crashing import crash
from tests.support.served import served
from tests.support.stores import timed_environment

LIMITS = actors.Limits()
FAULTS: tuple[Fault, ...] = ("unanswered", "unwritten", "full")

faults = pytest.mark.parametrize("fault", FAULTS)


def rebind(thread_id: str, user_id: str | None, reply: Reply[Binding]) -> OwnerRequest:
    """A change of owner, as the runtime asks for it."""
    return OwnerRequest(thread_id, user_id, True, act="rebind", reply=reply)


def crash_in(patch: pytest.MonkeyPatch, name: str, times: int) -> None:
    """Have a step of the notes that a thread makes crash so many times, for its actor and for who notes in its
    place."""
    step: Callable[..., Any] = getattr(thread_actor, name)
    left = [times]

    def crashing(*arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("a bug in the actor")
        return step(*arguments)

    patch.setattr(thread_actor, name, crashing)
    patch.setattr(dead_letters, name, crashing)


def crash_once(patch: pytest.MonkeyPatch, store: MemoryStore, name: str) -> None:
    """Have the next call of a store's coroutine crash."""
    step: Callable[[], Any] = getattr(store, name)

    async def crashing() -> None:
        patch.setattr(store, name, step)
        raise RuntimeError("a bug in the store")

    patch.setattr(store, name, crashing)


# --- a journal that fails -----------------------------------------------------------


@faults
async def test_a_bind_whose_commit_failed(fault: Fault, autojump_clock: trio.testing.MockClock) -> None:
    """The events of a bind are in the books and the receipts though its commit failed first; so is the notice before
    them."""
    store = WaitingStore()
    async with actors.open_runtime(store=store, limits=actors.Limits(unbound_events=2)) as runtime:
        receipts = [await runtime.thread("t1").emit("step", {}) for _ in range(3)]
        await receipts[-1].reached(Stage.BUFFERED)
        store.journal.faults.extend([fault, fault])
        await runtime.bind("t1", "alice")
        receipts.append(await runtime.thread("t1").emit("step", {}))
        await receipts[-1].reached(Stage.STORED)
        assert [receipt.offset for receipt in receipts] == [None, 2, 3, 4]
        assert runtime.audit().users == {"alice": Balance(accepted=4, retained=4)}
        assert runtime.audit().balanced


@faults
async def test_an_owner_whom_an_event_named_in_a_commit_that_failed(
    fault: Fault, autojump_clock: trio.testing.MockClock
) -> None:
    """The same for the bind that comes with an event; naming the owner again and again changes nothing more."""
    store = WaitingStore()
    async with actors.open_runtime(store=store) as runtime:
        receipts = [await runtime.thread("t1").emit("step", {})]
        await receipts[-1].reached(Stage.BUFFERED)
        store.journal.faults.append(fault)
        receipts += [await runtime.thread("t1").emit("step", {}, user_id="alice") for _ in range(3)]
        await receipts[-1].reached(Stage.STORED)
        assert [receipt.offset for receipt in receipts] == [1, 2, 3, 4]
        assert runtime.audit().users == {"alice": Balance(accepted=4, retained=4)}


@faults
async def test_what_a_failed_commit_had_to_shed(fault: Fault, autojump_clock: trio.testing.MockClock) -> None:
    """The events shed for one whose commit failed first are dropped, and no others are."""
    limits = actors.Limits(unbound_events=2, unbound_total_threads=1)
    store = WaitingStore()
    async with actors.open_runtime(store=store, limits=limits) as runtime:
        receipts = [await runtime.thread("t1").emit("step", {}) for _ in range(2)]
        await receipts[-1].reached(Stage.BUFFERED)
        store.journal.faults.extend([fault] * 3)
        receipts += [await runtime.thread("t1").emit("step", {}) for _ in range(2)]
        await receipts[-1].reached(Stage.BUFFERED)
        assert [receipt.cause for receipt in receipts] == [Cause.UNBOUND_OVERFLOW] * 2 + [None] * 2
        store.journal.faults.append(fault)
        other = await runtime.thread("t2").emit("step", {})
        await other.reached(Stage.BUFFERED)
        assert [receipt.cause for receipt in receipts] == [Cause.UNBOUND_OVERFLOW] * 4
        assert runtime.audit().total == Balance(accepted=5, held=1, dropped=4)


async def test_time_goes_on_while_the_disk_is_full(autojump_clock: trio.testing.MockClock) -> None:
    """An event is as old as the store's having taken it: what waited out an outage longer than events are held is told
    to be dropped for its age, and what came in its last moment is held as long as any other."""
    store = WaitingStore()
    async with actors.open_runtime(store=store, environment=timed_environment()) as runtime:
        store.journal.full = True
        old = await runtime.thread("t1").emit("step", {})
        await trio.sleep(LIMITS.unbound_seconds + 5)
        assert old.stage is Stage.ACCEPTED
        young = await runtime.thread("t2").emit("step", {})
        store.journal.full = False
        await young.reached(Stage.BUFFERED)
        await trio.sleep(LIMITS.unbound_seconds - 5)
        assert (old.stage, old.cause) == (Stage.DROPPED, Cause.UNBOUND_EXPIRED)
        assert young.stage is Stage.BUFFERED
        assert runtime.audit().total == Balance(accepted=2, held=1, dropped=1)


# --- answers that nobody can note ---------------------------------------------------


async def test_an_answer_that_crashes_its_thread(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that the store has placed is in the books, however its thread crashes on the answer."""
    async with actors.open_runtime(store=WaitingStore()) as runtime:
        await runtime.bind("t1", "alice")
        crash_in(monkeypatch, "note_placement", 3)
        receipts = [runtime.thread("t1").emit_nowait("step", {}) for _ in range(3)]
        await receipts[-1].reached(Stage.STORED)
        assert [(receipt.seq, receipt.offset) for receipt in receipts] == [(1, 1), (2, 2), (3, 3)]
        assert len(runtime.failures) == 3
        assert runtime.audit().total == Balance(accepted=3, retained=3)


async def test_an_answer_that_comes_to_a_quarantined_thread(autojump_clock: trio.testing.MockClock) -> None:
    """What the store has is placed, and noted, though its thread is out of service by the time it answers: events,
    changes of owner, and refusals."""
    store = HeldStore()
    async with actors.open_runtime(store=store, limits=actors.Limits(restarts=0)) as runtime:
        await runtime.bind("t2", "bob")
        held = await runtime.thread("t1").emit("step", {}, event_id="mine")
        await store.journal.asked.wait()
        reply: Reply[Binding] = Reply()
        runtime.tree.threads.mailbox("t1").tell(rebind("t1", "alice", reply))
        placed = await runtime.thread("t1").emit("step", {})
        refused = await runtime.thread("t1").emit("other", {}, event_id="mine")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thread_actor.ThreadActor, "handle", lambda *_: 1 // 0)
            lost = await runtime.thread("t1").emit("step", {})
            await trio.testing.wait_all_tasks_blocked()
        assert runtime.tree.threads.quarantined("t1") is not None
        store.journal.released.set()
        assert (await reply.wait()).user_id == "alice"
        await placed.reached(Stage.STORED)
        assert [(receipt.seq, receipt.offset) for receipt in (held, placed)] == [(1, 1), (2, 2)]
        assert [receipt.cause for receipt in (refused, lost)] == [Cause.CONFLICT, Cause.CRASHED]
        assert runtime.audit().total == Balance(accepted=4, retained=2, dropped=2)
        assert not runtime.tree.thread_context.binds


async def test_an_answer_that_comes_after_its_users_quarantine(autojump_clock: trio.testing.MockClock) -> None:
    """What is placed for a user who is out of service by the time the store answers is in his log, and there when he is
    back."""
    store = HeldStore()
    async with actors.open_runtime(store=store, limits=actors.Limits(restarts=0)) as runtime:
        receipt = await runtime.thread("t1").emit("step", {})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.bind, "t1", "alice")
            await store.journal.asked.wait()
            runtime.tree.users.mailbox("alice").tell(crash())
            await trio.testing.wait_all_tasks_blocked()
            assert runtime.tree.users.quarantined("alice") is not None
            store.journal.released.set()
        assert (receipt.stage, receipt.offset) == (Stage.STORED, 1)
        runtime.release("users/alice")
        later = await runtime.thread("t1").emit("step", {})
        await later.reached(Stage.STORED)
        assert later.offset == 2
        assert runtime.audit().users == {"alice": Balance(accepted=2, retained=2)}


async def test_an_event_in_doubt(autojump_clock: trio.testing.MockClock) -> None:
    """An event of which a store that ends does not know whether it has it is neither stored nor dropped, for nobody
    knows; whoever waits is told so, and so is who asks."""
    store, limits = WaitingStore(), actors.Limits(store_seconds=0.1)
    async with actors.open_runtime(store=store, limits=limits) as runtime:
        await runtime.bind("t1", "alice")
        store.journal.full = True
        receipt = await runtime.thread("t1").emit("step", {})
    with pytest.raises(StoreUnavailable, match="expected the store to say whether it took it"):
        await receipt.reached(Stage.STORED)
    assert receipt.stage is Stage.ACCEPTED
    assert "given to the store, which did not say whether it took it" in str(runtime.explain(receipt))
    assert runtime.audit().total == Balance(accepted=1, queued=1)


async def test_an_answer_that_nobody_can_note(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event is in doubt, too, where its thread goes out of service over the answer, and who notes in its place
    crashes as well."""
    async with actors.open_runtime(store=WaitingStore(), limits=actors.Limits(restarts=0)) as runtime:
        await runtime.bind("t1", "alice")
        crash_in(monkeypatch, "note_placement", 2)
        receipt = await runtime.thread("t1").emit("step", {})
        with pytest.raises(StoreUnavailable, match="expected the store to say whether it took it"):
            await receipt.reached(Stage.STORED)
        assert runtime.audit().total == Balance(accepted=1, queued=1)


# --- a quarantine --------------------------------------------------------------------


@pytest.mark.parametrize("store_class", [lambda: None, WaitingStore])
async def test_what_a_quarantined_thread_held_waits_for_its_owner(
    store_class: Callable[[], WaitingStore | None], autojump_clock: trio.testing.MockClock
) -> None:
    """A quarantine ends a thread's mailbox, and not its hold: released, and bound, it has its events in their order."""
    async with actors.open_runtime(store=store_class(), limits=actors.Limits(restarts=0)) as runtime:
        held = await runtime.thread("t1").emit("step", {})
        await held.reached(Stage.BUFFERED)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thread_actor.ThreadActor, "handle", lambda *_: 1 // 0)
            lost = await runtime.thread("t1").emit("step", {})
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(actors.Quarantined):
            await runtime.thread("t1").emit("step", {})
        assert (held.stage, lost.cause) == (Stage.BUFFERED, Cause.CRASHED)
        runtime.release("threads/t1")
        after = await runtime.thread("t1").emit("step", {})
        await runtime.bind("t1", "alice")
        assert [(receipt.seq, receipt.offset) for receipt in (held, after)] == [(1, 1), (2, 2)]
        assert runtime.audit().total == Balance(accepted=3, retained=2, dropped=1)


async def test_what_waits_for_room_is_not_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room that comes back between two messages of a thread is the earlier one's."""
    store = MemoryStore()
    async with actors.open_runtime(store=store) as runtime:
        await runtime.bind("t1", "alice")
        submit, full = store.submit, [True]

        def submit_once_full(act: Any, answered: Any) -> None:
            if full.pop() if full else False:
                raise trio.WouldBlock
            submit(act, answered)

        monkeypatch.setattr(store, "submit", submit_once_full)
        receipts = [runtime.thread("t1").emit_nowait("step", {"n": n}) for n in range(3)]
        await receipts[-1].reached(Stage.STORED)
        await receipts[0].reached(Stage.STORED)
        assert [receipt.offset for receipt in receipts] == [1, 2, 3]


async def test_what_waits_for_room_when_its_thread_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a thread has not submitted is lost with it, and told to be; nobody is in doubt about it."""

    async def broken() -> None:
        raise RuntimeError("a bug in the store")

    store = FullStore()
    async with actors.open_runtime(store=store, limits=actors.Limits(restarts=0)) as runtime:
        monkeypatch.setattr(store, "room", broken)
        receipts = [runtime.thread("t1").emit_nowait("step", {}) for _ in range(2)]
        for receipt in receipts:
            with pytest.raises(actors.Dropped):
                await receipt.reached(Stage.BUFFERED)
        assert {receipt.cause for receipt in receipts} == {Cause.QUARANTINED}
        assert runtime.audit().total == Balance(accepted=2, dropped=2)


async def test_the_end_of_a_runtime_whose_store_was_slow(autojump_clock: trio.testing.MockClock) -> None:
    """Events that waited for room, and were answered by then, are noted after those before them: none of them is left
    in doubt, or out of the books."""
    store = OneByOneStore()
    async with actors.open_runtime(store=store) as runtime:
        receipts = [runtime.thread("t1").emit_nowait("step", {}) for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        store.answer()
        store.vacate()
        await trio.testing.wait_all_tasks_blocked()
        store.answer()
    assert {receipt.cause for receipt in receipts} == {Cause.SHUTDOWN}
    assert runtime.audit().total == Balance(accepted=3, dropped=3)
    assert [receipt.seq for receipt in receipts] == [1, 2, None]


async def test_a_crash_while_others_wait_for_room(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where the actor crashes meanwhile: its successor, which gets the events that it waited with before the
    answers to others, notes the answers in order."""
    store = OneByOneStore()
    async with actors.open_runtime(store=store) as runtime:
        receipts = [runtime.thread("t1").emit_nowait("step", {}) for _ in range(4)]
        await trio.testing.wait_all_tasks_blocked()
        store.answer()
        store.vacate()
        await trio.testing.wait_all_tasks_blocked()
        store.answer()
        crash_once(monkeypatch, store, "room")
        store.vacate()
        for receipt in receipts[2:]:
            await trio.testing.wait_all_tasks_blocked(1.0)
            store.answer()
            store.vacate()
            await receipt.reached(Stage.BUFFERED)
        assert [receipt.seq for receipt in receipts] == [1, 2, 3, 4]
        assert [failure.handling for failure in runtime.failures] == ["settle"]


# --- changes of owner ----------------------------------------------------------------


async def test_a_change_of_owner_that_crashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bind is answered though the actor crashed behind it, because its answer is noted again."""
    async with actors.open_runtime() as runtime:
        waiting = await runtime.thread("t1").emit("step", {})
        crash_in(monkeypatch, "note_owner", 1)
        await runtime.bind("t1", "alice")
        assert len(runtime.failures) == 1
        assert (waiting.stage, waiting.offset) == (Stage.STORED, 1)


async def test_a_change_of_owner_that_always_crashes(autojump_clock: trio.testing.MockClock) -> None:
    """Where it cannot be noted, whoever changes an owner is not told that nothing happened; bound again, when the
    thread is back in service, it is noted."""
    async with actors.open_runtime(limits=actors.Limits(restarts=0)) as runtime:
        waiting = await runtime.thread("t1").emit("step", {})
        with pytest.MonkeyPatch.context() as patch:
            crash_in(patch, "note_owner", 2)
            with pytest.raises(actors.Quarantined, match=r"the owner was changed, .* bind it again"):
                await runtime.bind("t1", "alice")
        assert (runtime.owner("t1"), waiting.stage) == ("alice", Stage.BUFFERED)
        runtime.release("threads/t1")
        await runtime.bind("t1", "alice")
        assert (waiting.stage, waiting.offset) == (Stage.STORED, 1)
        assert runtime.audit().total == Balance(accepted=1, retained=1)


class NotingStore(WaitingStore):
    """Notes for whom it is asked to bind."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str | None] = []

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        super().submit(act, answered)
        if isinstance(act, Bind):
            self.asked.append(act.user_id)


@pytest.mark.parametrize("crashes", range(4))
async def test_what_is_done_is_not_done_again(
    crashes: int, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of owner that the store has is not repeated when the actor crashes over its answer: nobody sees a thread
    that is another's by now, and no event is dropped for an owner of before."""
    store = NotingStore()
    async with actors.open_runtime(store=store, limits=actors.Limits(restarts=10)) as runtime:
        await runtime.bind("t1", "carol")
        crash_in(monkeypatch, "note_owner", crashes)
        replies: list[Reply[Binding]] = [Reply(), Reply()]
        receipts = []
        for user_id, reply in zip(("alice", "bob"), replies, strict=True):
            runtime.tree.threads.mailbox("t1").tell(rebind("t1", user_id, reply))
            receipts.append(await runtime.thread("t1").emit("step", {}))
            await trio.sleep(0.005)
        for receipt in receipts:
            await receipt.reached(Stage.STORED)
        assert [(await reply.wait()).user_id for reply in replies] == ["alice", "bob"]
        assert store.asked == ["carol", "alice", "bob"]
        assert len(runtime.failures) == crashes
        assert [receipt.position and receipt.position.user_id for receipt in receipts] == ["alice", "bob"]
        assert not runtime.tree.thread_context.binds


async def test_a_bind_repeated_after_its_user_was_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    """Naming an owner again who has gone since, with all he had, books nothing that never was."""
    limits = actors.Limits(unbound_events=1)
    async with actors.open_runtime(limits=limits, environment=timed_environment()) as runtime:
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
    async with served(store=WaitingStore()) as server, server.peer() as peer:
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


@pytest.mark.parametrize("crashing", ["note_placement", "note_owner"])
async def test_owners_of_whose_events_some_are_on_their_way(
    crashing: str, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the answers to a bind and the unbind behind it wait for a crashed actor, their user is not forgotten:
    what the bind has placed would count as left by an earlier life, and again when it is noted."""
    store = HeldStore()
    async with actors.open_runtime(store=store) as runtime, trio.open_nursery() as nursery:
        receipt = runtime.thread("t1").emit_nowait("step", {})
        nursery.start_soon(runtime.bind, "t1", "bob")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(runtime.unbind, "t1")
        await trio.testing.wait_all_tasks_blocked()
        crash_in(monkeypatch, crashing, 1)
        store.journal.released.set()
        while not runtime.failures:
            await trio.testing.wait_all_tasks_blocked()
        asked: list[bool] = []
        with monkeypatch.context() as patch:
            retiring = SimpleNamespace(retire=lambda forget: asked.append(forget("bob")))
            patch.setattr(runtime.tree, "registry", retiring)
            runtime.tree.pulse._retire()
        await receipt.reached(Stage.STORED)
        assert asked == [False]
        assert runtime.audit().users == {"bob": Balance(accepted=1, retained=1)}
