"""A device in the process: what it is handed, what counts of that, and how it ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

import actors
from actors import Busy, Limits, Quarantined, RuntimeClosed, Stage, Unencodable
from actors.connections.following import Following
from actors.events.delivered import Event
from actors.events.items import Active, Ask, AskClosed, CaughtUp, Gap, Inactive, Item, Reset
from actors.runtime import Runtime
from tests.connections.test_actor import Slow
from tests.stores.waiting import WaitingStore
from tests.support.crashing import crash
from tests.support.served import served
from tests.support.stores import state_of

pytestmark = pytest.mark.usefixtures("patience")


@pytest.fixture
async def patience() -> Any:
    """No test hangs for longer than this."""
    with trio.fail_after(60):
        yield


async def emit(runtime: Runtime, count: int = 1, thread_id: str = "t1", user_id: str = "alice") -> list[actors.Receipt]:
    """Numbered events in a thread of a user."""
    thread = runtime.thread(thread_id)
    return [await thread.emit("tick", {"n": n}, user_id=user_id) for n in range(count)]


async def take(followed: Following, count: int = 1) -> list[Item]:
    """The next items."""
    return [await anext(followed) for _ in range(count)]


async def offsets(followed: Following, count: int) -> list[int]:
    """The offsets of the next events, of which there is nothing but these."""
    items = await take(followed, count)
    assert all(isinstance(item, Event) for item in items), items
    return [item.offset for item in items if isinstance(item, Event)]


async def has_nothing(followed: Following) -> None:
    """Nothing comes until something happens."""
    came: list[Item] = []

    async def wait() -> None:
        came.append(await anext(followed))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert came == []


def label_of(followed: Following) -> str:
    return followed._follower.label


# --- what counts -------------------------------------------------------------------


async def test_written_when_handed_and_acked_when_the_loop_comes_back() -> None:
    """An event is STORED until it is handed out, WRITTEN while the consumer has it, and ACKED when it comes back."""
    async with actors.open_runtime() as runtime, runtime.follow("alice") as followed:
        assert await take(followed) == [CaughtUp(0)]
        one, other = await emit(runtime, 2)
        assert one.stage is Stage.STORED
        assert await offsets(followed, 1) == [1]
        await trio.testing.wait_all_tasks_blocked()
        assert (one.stage, other.stage) == (Stage.WRITTEN, Stage.STORED)
        assert await offsets(followed, 1) == [2]
        assert (one.stage, other.stage) == (Stage.ACKED, Stage.WRITTEN)
        await has_nothing(followed)
        assert other.stage is Stage.ACKED
        assert runtime.audit().balanced


async def test_left_with_an_event_in_hand() -> None:
    """What the consumer had in hand when it left its block is not acked, and another device is given it again."""
    async with actors.open_runtime() as runtime:
        async with runtime.follow("alice") as followed:
            (receipt,) = await emit(runtime)
            await take(followed, 2)
        assert [receipt.stage] == [Stage.WRITTEN]
        async with runtime.follow("alice", origin="unacked") as followed:
            assert await offsets(followed, 1) == [1]


@pytest.mark.parametrize("store", [None, lambda: WaitingStore(delay_seconds=0)])
async def test_a_story_without_a_seam(store: Callable[[], Any] | None) -> None:
    """What was read up to where the device begins, and what it is handed from there on, is every event once."""
    async with actors.open_runtime(store=store and store()) as runtime, trio.open_nursery() as nursery:
        emitted = trio.Event()

        async def emits() -> None:
            await emit(runtime, 200)
            emitted.set()

        nursery.start_soon(emits)
        await trio.lowlevel.checkpoint()
        async with runtime.follow("alice", "t1") as followed:
            epoch, at = followed.position
            await emitted.wait()
            before = [event.offset for event in (await runtime.read("t1")).events if event.offset <= at]
            behind = [item.offset async for item in _until(followed, 200) if isinstance(item, Event)]
            assert before + behind == list(range(1, 201))
            assert epoch == followed.taken[0]


async def _until(followed: Following, offset: int) -> Any:
    async for item in followed:
        yield item
        if isinstance(item, Event) and item.offset == offset:
            return


# --- where it begins ---------------------------------------------------------------


async def test_where_it_begins() -> None:
    """It begins behind the newest event, at the first that no device acked, or at the oldest, as it asks."""
    async with actors.open_runtime() as runtime:
        await emit(runtime, 3)
        async with runtime.follow("alice", origin="low") as followed:
            assert followed.position[1] == 0
            await take(followed, 2)
        for origin, expected in (("head", []), ("unacked", [2, 3]), ("low", [1, 2, 3])):
            async with runtime.follow("alice", origin=origin) as followed:  # type: ignore[arg-type]
                assert followed.position[1] == 3 - len(expected)
                items = await take(followed, 1 + len(expected))
            assert [item.offset for item in items] == [*expected, 3]  # type: ignore[union-attr]
            assert items[-1] == CaughtUp(3)


async def test_another_one_goes_on_where_it_left() -> None:
    """A device that begins after the cursor of another is handed what follows, and nothing twice."""
    async with actors.open_runtime() as runtime:
        async with runtime.follow("alice") as followed:
            await emit(runtime, 4)
            await take(followed, 4)
            assert followed.taken[1] == 2
            cursor = followed.taken
        async with runtime.follow("alice", after=cursor) as followed:
            assert followed.position == cursor
            assert await take(followed, 1) != []
            assert await offsets(followed, 1) == [4]


async def test_a_cursor_of_another_log() -> None:
    """A cursor in an epoch that the log does not know is answered by a reset, and all from the oldest."""
    async with actors.open_runtime() as runtime:
        await emit(runtime, 2)
        async with runtime.follow("alice", after=("another", 7)) as followed:
            epoch, offset = followed.position
            assert offset == 0
            assert await take(followed) == [Reset(epoch, 1)]
            assert await offsets(followed, 2) == [1, 2]
            assert await take(followed) == [CaughtUp(2)]


async def test_a_cursor_that_retention_has_overtaken() -> None:
    """Behind a cursor whose events are gone stands a gap, then what is there."""
    async with actors.open_runtime(limits=Limits(retained_events=2)) as runtime:
        async with runtime.follow("alice") as followed:
            cursor = followed.position
        await emit(runtime, 5)
        async with runtime.follow("alice", after=cursor) as followed:
            assert await take(followed) == [Gap(1, 3, "retention")]
            assert await offsets(followed, 2) == [4, 5]


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"user_id": ""}, Unencodable, "user_id: "),
        ({"user_id": None}, Unencodable, "user_id: "),
        ({"thread_id": 7}, Unencodable, "thread_id: "),
        ({"after": "e"}, TypeError, "after: expected a pair of an epoch and an offset, got 'e'"),
        ({"after": ("e",)}, TypeError, "after: "),
        ({"after": ("e", True)}, TypeError, "after: "),
        ({"after": ["e", 1]}, TypeError, "after: "),
        ({"after": ("e", -1)}, ValueError, "after: expected an offset from 0 on, got -1"),
        ({"origin": "tail"}, ValueError, "origin: "),
    ],
)
async def test_what_cannot_be_meant(wrong: dict[str, Any], error: type[Exception], text: str) -> None:
    """What no device can be is refused at the call, and none is left behind."""
    async with actors.open_runtime() as runtime:
        arguments = {"user_id": "alice", **wrong}
        with pytest.raises(error) as caught:
            async with runtime.follow(**arguments):
                raise AssertionError("not entered")
        assert str(caught.value).startswith(text)
        assert runtime.devices("alice") == 0


# --- what it is handed ---------------------------------------------------------------


async def test_runs_and_questions() -> None:
    """A device that comes in the middle of a run is told of it and of its question; both end for it, in the order of
    the log."""

    async def agent(run: actors.Run, message: actors.Message) -> dict[str, Any]:
        run.delta("well ")
        answer = await run.ask("approval", {"q": "sure?"}, timeout=math.inf)
        run.delta("done")
        return answer.payload

    async with actors.open_runtime(on_message=agent) as runtime, runtime.follow("alice") as early:
        sent = await runtime.thread("t1").send({"text": "hi"}, user_id="alice")
        items = await take(early, 5)
        assert [getattr(item, "type", type(item)) for item in items] == [
            CaughtUp, "user_message", "agent_started", "agent_delta", "approval",
        ]  # fmt: skip
        async with runtime.follow("alice") as late:
            caught_up, active, ask = await take(late, 3)
            assert caught_up == CaughtUp(3)
            assert isinstance(active, Active)
            assert (active.run_id, active.payload["message_id"], active.waiting) == (
                sent.run_id, sent.event_id, False,
            )  # fmt: skip
            assert isinstance(ask, Ask)
            assert ask.timeout_s is None
            assert runtime.tree.asks.answer(ask.id, {"ok": True}, "alice", "r1")
            for followed in (early, late):
                items = await take(followed, 3)
                assert items[0] == AskClosed(ask.id, "answered")
                assert [item.type for item in items if isinstance(item, Event)] == ["agent_delta", "agent_completed"]
                await has_nothing(followed)


async def test_a_run_of_a_thread_that_is_taken_away() -> None:
    """A run that is the user's no longer is told to be withdrawn."""
    async with actors.open_runtime() as runtime, runtime.follow("alice") as followed:
        await runtime.bind("t1", "alice")
        async with runtime.thread("t1").run("agent") as run:
            await take(followed, 2)
            await runtime.rebind("t1", "bob")
            assert await take(followed) == [Inactive(run.run_id, "withdrawn")]


async def test_one_thread() -> None:
    """Of other threads nothing is handed out, asked or acked; no receipt says that a device had it."""
    async with actors.open_runtime() as runtime, runtime.follow("alice", "t1") as followed:
        (before,) = await emit(runtime, 1, "t2")
        (mine,) = await emit(runtime, 1, "t1")
        (behind,) = await emit(runtime, 1, "t2")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask, runtime, "t2")
            nursery.start_soon(_ask, runtime, "t1")
            await trio.testing.wait_all_tasks_blocked()
            items = await take(followed, 3)
            assert isinstance(items[0], CaughtUp | Event)
            assert {item.thread_id for item in items if isinstance(item, Event | Ask)} == {"t1"}
            await has_nothing(followed)
            nursery.cancel_scope.cancel()
        assert [one.stage for one in (before, mine, behind)] == [Stage.STORED, Stage.ACKED, Stage.STORED]
        assert f"{label_of(followed)} follows thread t1 alone" in str(runtime.explain(before))
        assert f"{label_of(followed)} acked" in str(runtime.explain(mine))
        assert followed.taken[1] == 3
        assert runtime.audit().balanced


async def _ask(runtime: Runtime, thread_id: str) -> None:
    with pytest.raises(trio.Cancelled):
        await runtime.thread(thread_id).ask("approval", {}, timeout=math.inf)
    await trio.lowlevel.checkpoint_if_cancelled()


async def test_a_question_of_another_thread_was_not_shown() -> None:
    """A device that follows one thread does not count as one that showed the question of another."""
    async with actors.open_runtime() as runtime, runtime.follow("alice", "t1") as followed:
        await runtime.bind("t2", "alice")
        await take(followed)
        with pytest.raises(actors.Unanswered, match="no device of alice was there to see it"):
            await runtime.thread("t2").ask("approval", {}, timeout=0.001)


async def test_a_slow_consumer_is_told_of_a_gap() -> None:
    """What left the log before the consumer came for it is told as a gap, and was dropped; the rest is acked."""
    async with actors.open_runtime(limits=Limits(retained_events=3)) as runtime, runtime.follow("alice") as followed:
        await take(followed)
        receipts = await emit(runtime, 10)
        assert await take(followed) == [Gap(1, 7, "retention")]
        assert await offsets(followed, 3) == [8, 9, 10]
        assert await take(followed) == [CaughtUp(10)]
        assert [one.stage for one in receipts] == [Stage.DROPPED] * 7 + [Stage.ACKED] * 3
        assert runtime.audit().balanced


async def test_what_stands_behind_a_gap_may_leave_meanwhile() -> None:
    """An event that leaves the log while the consumer has the gap before it is handed out all the same, and its receipt
    says so: written, then confirmed by nobody."""
    async with actors.open_runtime(limits=Limits(retained_events=1)) as runtime, runtime.follow("alice") as followed:
        await take(followed)
        receipts = await emit(runtime, 3)
        assert await take(followed) == [Gap(1, 2, "retention")]
        receipts += await emit(runtime, 3)
        assert await offsets(followed, 1) == [3]
        assert await take(followed, 2) == [CaughtUp(3), Gap(4, 5, "retention")]
        assert await offsets(followed, 1) == [6]
        assert receipts[2].stage is Stage.UNCONFIRMED
        assert runtime.audit().balanced


async def test_left_with_a_gap_in_hand() -> None:
    """An event behind a gap that was never handed out was never written."""
    async with actors.open_runtime(limits=Limits(retained_events=1)) as runtime:
        async with runtime.follow("alice") as followed:
            await take(followed)
            receipts = await emit(runtime, 3)
            await take(followed)
        assert [receipts[-1].stage] == [Stage.STORED]
        await emit(runtime, 1)
        assert [receipts[-1].stage] == [Stage.DROPPED]
        assert runtime.audit().balanced


@pytest.mark.parametrize("handed", [0, 1, 2, 3])
async def test_another_epoch(handed: int) -> None:
    """A log that loses its last events goes on under another name for a consumer that had none of them, and anew for
    one that had: it gets a reset."""
    async with actors.open_runtime() as runtime, runtime.follow("alice", origin="low") as followed:
        await take(followed)
        await emit(runtime, 3)
        await take(followed, handed)
        before = followed.taken[0]
        bounds = state_of(runtime.tree.store).fork("alice", 2)
        await emit(runtime, 1)
        items: list[Item] = []
        while not items or items[-1] != CaughtUp(3):
            items += await take(followed)
        if handed == 3:
            assert items == [Reset(bounds.epoch, 1), *[item for item in items if isinstance(item, Event)], CaughtUp(3)]
            assert len(items) == 5
        else:
            assert [item.offset for item in items if isinstance(item, Event)] == list(range(handed + 1, 4))
            assert not any(isinstance(item, Reset) for item in items)
        await has_nothing(followed)
        assert followed.taken == (bounds.epoch, 3)
        assert bounds.epoch != before
        assert runtime.audit().balanced


async def test_many_questions_while_the_consumer_is_away() -> None:
    """A consumer that does not come is not owed more than what is open then."""
    async with actors.open_runtime(limits=Limits(asks_per_thread=200)) as runtime, runtime.follow("alice") as followed:
        await runtime.bind("t1", "alice")
        await take(followed)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as first:
                async with trio.open_nursery() as asking:
                    asking.start_soon(_ask, runtime, "t1")
                    (known,) = await take(followed)
                    for _ in range(150):
                        asking.start_soon(_ask, runtime, "t1")
                    await trio.testing.wait_all_tasks_blocked()
                    first.cancel()
            nursery.start_soon(_ask, runtime, "t1")
            await trio.testing.wait_all_tasks_blocked()
            assert len(followed._follower._current._told) <= 64
            items: list[Item] = []
            while not items or not isinstance(items[-1], AskClosed) or items[-1].id != known.id:  # type: ignore[union-attr]
                items += await take(followed)
            shown = {item.id for item in items if isinstance(item, Ask)}
            closed = {item.id for item in items if isinstance(item, AskClosed)}
            assert len(shown - closed) == 1
            await has_nothing(followed)
            nursery.cancel_scope.cancel()


async def test_a_log_that_has_to_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer waits for the part of the log that the store has to bring; cancelled, it misses nothing of it."""
    async with actors.open_runtime() as runtime:
        await emit(runtime, 2)
        async with runtime.follow("alice", origin="low") as followed:
            presence = runtime.tree.registry.presence("alice")
            view = Slow(presence.view)
            presence.view = view
            followed._follower.subscription._log = view  # type: ignore[union-attr]
            await has_nothing(followed)
            view.loaded.set()
            assert await offsets(followed, 2) == [1, 2]


# --- cancellation, and what must not be -------------------------------------------------


async def test_cancelled_it_stays_the_next() -> None:
    """A consumer that is cancelled while it waits, or at once, misses nothing, and gets nothing twice."""
    async with actors.open_runtime() as runtime, runtime.follow("alice") as followed:
        came: list[int] = []
        for number in range(60):
            await emit(runtime)
            for _ in range(3):
                with trio.move_on_after(0.0 if number % 2 else 0.001):
                    item = await anext(followed)
                    if isinstance(item, Event):
                        came.append(item.offset)
        while len(came) < 60:
            item = await anext(followed)
            if isinstance(item, Event):
                came.append(item.offset)
        assert came == list(range(1, 61))


@pytest.mark.parametrize("steps", range(6))
async def test_cancelled_at_the_entry(steps: int) -> None:
    """Whenever the entry of the block is cancelled, no device is left behind."""
    async with actors.open_runtime(store=WaitingStore(delay_seconds=0)) as runtime:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def enters() -> None:
                    async with runtime.follow("alice"):
                        await trio.sleep_forever()

                nursery.start_soon(enters)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert runtime.devices("alice") == 0
        assert runtime.tree.followers._members == {}


async def test_one_consumer() -> None:
    """A second task that iterates over the same device is told so, and the first goes on."""
    async with actors.open_runtime() as runtime, runtime.follow("alice") as followed, trio.open_nursery() as nursery:
        await take(followed)
        nursery.start_soon(take, followed)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await take(followed)
        await emit(runtime)


async def test_an_exception_of_the_consumer() -> None:
    """An exception in the block comes out bare, and the device is gone."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ZeroDivisionError):
            await fails(runtime)
        assert runtime.devices("alice") == 0


async def fails(runtime: Runtime) -> None:
    async with runtime.follow("alice") as followed:
        async for _ in followed:
            raise ZeroDivisionError


async def test_acks_that_the_users_actor_has_no_room_for() -> None:
    """Acks wait while the user's actor is behind, and none is lost when the consumer is cancelled meanwhile."""
    async with actors.open_runtime(limits=Limits(mailbox_messages=1)) as runtime, runtime.follow("alice") as followed:
        receipts = await emit(runtime, 2)
        await take(followed, 2)
        mailbox = followed._address
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(mailbox), "tell", _full)
            patch.setattr(type(mailbox), "send", _waits)
            with trio.move_on_after(0.001) as scope:
                await take(followed)
            assert scope.cancelled_caught
        assert [receipts[0].stage] == [Stage.WRITTEN]
        assert await offsets(followed, 1) == [2]
        assert [receipts[0].stage] == [Stage.ACKED]


def _full(self: Any, message: Any) -> None:
    raise trio.WouldBlock


async def _waits(self: Any, message: Any) -> None:
    await trio.sleep_forever()


# --- one of the user's devices -----------------------------------------------------------


async def test_it_counts() -> None:
    """It is one of the user's devices, also for the bound on them."""
    async with actors.open_runtime(limits=Limits(connections_per_user=2)) as runtime:
        async with runtime.follow("alice"), runtime.follow("alice", "t1"):
            assert runtime.devices("alice") == 2
            with pytest.raises(Busy, match="at most 2 connections"):
                async with runtime.follow("alice"):
                    raise AssertionError("not entered")
            async with runtime.follow("bob"):
                assert runtime.devices("bob") == 1
        assert runtime.devices("alice") == 0


async def test_sessions_of_others_stay() -> None:
    """Devices in the process have no sessions, so that however many come and go, no client's is forgotten for them."""
    async with served(limits=Limits(sessions_per_user=1)) as server, server.peer() as peer:
        await peer.attach("alice")
        for _ in range(3):
            async with server.runtime.follow("alice"):
                pass
        assert len(server.runtime.tree.registry.presence("alice").sessions) == 1


async def test_its_departure_is_remembered() -> None:
    """explain names it while it is here, and says when and why it went."""
    async with actors.open_runtime() as runtime:
        async with runtime.follow("alice") as followed:
            (receipt,) = await emit(runtime)
            assert f"1 device: {label_of(followed)} 1 behind" in str(runtime.explain(receipt))
            await take(followed, 2)
            assert f"{label_of(followed)} written, not confirmed yet" in str(runtime.explain(receipt))
        assert f"the last, {label_of(followed)}, went at" in str(runtime.explain(receipt))
        assert "(left: the block that followed was left)" in str(runtime.explain(receipt))


async def test_beside_a_remote_device() -> None:
    """Both are handed everything, and the first ack counts."""
    async with served() as server, server.peer() as peer, server.runtime.follow("alice") as followed:
        await peer.attach("alice")
        (receipt,) = await server.emit(1)
        assert (await peer.next_event())["offset"] == 1
        await take(followed, 2)
        assert [receipt.stage] == [Stage.WRITTEN]
        await has_nothing(followed)
        assert [receipt.stage] == [Stage.ACKED]


# --- the end ---------------------------------------------------------------------------


async def consume(runtime: Runtime, came: list[Item], ended: list[Any], **options: Any) -> None:
    async with runtime.follow("alice", **options) as followed:
        async for item in followed:
            await trio.lowlevel.checkpoint()
            came.append(item)
        ended.append(followed.ended)


async def test_a_drain_waits_for_the_consumer() -> None:
    """A drain waits until the consumer has taken and acked everything, and then ends its loop."""
    came: list[Item] = []
    ended: list[Any] = []
    async with trio.open_nursery() as nursery, actors.open_runtime() as runtime:
        nursery.start_soon(consume, runtime, came, ended)
        await trio.testing.wait_all_tasks_blocked()
        receipts = await emit(runtime, 300)
        report = await runtime.drain(5)
        assert report.undelivered == ()
        assert {one.stage for one in receipts} == {Stage.ACKED}
        await trio.testing.wait_all_tasks_blocked()
        assert ended == [("shutting_down", "the server is going away")]
        with pytest.raises(RuntimeClosed):
            async with runtime.follow("alice"):
                raise AssertionError("not entered")
    assert len([item for item in came if isinstance(item, Event)]) == 300


async def test_a_drain_waits_no_longer_than_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """A consumer that does not come back costs a drain its time for acks, and is reported."""
    async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:

        async def holds() -> None:
            async with runtime.follow("alice") as followed:
                await take(followed, 2)
                await trio.sleep_forever()

        nursery.start_soon(holds)
        await trio.testing.wait_all_tasks_blocked()
        await emit(runtime, 2)
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        report = await runtime.drain(3)
        assert [(one.count, one.unwritten) for one in report.undelivered] == [(2, 1)]
        assert 2 < trio.current_time() - begun <= 3
        nursery.cancel_scope.cancel()


async def test_a_drain_from_inside_of_the_block(autojump_clock: trio.testing.MockClock) -> None:
    """A drain that is called in the block itself does not wait for the one that called it."""
    async with actors.open_runtime() as runtime, runtime.follow("alice") as followed:
        await emit(runtime, 1)
        begun = trio.current_time()
        report = await runtime.drain(100)
        assert trio.current_time() - begun < 1
        assert report.undelivered[0].unwritten == 1
        assert [item async for item in followed] == []


async def test_revoked() -> None:
    """A user who is revoked is handed nothing more, and is told why; the number of devices has it in."""
    ended: list[Any] = []
    async with trio.open_nursery() as nursery, actors.open_runtime() as runtime:
        nursery.start_soon(consume, runtime, [], ended)
        async with runtime.follow("alice") as followed:
            await trio.testing.wait_all_tasks_blocked()
            await emit(runtime, 1)
            assert runtime.revoke("alice") == 2
            assert runtime.devices("alice") == 0
            assert [item async for item in followed] == []
            assert followed.ended is not None
            assert followed.ended[0] == "revoked"
        await trio.testing.wait_all_tasks_blocked()
        assert [name for name, _ in ended] == ["revoked"]


async def test_the_runtime_closes() -> None:
    """The end of the runtime ends the loop of a consumer outside of it."""
    ended: list[Any] = []
    async with trio.open_nursery() as nursery, actors.open_runtime() as runtime:
        nursery.start_soon(consume, runtime, [], ended)
        await trio.testing.wait_all_tasks_blocked()
    assert ended == [("shutting_down", "the server is going away")]


async def test_a_user_out_of_service() -> None:
    """A user who is taken out of service loses its devices, and gets none until it is released."""
    async with actors.open_runtime(limits=Limits(restarts=0)) as runtime, runtime.follow("alice") as followed:
        await take(followed)
        runtime.tree.users.mailbox("alice").tell(crash())
        assert [item async for item in followed] == []
        assert followed.ended is not None
        assert followed.ended[0] == "quarantined"
        with pytest.raises(Quarantined):
            async with runtime.follow("alice"):
                raise AssertionError("not entered")
        runtime.release("users/alice")
        async with runtime.follow("alice") as again:
            (receipt,) = await emit(runtime)
            await take(again, 2)
            await has_nothing(again)
            assert [receipt.stage] == [Stage.ACKED]


async def test_a_crash_of_the_users_actor() -> None:
    """A crash of the user's actor takes no device along."""
    async with actors.open_runtime() as runtime, runtime.follow("alice") as followed:
        await take(followed)
        runtime.tree.users.mailbox("alice").tell(crash())
        (receipt,) = await emit(runtime)
        assert await offsets(followed, 1) == [1]
        await has_nothing(followed)
        await receipt.reached(Stage.ACKED)


async def test_from_another_thread() -> None:
    """A device belongs to the thread of its runtime."""
    async with actors.open_runtime() as runtime:

        def outside() -> None:
            with pytest.raises(actors.ForeignThread):
                trio.run(_follow, runtime)

        await trio.to_thread.run_sync(outside)


async def _follow(runtime: Runtime) -> None:
    async with runtime.follow("alice"):
        raise AssertionError("not entered")
