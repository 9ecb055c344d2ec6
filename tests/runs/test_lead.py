"""Emitters that wait for devices: how far they are ahead, how long they wait, and what slow devices lose without it."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors import Limits, Stage
from actors.connections.following import Following
from actors.events.delivered import Event
from actors.events.items import Gap
from actors.runtime import Runtime
from tests.stores.waiting import WaitingStore
from tests.support.served import served

quiet = trio.testing.wait_all_tasks_blocked


class Consumer:
    """A device in the process that takes as many items as it is told to."""

    def __init__(self, followed: Following) -> None:
        self.followed = followed
        self.events: list[Event] = []
        self.gaps: list[Gap] = []

    async def take(self, count: int) -> None:
        """Take so many events, and come back from the last one."""
        until = len(self.events) + count
        while len(self.events) < until:
            item = await anext(self.followed)
            if isinstance(item, Event):
                self.events.append(item)
            elif isinstance(item, Gap):
                self.gaps.append(item)

    async def take_slowly(self, per_second: float) -> None:
        """Take events at a rate, for ever."""
        while True:
            await self.take(1)
            await trio.sleep(1 / per_second)


class Producer:
    """Emits numbered events one after the other, in a task of its own."""

    def __init__(self, thread: actors.Thread, count: int) -> None:
        self._thread = thread
        self._count = count
        self.receipts: list[actors.Receipt] = []
        self.done = trio.Event()

    async def run(self) -> None:
        for number in range(self._count):
            self.receipts.append(await self._thread.emit("tick", {"n": number}, user_id="alice"))
        self.done.set()


def stages(receipts: list[actors.Receipt]) -> set[Stage]:
    return {receipt.stage for receipt in receipts}


# --- how far -------------------------------------------------------------------------


@pytest.mark.parametrize("store", [None, lambda: WaitingStore(delay_seconds=0)])
@pytest.mark.parametrize("where", ["runtime", "thread"])
async def test_so_many_and_no_more(where: str, store: Any) -> None:
    """An emitter goes on until so many of its events are not acked, and then as far as they are acked."""
    options: dict[str, Any] = {"store": store and store()}
    if where == "runtime":
        options["ahead"] = 3
    async with (
        actors.open_runtime(**options) as runtime,
        trio.open_nursery() as nursery,
        runtime.follow("alice") as followed,
    ):
        consumer = Consumer(followed)
        thread = runtime.thread("t1", ahead=3) if where == "thread" else runtime.thread("t1")
        producer = Producer(thread, 10)
        nursery.start_soon(producer.run)
        await quiet()
        assert len(producer.receipts) == 3
        for taken in range(1, 8):
            await consumer.take(1)
            await quiet()
            assert len(producer.receipts) == 3 + taken - 1
        nursery.start_soon(consumer.take, 4)
        await producer.done.wait()
        nursery.cancel_scope.cancel()


async def test_nothing_is_lost_to_a_slow_device(autojump_clock: trio.testing.MockClock) -> None:
    """A log of 100 and 700 events for a device that takes 100 a second: with ahead all of them are acked."""
    limits = Limits(retained_events=100)
    async with (
        actors.open_runtime(limits=limits, ahead=40) as runtime,
        trio.open_nursery() as nursery,
        runtime.follow("alice") as followed,
    ):
        consumer = Consumer(followed)
        nursery.start_soon(consumer.take_slowly, 100)
        producer = Producer(runtime.thread("t1"), 700)
        await producer.run()
        await producer.receipts[-1].reached(Stage.ACKED)
        assert stages(producer.receipts) == {Stage.ACKED}
        assert consumer.gaps == []
        nursery.cancel_scope.cancel()


async def test_without_it_the_loss_is_told(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Without ahead what a slow device did not take in time is counted, warned of once in a period, and told to
    on_undelivered, each event once."""
    told: list[str] = []

    async def undelivered(fate: actors.Fate) -> None:
        told.append(fate.event_id)

    limits = Limits(retained_events=100, undelivered_seconds=5)
    async with (
        actors.open_runtime(limits=limits, on_undelivered=undelivered) as runtime,
        trio.open_nursery() as nursery,
        runtime.follow("alice") as followed,
    ):
        consumer = Consumer(followed)
        nursery.start_soon(consumer.take_slowly, 100)
        receipts: list[actors.Receipt] = []
        for _ in range(7):
            producer = Producer(runtime.thread("t1"), 200)
            await producer.run()
            receipts += producer.receipts
            await trio.sleep(1.5)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
        lost = [one for one in receipts if one.stage is not Stage.ACKED]
        assert 500 < len(lost) < 800
        assert {one.stage for one in lost} == {Stage.DROPPED, Stage.UNCONFIRMED}
        events = runtime.statistics().events
        assert (events.dropped + events.unconfirmed, events.acked) == (len(lost), len(receipts) - len(lost))
        assert sorted(told) == sorted(one.event_id for one in lost)
        warnings = [one.getMessage() for one in caplog.records if "retention" in one.getMessage()]
        assert len(warnings) == 1, warnings
        assert "ahead=" in warnings[0]


async def test_threads_of_one_user_share_the_bound_of_the_runtime() -> None:
    """The bound of the runtime is one for all of a user's threads; another user's go on."""
    async with (
        actors.open_runtime(ahead=4) as runtime,
        runtime.follow("alice"),
        runtime.follow("bob"),
        trio.open_nursery() as nursery,
    ):
        one, other = Producer(runtime.thread("t1"), 9), Producer(runtime.thread("t2"), 9)
        nursery.start_soon(one.run)
        nursery.start_soon(other.run)
        await quiet()
        assert len(one.receipts) + len(other.receipts) == 4
        receipt = await runtime.thread("t3").emit("tick", {}, user_id="bob")
        assert receipt.stage is Stage.STORED
        nursery.cancel_scope.cancel()


async def test_handles_of_one_thread_share_its_bound() -> None:
    """However many handles are made, their events are those of one thread; another thread has a bound of its own."""
    async with actors.open_runtime() as runtime, runtime.follow("alice"):
        for _ in range(2):
            await runtime.thread("t1", ahead=2).emit("tick", {}, user_id="alice")
        with pytest.raises(trio.WouldBlock):
            runtime.thread("t1", ahead=2).emit_nowait("tick", {}, user_id="alice")
        runtime.thread("t2", ahead=2).emit_nowait("tick", {}, user_id="alice")
        runtime.thread("t1").emit_nowait("tick", {}, user_id="alice")


async def test_large_events_count_by_their_bytes() -> None:
    """Not more than half of the bytes that a log retains are waited for, however few events they are."""
    async with (
        actors.open_runtime(limits=Limits(retained_bytes=100_000), ahead=100) as runtime,
        runtime.follow("alice") as followed,
    ):
        consumer, thread = Consumer(followed), runtime.thread("t1")
        for _ in range(3):
            thread.emit_nowait("tick", {"x": "x" * 20_000}, user_id="alice")
        with pytest.raises(trio.WouldBlock):
            thread.emit_nowait("tick", {"x": ""}, user_id="alice")
        await consumer.take(2)
        await quiet()
        thread.emit_nowait("tick", {"x": ""}, user_id="alice")


async def test_another_owner() -> None:
    """Events of a thread's former owner are not waited for."""
    async with actors.open_runtime() as runtime, runtime.follow("alice"), runtime.follow("bob") as followed:
        thread, consumer = runtime.thread("t1", ahead=3), Consumer(followed)
        for _ in range(3):
            thread.emit_nowait("tick", {}, user_id="alice")
        await runtime.rebind("t1", "bob")
        for _ in range(3):
            thread.emit_nowait("tick", {})
        with pytest.raises(trio.WouldBlock):
            thread.emit_nowait("tick", {})
        await consumer.take(3)
        assert [event.seq for event in consumer.events] == [4, 5, 6]


# --- how long --------------------------------------------------------------------------


async def test_no_device() -> None:
    """Without a device there is nothing to wait for."""
    async with actors.open_runtime(ahead=2) as runtime:
        producer = Producer(runtime.thread("t1"), 50)
        await producer.run()
        held = [await runtime.thread("nobodys").emit("tick", {}) for _ in range(10)]
        assert stages(held) == {Stage.BUFFERED}


async def test_the_last_device_goes(autojump_clock: trio.testing.MockClock) -> None:
    """An emitter that waits goes on within a moment after the last device has gone."""
    async with actors.open_runtime(ahead=2, ahead_seconds=1_000) as runtime, trio.open_nursery() as nursery:
        producer = Producer(runtime.thread("t1"), 50)
        async with runtime.follow("alice"):
            nursery.start_soon(producer.run)
            await quiet()
            assert len(producer.receipts) == 2
        begun = trio.current_time()
        await producer.done.wait()
        assert trio.current_time() - begun <= runtime.limits.sweep_seconds


async def test_a_device_that_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A device that takes nothing is waited for so long, and no more until it takes something."""
    async with actors.open_runtime(ahead=2, ahead_seconds=5) as runtime, runtime.follow("alice") as followed:
        consumer, thread, begun = Consumer(followed), runtime.thread("t1"), trio.current_time()
        for _ in range(50):
            await thread.emit("tick", {}, user_id="alice")
        assert trio.current_time() - begun == pytest.approx(10, abs=0.1)  # for an ack, and for the socket
        await consumer.take(50)
        await quiet()
        with trio.move_on_after(1) as scope:
            for _ in range(5):
                await thread.emit("tick", {}, user_id="alice")
        assert scope.cancelled_caught


async def test_emit_nowait_gives_up_as_well(autojump_clock: trio.testing.MockClock) -> None:
    """A caller that does not wait is told to come back for so long as one that waits would have waited."""
    async with actors.open_runtime(ahead=1, ahead_seconds=5) as runtime, runtime.follow("alice"):
        thread = runtime.thread("t1")
        thread.emit_nowait("tick", {}, user_id="alice")
        begun, emitted = trio.current_time(), 1
        while emitted < 3:
            try:
                thread.emit_nowait("tick", {})
                emitted += 1
            except trio.WouldBlock:
                await trio.sleep(0.5)
        assert 5 <= trio.current_time() - begun <= 11


async def test_a_device_that_acks_nothing() -> None:
    """Where all devices are plain, an event is waited for until a socket has taken it."""
    async with served(ahead=2) as server, server.peer() as peer:
        head = (
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Cookie: actors_token=alice\r\n\r\n"
        )
        await peer.stream.send_all(head.encode())
        while not server.runtime.devices("alice"):
            await trio.lowlevel.checkpoint()
        with trio.fail_after(60):
            receipts = await server.emit(50)
        assert stages(receipts[:-2]) == {Stage.WRITTEN}


async def test_cancelled_while_it_waits() -> None:
    """An emitter that is cancelled while it waits for devices has emitted nothing."""
    async with actors.open_runtime(ahead=1) as runtime, runtime.follow("alice"):
        thread = runtime.thread("t1")
        await thread.emit("tick", {}, user_id="alice")
        with trio.move_on_after(0.001) as scope:
            await thread.emit("never", {})
        assert scope.cancelled_caught
        assert [event.type for event in (await runtime.read("t1")).events] == ["tick"]
        assert runtime.audit().total.accepted == 1


async def test_the_end_of_the_runtime() -> None:
    """A runtime that drains refuses what waits for devices, as it does any event."""
    refused: list[Exception] = []
    async with actors.open_runtime(ahead=1) as runtime, trio.open_nursery() as nursery:

        async def emits() -> None:
            with pytest.raises(actors.RuntimeClosed) as caught:
                await Producer(runtime.thread("t1"), 5).run()
            refused.append(caught.value)

        async with runtime.follow("alice"):
            nursery.start_soon(emits)
            await quiet()
            await runtime.drain(0)
        assert len(refused) <= 1
    assert len(refused) == 1


# --- runs -------------------------------------------------------------------------------


async def test_a_run_waits() -> None:
    """What a run emits waits for devices, and what its children emit, all counted together; its end does not."""
    async with (
        actors.open_runtime() as runtime,
        trio.open_nursery() as nursery,
        runtime.follow("alice") as followed,
    ):
        await runtime.bind("t1", "alice")
        consumer, emitted = Consumer(followed), 0

        async def works() -> None:
            nonlocal emitted
            async with runtime.thread("t1").run("agent", ahead=4) as run, run.run("child") as child:
                for number in range(8):
                    await (run if number % 2 else child).emit("step", {})
                    emitted += 1

        nursery.start_soon(works)
        await quiet()
        assert emitted == 4
        await consumer.take(3)
        await quiet()
        assert emitted == 4
        await consumer.take(8)
        await quiet()
        assert emitted == 8


async def test_tokens_gather(autojump_clock: trio.testing.MockClock) -> None:
    """Tokens wait nowhere and are not lost: while a device is behind they become fewer events, with all the text."""
    async with actors.open_runtime(ahead=3) as runtime, runtime.follow("alice") as followed:
        await runtime.bind("t1", "alice")
        consumer = Consumer(followed)
        async with trio.open_nursery() as nursery:
            async with runtime.thread("t1").run("agent") as run:
                for number in range(100):
                    run.delta(f"{number} ")
                    await trio.sleep(0.05)
                await quiet()
                assert len((await runtime.read("t1")).events) <= 4
                nursery.start_soon(consumer.take_slowly, 20)
                for number in range(100, 200):
                    run.delta(f"{number} ")
                    await trio.sleep(0.05)
            await trio.sleep(20)
            nursery.cancel_scope.cancel()
        texts = [event.payload["text"] for event in consumer.events if event.type == "agent_delta"]
        assert "".join(texts) == "".join(f"{number} " for number in range(200))
        assert len(texts) < 150
        assert consumer.events[-1].type == "agent_completed"


async def test_too_many_tokens_go_out_all_the_same(autojump_clock: trio.testing.MockClock) -> None:
    """What does not fit into the text that may gather goes out, although devices are behind; nothing raises."""
    limits = Limits(delta_bytes=100)
    async with actors.open_runtime(ahead=1, limits=limits, ahead_seconds=1_000) as runtime, runtime.follow("alice"):
        await runtime.bind("t1", "alice")
        async with runtime.thread("t1").run("agent") as run:
            for _ in range(20):
                run.delta("x" * 60)
        events = (await runtime.read("t1")).events
        assert sum(len(event.payload["text"]) for event in events if event.type == "agent_delta") == 1_200
        assert events[-1].type == "agent_completed"


async def test_text_before_a_question() -> None:
    """Text that gathers goes out before the run's question, however far devices are behind."""
    async with actors.open_runtime(ahead=1) as runtime, runtime.follow("alice"), trio.open_nursery() as nursery:
        await runtime.bind("t1", "alice")

        async def asks() -> None:
            async with runtime.thread("t1").run("agent") as run:
                run.delta("one")
                await run.ask("approval", {}, timeout=math.inf)

        nursery.start_soon(asks)
        await quiet()
        assert [event.type for event in (await runtime.read("t1")).events] == ["agent_started", "agent_delta"]
        nursery.cancel_scope.cancel()


# --- what cannot be meant, and what it costs ---------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"ahead": 0}, ValueError, "ahead: expected 1 to 1000 events, which a log retains, got 0"),
        ({"ahead": 1_001}, ValueError, "ahead: "),
        ({"ahead": 2.5}, TypeError, "ahead: expected a number of events, got 2.5"),
        ({"ahead": True}, TypeError, "ahead: "),
        ({"ahead": 1, "ahead_seconds": -1}, ValueError, "ahead_seconds"),
        ({"ahead": 1, "ahead_seconds": "x"}, TypeError, "ahead_seconds"),
        ({"ahead_seconds": 1}, ValueError, "ahead_seconds: expected ahead"),
    ],
)
async def test_what_cannot_be_meant(wrong: dict[str, Any], error: type[Exception], text: str) -> None:
    """A bound that cannot be meant is refused where it is given."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(error, match=text):
            runtime.thread("t1", **wrong)
        with pytest.raises(error, match=text):
            async with runtime.thread("t1").run("agent", **wrong):
                raise AssertionError("not begun")
    if "ahead" in wrong:
        with pytest.raises(error, match=text):
            async with actors.open_runtime(**wrong):
                raise AssertionError("not opened")


def calls_of_an_emit(runtime: Runtime, **options: Any) -> int:
    """The Python functions that one emit_nowait calls."""
    thread = runtime.thread("t1", **options)
    for _ in range(3):
        thread.emit_nowait("tick", {}, user_id="alice")
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        thread.emit_nowait("tick", {})
    finally:
        sys.setprofile(None)
    return calls


async def test_without_it_nothing_is_called() -> None:
    """An emit without ahead calls nothing of this module; one with it calls a few functions more."""
    async with actors.open_runtime() as runtime:
        without, bounded = calls_of_an_emit(runtime), calls_of_an_emit(runtime, ahead=10)
        assert without < bounded < without + 15
