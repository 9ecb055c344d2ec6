"""The roster: a device that connects in the middle of a run learns of it, and so does one that loses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import actors
from actors.stores.store import Act, Answered
from tests.stores.waiting import WaitingStore
from tests.support.raw import Message, Peer
from tests.support.served import Served, served
from tests.support.stores import bounds_of


def standing(peer: Peer) -> list[tuple[str, str]]:
    """The messages that a device got beside the log, in order."""
    ops = [message for message in peer.messages() if message.get("op") in {"active", "inactive", "caught_up"}]
    return [(one["op"], one.get("event", one).get("run_id", "")) for one in ops]


async def is_there(peer: Peer) -> None:
    """Wait until all messages to a device have arrived."""
    await peer.say({"op": "ping"})
    await peer.next_op("pong")


async def hold(server: Served, thread_id: str, run_id: str) -> trio.CancelScope:
    """Start a run of the application, and return the scope that cancels it."""
    scope = trio.CancelScope()

    async def work() -> None:
        with scope:
            async with server.runtime.thread(thread_id).run("bot", run_id=run_id):
                await trio.sleep_forever()

    server.nursery.start_soon(work)
    await wait_all_tasks_blocked()
    return scope


async def test_the_runs_of_the_host_and_their_children() -> None:
    """Every active run of the user's threads is sent, oldest first, by its first event; no other one."""
    async with served() as server:
        for thread_id, user_id in (("t1", "alice"), ("t2", "alice"), ("t3", "bob")):
            await server.runtime.bind(thread_id, user_id)
        for thread_id, run_id in (("t2", "r1"), ("t1", "r2"), ("t3", "r3"), ("t1", "r4")):
            await hold(server, thread_id, run_id)
        await server.runtime.cancel("r4")
        async with server.runtime.thread("t1").run("bot", run_id="r5") as run, run.run("child"), server.peer() as peer:
            await peer.attach("alice")
            await is_there(peer)
            expected = [("caught_up", ""), *(("active", run_id) for run_id in ("r1", "r2", "r5", "r5.1"))]
            assert standing(peer) == expected
            events = {event.event_id: event for event in (await server.runtime.read("t1")).events}
            for message in [one for one in peer.messages() if one.get("op") == "active"][1:]:
                told, event = message["event"], events[message["event"]["event_id"]]
                assert (event.type, event.payload) == (told["type"], told["payload"])
                assert (event.thread_id, event.run_id, event.timestamp) == ("t1", told["run_id"], told["timestamp"])
                assert not {"seq", "offset"} & told.keys()


async def test_a_thread_that_gets_its_owner_in_the_middle() -> None:
    """Its run is announced to the owner's devices, after its first event in the log."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        scope = await hold(server, "t1", "r1")
        await server.runtime.bind("t1", "alice")
        await is_there(peer)
        assert [one.get("type", one.get("op")) for one in peer.messages()][2:4] == ["agent_started", "active"]
        scope.cancel()
        assert (await peer.next_event())["type"] in {"agent_started", "agent_cancelled"}
        assert server.runtime.audit().balanced


@pytest.mark.parametrize("how", ["rebind", "unbind"])
async def test_a_thread_that_goes(how: str) -> None:
    """Its run is taken from the former owner's devices, and is active on the next one's."""
    async with served() as server, server.peer() as alices, server.peer() as bobs:
        await server.runtime.bind("t1", "alice")
        await alices.attach("alice")
        await bobs.attach("bob")
        scope = await hold(server, "t1", "r1")
        await (server.runtime.rebind("t1", "bob") if how == "rebind" else server.runtime.unbind("t1"))
        for peer in (alices, bobs):
            await is_there(peer)
        assert standing(alices)[1:] == [("inactive", "r1")]
        assert standing(bobs)[1:] == [("active", "r1")] * (how == "rebind")
        async with server.peer() as tablet:
            await tablet.attach("alice")
            await is_there(tablet)
            assert standing(tablet) == [("caught_up", "")]
        scope.cancel()
        await wait_all_tasks_blocked()
        assert len(server.runtime.tree.runs.roster) == 0


async def test_until_its_end_is_in_the_log(autojump_clock: trio.testing.MockClock) -> None:
    """A run is announced as active until its last event is placed, so that a device in between gets both."""
    limits = actors.Limits()
    store = WaitingStore(1.0)
    async with actors.open_runtime(store=store, limits=limits) as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.thread("t1").run("bot", run_id="r1"):
            await trio.sleep(5)
        assert [item() is not None for item in runtime.tree.runs.roster.pending("alice")] == [True]
        await trio.sleep(5)
        assert runtime.tree.runs.roster.pending("alice") == []


async def test_an_end_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a run's last event cannot be placed, because its thread is out of service, devices get an ``inactive``."""
    limits = actors.Limits(restarts=0)
    async with served(limits=limits) as server, server.peer() as peer:
        await server.runtime.bind("t1", "alice")
        await peer.attach("alice")
        scope = await hold(server, "t1", "r1")

        def broken(*_: Any) -> None:
            raise ValueError("broken")

        monkeypatch.setattr(server.runtime.tree.store, "submit", broken)
        await server.runtime.thread("t1").emit("tick", {})
        await wait_all_tasks_blocked()
        scope.cancel()
        inactive = await peer.next_op("inactive")
        assert (inactive["run_id"], inactive["reason"]) == ("r1", "gone")


async def test_attaching_costs_what_is_ones_own() -> None:
    """The messages for a device are found without a look at the runs and questions of other users."""
    async with served() as server:
        runtime = server.runtime
        looked: list[str] = []
        runtime.tree.runs.registry.active = Watched(looked)
        runtime.tree.asks._open = Watched(looked)
        for user_id in ("alice", "bob"):
            async with server.peer() as peer:
                await peer.attach(user_id)
                await is_there(peer)
        assert looked == []


class Watched(dict[str, Any]):
    """Notes whenever all of it is gone through."""

    def __init__(self, looked: list[str]) -> None:
        super().__init__()
        self._looked = looked

    def __iter__(self) -> Any:
        self._looked.append("iterated")
        return super().__iter__()

    def values(self) -> Any:
        """Noted."""
        self._looked.append("values")
        return super().values()


async def test_very_many(autojump_clock: trio.testing.MockClock) -> None:
    """A thousand runs and questions come in writes of bounded size, all before the pong to a ping after caught_up."""
    limits = actors.Limits(write_bytes=1_000, asks_per_thread=1_000)
    async with actors.open_runtime(limits=limits) as runtime, trio.open_nursery() as nursery:
        await runtime.bind("t1", "alice")
        thread = runtime.thread("t1")

        async def work(number: int) -> None:
            async with thread.run("bot", run_id=f"r{number}"):
                await thread.ask("approval", {"n": number}, timeout=1_000)

        for number in range(500):
            nursery.start_soon(work, number)
        await wait_all_tasks_blocked()
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(runtime.handle, theirs)
        peer = Peer(ours)
        await peer.attach("alice", **{"from": "head"})
        await is_there(peer)
        ops: list[Message] = [one for one in peer.messages() if one.get("op") in {"active", "ask", "pong"}]
        assert [one["op"] for one in ops] == ["active"] * 500 + ["ask"] * 500 + ["pong"]
        nursery.cancel_scope.cancel()


async def test_a_device_that_does_not_read(autojump_clock: trio.testing.MockClock) -> None:
    """Questions asked while its socket takes nothing are not queued for it: it gets the open ones afterwards."""
    limits = actors.Limits(write_deadline_seconds=100)
    async with actors.open_runtime(limits=limits) as runtime, trio.open_nursery() as nursery:
        await runtime.bind("t1", "alice")
        ours, theirs = trio.testing.memory_stream_pair()
        pipe, hand_over = trio.Event(), theirs.send_stream.send_all_hook
        pipe.set()

        async def when_possible() -> None:
            await pipe.wait()
            assert hand_over is not None
            await hand_over()

        theirs.send_stream.send_all_hook = when_possible
        nursery.start_soon(runtime.handle, theirs)
        peer = Peer(ours)
        await peer.attach("alice")
        pipe = trio.Event()
        with trio.move_on_after(1):
            await runtime.thread("t1").ask("approval", {"text": "x" * 10_000}, timeout=60)
        (connection,) = runtime.tree.server.connections.values()
        for _ in range(50):
            with trio.move_on_after(0.01):
                await runtime.thread("t1").ask("approval", {"text": "x" * 10_000}, timeout=60)
        assert connection._transport.backlog_bytes < 30_000
        nursery.start_soon(ask_for_ever, runtime)
        await wait_all_tasks_blocked()
        pipe.set()
        while (await peer.next_op("ask"))["event"]["payload"] != {"last": True}:
            pass
        assert len([one for one in peer.messages() if one.get("op") == "ask"]) <= 4
        nursery.cancel_scope.cancel()


async def ask_for_ever(runtime: actors.Runtime) -> None:
    await runtime.thread("t1").ask("approval", {"last": True}, timeout=1_000)


class LateStore(WaitingStore):
    """A store of which the answers are noted late, as by a thread that is restarted, when they are held back."""

    def __init__(self) -> None:
        super().__init__(0)
        self.holds_back = False
        self._late: list[Callable[[], None]] = []

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        super().submit(act, lambda act, answer: self._answer(lambda: answered(act, answer)))

    def _answer(self, answer: Callable[[], None]) -> None:
        if self.holds_back:
            self._late.append(answer)
        else:
            answer()

    def let_go(self) -> None:
        """Give the answers that were held back."""
        self.holds_back = False
        for answer in self._late:
            answer()


async def test_a_device_that_read_the_end_before_it_was_noted() -> None:
    """A run whose last event a device read before the store's answer was noted does not stay active on that device."""
    store = LateStore()
    async with served(store=store) as server, server.peer() as peer:
        await server.runtime.bind("t1", "alice")
        scope = await hold(server, "t1", "r1")
        await trio.sleep(0.01)
        store.holds_back = True
        scope.cancel()
        while bounds_of(store, "alice").head < 2:  # noqa: ASYNC110 - a store has nothing to wait for
            await trio.sleep(0.001)
        await peer.attach("alice")
        await is_there(peer)
        assert standing(peer) == [("caught_up", ""), ("active", "r1")]
        store.let_go()
        assert (await peer.next_op("inactive"))["run_id"] == "r1"
