"""Going away: in which order, with what on the wire, and what the report says of the rest."""

from __future__ import annotations

import json
import math
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import actors
from actors import Environment, Stage
from tests.stores.waiting import WaitingStore
from tests.support.raw import ACTORS, CLOSE, Message, Peer, connected, frame, upgrade_request
from tests.support.served import PATIENCE_SECONDS, Served, served

AMPLE_SECONDS = PATIENCE_SECONDS
"""A deadline that is not reached."""
SHORT_SECONDS = 0.3
"""One that is."""
SEND = {"op": "send", "id": "m1", "payload": {"text": "hello"}}


async def live(peer: Peer, *, acks: bool = True) -> int | None:
    """Be a device: confirm what comes and answer the server's Close; its code, ``None`` when there was none."""
    code = None
    with suppress(trio.ClosedResourceError):  # a test that is over closes its end, perhaps before the server does
        while (came := await peer.next_frame()) is not None:
            if came.opcode == CLOSE:
                code = int.from_bytes(came.payload[:2])
                await peer.send(frame(CLOSE, came.payload[:2]))
            elif acks and "op" not in (message := json.loads(came.payload)):
                await peer.ack(message["offset"])
    return code


def events(peer: Peer) -> list[Message]:
    return [message for message in peer.messages() if "type" in message]


def types(peer: Peer) -> list[str]:
    return [event["type"] for event in events(peer)]


def told(peer: Peer) -> list[int]:
    """When this device was told to come back."""
    return [message["retry_ms"] for message in peer.messages() if message.get("op") == "going_away"]


class Leaving:
    """A drain under way, and the devices that live through it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.report: actors.DrainReport
        self.codes: dict[int, int | None] = {}
        """How each device's connection ended, by its number."""
        self._nursery = nursery

    async def drain(self, server: Served, seconds: float, **options: Any) -> None:
        self.report = await server.runtime.drain(seconds, **options)

    def join(self, *peers: Peer, acks: bool = True) -> None:
        """Let these read from now on."""
        for peer in peers:
            self._nursery.start_soon(partial(self._live, peer, acks=acks))

    async def _live(self, peer: Peer, *, acks: bool) -> None:
        number = len(self.codes)
        self.codes[number] = None
        self.codes[number] = await live(peer, acks=acks)


@asynccontextmanager
async def leaving(server: Served, seconds: float, *peers: Peer, **options: Any) -> AsyncIterator[Leaving]:
    """Drain while the body runs and ``peers`` live; the body begins when the drain waits for something."""
    async with trio.open_nursery() as nursery:
        drain = Leaving(nursery)
        drain.join(*peers)
        nursery.start_soon(partial(drain.drain, server, seconds, **options))
        await wait_all_tasks_blocked()
        yield drain


async def emit_nowhere(runtime: actors.Runtime) -> None:
    """Everything that takes an event or an owner raises RuntimeClosed."""
    thread = runtime.thread("t")
    with pytest.raises(actors.RuntimeClosed):
        await thread.emit("late", {})
    with pytest.raises(actors.RuntimeClosed):
        thread.emit_nowait("late", {})
    with pytest.raises(actors.RuntimeClosed):
        await runtime.bind("t", "alice")
    with pytest.raises(actors.RuntimeClosed):
        async with thread.run("late"):
            pytest.fail("expected a refusal")


class Agent:
    """Answers a message with one event, when it is allowed to; cancelled, it has something to put away first."""

    def __init__(self, *, shielded: bool = False) -> None:
        self.began = trio.Event()
        self.may_end = trio.Event()
        self._shielded = shielded

    async def __call__(self, run: actors.Run, _: actors.Message) -> None:
        self.began.set()
        try:
            with trio.CancelScope(shield=self._shielded):
                await self.may_end.wait()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            raise
        await run.emit("answer", {})

    async def asked(self, peer: Peer) -> str:
        """Let a device ask; the id of the run that answers."""
        await peer.say(SEND)
        run_id = (await peer.next_op("reply"))["run_id"]
        await self.began.wait()
        assert isinstance(run_id, str)
        return run_id


# --- nobody new -----------------------------------------------------------------


async def test_the_doors_shut_at_once(tmp_path: Path) -> None:
    """While a run is still finishing, no address takes a socket any more, and a host's own is refused."""
    agent, path = Agent(), tmp_path / "actors.sock"
    async with served(on_message=agent) as server, server.peer() as device:
        await server.nursery.start(partial(server.runtime.serve, path=path))
        await device.attach("alice")
        await agent.asked(device)
        async with leaving(server, AMPLE_SECONDS, device):
            for address in (server.address, str(path)):
                with pytest.raises(OSError, match=r"refused|attempts|No such file"):
                    async with connected(address):
                        pytest.fail("expected a refusal")
            with pytest.raises(actors.RuntimeClosed):
                await server.runtime.handle(memory_stream_pair()[0])
            with pytest.raises(actors.RuntimeClosed):
                await server.runtime.serve()
            agent.may_end.set()


async def test_who_was_accepted_before_is_told() -> None:
    """A socket accepted before the drain: its upgrade gets 503 and when to come back, ``/healthz`` 503 as well."""
    agent = Agent()
    async with (
        served(on_message=agent) as server,
        server.peer() as device,
        server.peer() as late,
        server.peer() as probe,
    ):
        await device.attach("alice")
        await agent.asked(device)
        async with leaving(server, AMPLE_SECONDS, device):
            answer = await late.ask(upgrade_request(ACTORS))
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            answer = await probe.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (answer.status, answer.body) == (503, "draining\n")
            agent.may_end.set()


async def test_who_is_being_authenticated_is_told() -> None:
    """Whoever is found to be let in after the drain has begun is not let in."""
    asked, answered, agent = trio.Event(), trio.Event(), Agent()

    async def authenticate(credentials: actors.Credentials) -> str:
        if credentials.token == "slow":
            asked.set()
            await answered.wait()
        return credentials.token

    async with served(on_message=agent, authenticate=authenticate) as server, server.peer() as device:
        await device.attach("alice")
        await agent.asked(device)
        async with server.peer() as late:
            await late.send(upgrade_request(cookie="actors_token=slow"))
            await asked.wait()
            async with leaving(server, AMPLE_SECONDS, device):
                answered.set()
                assert (await late.answer()).status == 503
                agent.may_end.set()


async def test_who_is_saying_hello_is_sent_away() -> None:
    """A connection without a place in a log has nothing to wait for: 1012 at once, and nobody waits for its hello."""
    agent = Agent()
    async with served(on_message=agent) as server, server.peer() as device, server.peer() as silent:
        await device.attach("alice")
        await agent.asked(device)
        await silent.open(ACTORS)
        async with leaving(server, AMPLE_SECONDS, device):
            assert (await silent.farewell() or (0, ""))[0] == 1012
            assert events(device)[-1]["type"] == "agent_started"
            agent.may_end.set()


async def test_messages_are_refused() -> None:
    """What users send during a drain is refused, with a code that says to come back."""
    agent = Agent()
    async with served(on_message=agent) as server, server.peer() as device:
        await device.attach("alice")
        await agent.asked(device)
        async with leaving(server, AMPLE_SECONDS):
            await device.say(SEND | {"id": "m2"})
            error = (await device.next_op("reply"))["error"]
            assert (error["name"], error["temporary"]) == ("shutting_down", True)
            agent.may_end.set()
            assert await live(device) == 1012


async def test_devices_are_told_when_to_come_back() -> None:
    """Each device is told another moment, between a half and one and a half of ``retry_seconds``, before its Close."""
    environment = Environment(random=random.Random(7))
    limits = actors.Limits(retry_seconds=4.0)
    async with served(environment=environment, limits=limits) as server, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(server.peer()) for _ in range(3)]
        for peer in peers:
            await peer.attach("alice")
        async with leaving(server, AMPLE_SECONDS, *peers) as drain:
            pass
        moments = [told(peer) for peer in peers]
        assert all(len(moment) == 1 and 2_000 <= moment[0] <= 6_000 for moment in moments)
        assert len({moment[0] for moment in moments}) == 3
        assert set(drain.codes.values()) == {1012}


async def test_plain_clients_get_the_close_alone() -> None:
    """A plain client knows no ``going_away``; its Close says 1012, and what was written to it was never confirmed."""
    async with served() as server, server.peer() as plain:
        await plain.open(cookie="actors_token=alice")
        await server.emit(2)
        async with leaving(server, SHORT_SECONDS) as drain:
            drain.join(plain, acks=False)
        assert drain.codes == {0: 1012}
        assert [message.get("op") for message in plain.messages()] == [None, None]
        assert drain.report.undelivered == (actors.Undelivered(count=2, unwritten=0, user_id="alice"),)
        assert (drain.report.goodbyes, drain.report.aborted) == (1, 0)


# --- runs -------------------------------------------------------------------------


async def test_runs_finish() -> None:
    """A run that ends in its share of the time ends as it would have; its events arrive and are confirmed."""
    agent = Agent()
    async with served(on_message=agent) as server, server.peer() as device:
        await device.attach("alice")
        await agent.asked(device)
        async with leaving(server, AMPLE_SECONDS, device) as drain:
            assert told(device)
            agent.may_end.set()
        assert types(device)[-3:] == ["agent_started", "answer", "agent_completed"]
        assert drain.codes == {0: 1012}
        assert drain.report == actors.DrainReport(undelivered=(), cancelled=(), abandoned=(), goodbyes=1, aborted=0)
        assert server.runtime.audit().total.acked == 4


@pytest.mark.parametrize(("seconds", "policy"), [(AMPLE_SECONDS, "cancel"), (SHORT_SECONDS, "finish"), (0, "cancel")])
async def test_runs_are_cancelled(seconds: float, policy: str) -> None:
    """By policy, or because they are too slow; the device hears ``agent_cancelled`` and why, and then goodbye."""
    agent = Agent()
    async with served(on_message=agent) as server, server.peer() as device:
        await device.attach("alice")
        run_id = await agent.asked(device)
        async with leaving(server, seconds, device, runs=policy) as drain:
            pass
        last = events(device)[-1]
        assert (last["type"], last["run_id"], last["payload"]) == ("agent_cancelled", run_id, {"reason": "shutdown"})
        assert drain.codes == {0: 1012}
        assert (drain.report.cancelled, drain.report.abandoned) == ((run_id,), ())
        assert server.failures() == []


@pytest.mark.parametrize(("policy", "last"), [("finish", "agent_completed"), ("cancel", "agent_cancelled")])
async def test_a_message_on_its_way_is_answered(policy: str, last: str) -> None:
    """A message that came before the drain is in the store before runs are looked at; its run ends as the others."""
    agent, limits = Agent(), actors.Limits()
    agent.may_end.set()
    store = WaitingStore(0.02)
    async with served(on_message=agent, store=store, limits=limits) as server, server.peer() as device:
        await device.attach("alice")
        await device.say(SEND)
        await device.echo()
        async with leaving(server, AMPLE_SECONDS, device, runs=policy):
            pass
        assert types(device)[:2] == ["user_message", "agent_started"]
        assert types(device)[-1] == last


async def test_runs_that_shield_themselves_are_abandoned() -> None:
    """A run that does not stop is reported with where it waits; its device hears the end, and the drain goes on."""
    agent = Agent(shielded=True)
    async with served(on_message=agent) as server, server.peer() as device:
        await device.attach("alice")
        run_id = await agent.asked(device)
        async with leaving(server, SHORT_SECONDS, device) as drain:
            pass
        agent.may_end.set()
        assert types(device)[-1] == "agent_cancelled"
        assert drain.codes == {0: 1012}
        assert drain.report.abandoned == drain.report.cancelled == (run_id,)
        assert str(drain.report).splitlines()[-1] == f"  run {run_id}: did not stop when it was cancelled"
        failure = server.failures()[0]
        assert f"runs/{run_id}" in failure
        assert "shields itself" in failure


async def test_the_applications_own_runs_are_cancelled() -> None:
    """``Thread.run`` in a task of the application is a run as any other."""
    async with served() as server, server.peer() as device:
        await device.attach("alice")
        await server.emit(1)

        async def work() -> None:
            async with server.runtime.thread("thread-of-alice").run("worker", run_id="r1"):
                await trio.sleep_forever()

        server.nursery.start_soon(work)
        await wait_all_tasks_blocked()
        async with leaving(server, AMPLE_SECONDS, device, runs="cancel") as drain:
            pass
        assert types(device) == ["tick", "agent_started", "agent_cancelled"]
        assert drain.report.cancelled == ("r1",)


# --- events -------------------------------------------------------------------------


async def test_events_are_refused_afterwards() -> None:
    """After a drain whoever emits, binds or begins a run is told; so is who asks a runtime that nobody served."""
    async with actors.open_runtime() as runtime:
        await runtime.thread("t").emit("early", {}, user_id="alice")
        await runtime.drain(AMPLE_SECONDS)
        await emit_nowhere(runtime)


async def test_what_the_store_has_yet_to_take_is_taken() -> None:
    """Events that were accepted and not stored yet are stored, written and confirmed before anybody is sent away."""
    limits = actors.Limits()
    store = WaitingStore(0.02)
    async with served(store=store, limits=limits) as server, server.peer() as device:
        await device.attach("alice")
        receipts = await server.emit(5)
        assert {receipt.stage for receipt in receipts} == {Stage.ACCEPTED}
        async with leaving(server, AMPLE_SECONDS, device) as drain:
            pass
        assert [event["payload"]["n"] for event in events(device)] == list(range(5))
        assert {receipt.stage for receipt in receipts} == {Stage.ACKED}
        assert drain.report.undelivered == ()


async def test_what_the_store_does_not_take_is_reported() -> None:
    """A store that cannot store holds a drain up to the deadline; what it did not take is in the report."""
    limits = actors.Limits(shutdown_seconds=0.1, close_seconds=0.1, store_seconds=0.1)
    store = WaitingStore()
    store.journal.full = True
    async with actors.open_runtime(store=store, limits=limits) as runtime:
        for n in range(3):
            await runtime.thread("t").emit("tick", {"n": n})
        report = await runtime.drain(SHORT_SECONDS)
        assert report.undelivered == (actors.Undelivered(count=3, unwritten=3),)
        assert str(report).splitlines()[1:] == ["  on the way to the store: 3"]
        assert runtime.audit().balanced


async def test_a_device_that_is_behind_gets_everything() -> None:
    """A socket that was full when the drain began gets all that is in the log, in order, and then its Close."""
    async with served() as server, narrow(server.address) as device:
        await device.attach("alice")
        await server.emit(60, size=16_000)
        async with leaving(server, AMPLE_SECONDS) as drain:
            drain.join(device)
        assert [event["offset"] for event in events(device)] == list(range(1, 61))
        assert len(told(device)) == 1
        assert drain.codes == {0: 1012}
        assert drain.report == actors.DrainReport(undelivered=(), cancelled=(), abandoned=(), goodbyes=1, aborted=0)


async def test_confirmations_that_come_late_count() -> None:
    """A drain waits for what a device may still confirm, and is over as soon as it has."""
    async with served() as server, server.peer() as device:
        await device.attach("alice")
        receipts = await server.emit(3)
        async with leaving(server, math.inf) as drain:
            assert {receipt.stage for receipt in receipts} == {Stage.WRITTEN}
            drain.join(device)
        assert {receipt.stage for receipt in receipts} == {Stage.ACKED}
        assert drain.report.undelivered == ()


async def test_a_device_that_never_confirms_is_left() -> None:
    """It holds a drain up to the deadline, gets its Close, and what it did not confirm is reported as written."""
    async with served() as server, server.peer() as device:
        await device.attach("alice")
        await server.emit(3)
        async with leaving(server, SHORT_SECONDS) as drain:
            drain.join(device, acks=False)
        assert drain.codes == {0: 1012}
        assert drain.report == actors.DrainReport(
            undelivered=(actors.Undelivered(count=3, unwritten=0, user_id="alice"),),
            cancelled=(),
            abandoned=(),
            goodbyes=1,
            aborted=0,
        )


async def test_what_a_device_never_got_it_need_not_confirm() -> None:
    """A device that began at the head has nothing to say of what came before: nobody waits for it."""
    async with served() as server, server.peer() as device:
        await server.emit(2)
        await device.open(ACTORS)
        await device.hello("alice", **{"from": "head"})
        async with leaving(server, math.inf, device) as drain:
            pass
        assert drain.report.undelivered == (actors.Undelivered(count=2, unwritten=2, user_id="alice"),)


# --- sockets ------------------------------------------------------------------------


@asynccontextmanager
async def narrow(address: tuple[str, int] | str) -> AsyncIterator[Peer]:
    """A connection whose kernel keeps little for a reader who does not read."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(address)
    peer = Peer(trio.SocketStream(sock))
    try:
        yield peer
    finally:
        sock.close()


async def test_a_stalled_socket_is_aborted() -> None:
    """Who takes nothing gets no Close but a reset, at the deadline; everybody else goes in peace."""
    async with served() as server, narrow(server.address) as stalled, server.peer() as reads:
        await stalled.attach("alice")
        await reads.attach("bob")
        await server.emit(60, size=16_000)
        async with leaving(server, SHORT_SECONDS, reads) as drain:
            pass
        assert drain.codes == {0: 1012}
        assert (drain.report.goodbyes, drain.report.aborted) == (1, 1)
        (undelivered,) = drain.report.undelivered
        assert (undelivered.user_id, undelivered.count) == ("alice", 60)
        assert 0 < undelivered.unwritten < 60
        with pytest.raises((AssertionError, OSError)):  # it ends inside a frame
            assert await live(stalled, acks=False) is not None


async def test_who_does_not_answer_the_close_gets_it_all_the_same() -> None:
    """The Close of a device that has only to answer it is not lost to a reset, however short the deadline was."""
    async with served(limits=actors.Limits(close_seconds=0.1)) as server, server.peer() as device:
        await device.attach("alice")
        report = await server.runtime.drain(0)
        assert (report.goodbyes, report.aborted) == (1, 0)
        assert (await device.ending() or (0, ""))[0] == 1012


# --- the report ----------------------------------------------------------------------


async def test_the_report() -> None:
    """Per user and per thread without an owner: what nobody confirmed, and what of that no socket took."""
    async with served() as server, server.peer() as device:
        await device.attach("alice")
        await server.emit(2)
        await server.emit(3, "bob")
        await server.emit(1, "carol")
        await server.runtime.thread("orphan").emit("tick", {})
        async with leaving(server, AMPLE_SECONDS, device) as drain:
            pass
        assert drain.report.undelivered == (
            actors.Undelivered(count=3, unwritten=3, user_id="bob"),
            actors.Undelivered(count=1, unwritten=1, user_id="carol"),
            actors.Undelivered(count=1, unwritten=1, thread_id="orphan"),
        )
        assert str(drain.report).splitlines() == [
            "drained: 5 events not confirmed, 1 connection closed, 0 aborted, 0 runs cancelled",
            "  user bob: 3 not confirmed, 3 of them not written",
            "  user carol: 1 not confirmed, 1 of them not written",
            "  thread orphan, which has no owner: 1 not confirmed, 1 of them not written",
        ]


# --- how often, how long, how else -----------------------------------------------------


async def test_an_idle_runtime_is_gone_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """With nothing to wait for no time passes, in the drain, in another one, or on the way out."""
    async with actors.open_runtime() as runtime:
        await runtime.thread("t").emit("tick", {}, user_id="alice")
        await trio.sleep(0.5)
        begin = trio.current_time()
        first = await runtime.drain(10)
        assert await runtime.drain(10) == first
        assert trio.current_time() == begin
    assert trio.current_time() == begin


async def test_no_deadline() -> None:
    """With none a drain lasts as long as it takes; with idle devices that is not long."""
    async with served() as server, server.peer() as device:
        await device.attach("alice")
        async with leaving(server, math.inf, device) as drain:
            pass
        assert drain.codes == {0: 1012}
        assert drain.report == actors.DrainReport(undelivered=(), cancelled=(), abandoned=(), goodbyes=1, aborted=0)


async def test_deadline_zero() -> None:
    """With no time at all nobody is waited for, and yet everybody who listens is told, and gets what was there."""
    agent = Agent()
    async with (
        served(on_message=agent) as server,
        server.peer() as device,
        server.peer() as plain,
        narrow(server.address) as stalled,
    ):
        await device.attach("alice")
        await plain.open(cookie="actors_token=alice")
        await agent.asked(device)
        await stalled.attach("bob")
        await server.emit(60, "bob", size=16_000)
        async with leaving(server, 0, device, plain) as drain:
            pass
        assert drain.codes == {0: 1012, 1: 1012}
        assert types(device)[-1] == types(plain)[-1] == "agent_cancelled"
        assert (drain.report.goodbyes, drain.report.aborted) == (2, 1)
        assert server.failures() == []


async def test_at_once_again() -> None:
    """An address that was drained can be listened on when drain returns, while devices of old still hang on."""
    async with served() as server:
        assert isinstance(server.address, tuple)
        await server.runtime.drain(AMPLE_SECONDS)
        async with actors.open_runtime() as other, trio.open_nursery() as nursery:
            assert await nursery.start(other.serve, *server.address) == server.address
            nursery.cancel_scope.cancel()


async def test_a_cancelled_drain() -> None:
    """Cancelled, a drain stops where it is; nothing new is taken, and the runtime still closes as it should."""
    agent = Agent()
    async with served(on_message=agent) as server, server.peer() as device:
        await device.attach("alice")
        await agent.asked(device)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.runtime.drain, math.inf)
                await wait_all_tasks_blocked()
                scope.cancel()
        await device.say(SEND | {"id": "m2"})
        assert (await device.next_op("reply"))["error"]["name"] == "shutting_down"
        server.nursery.start_soon(live, device)
        server.runtime.thread("thread-of-alice").emit_nowait("tick", {}, user_id="alice")
        report = await server.runtime.drain(AMPLE_SECONDS, runs="cancel")
        assert len(report.cancelled) == 1
        assert types(device)[-2:] == ["tick", "agent_cancelled"]


REFUSED = "drain: expected a task outside of what it ends"


async def refused(runtime: actors.Runtime) -> None:
    """A drain that is refused, and says why."""
    with pytest.raises(RuntimeError, match=REFUSED):
        await runtime.drain(AMPLE_SECONDS)


async def refused_in_a_task(runtime: actors.Runtime) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, runtime)


async def refused_in_a_thread(runtime: actors.Runtime) -> None:
    await trio.to_thread.run_sync(trio.from_thread.run, refused, runtime)


async def refused_in_a_child(runtime: actors.Runtime) -> None:
    async with runtime.thread("other").run("helper"):
        await refused(runtime)


async def refused_behind_a_shield(runtime: actors.Runtime) -> None:
    with trio.CancelScope(shield=True):
        await refused(runtime)


CALLS = [refused, refused_in_a_task, refused_in_a_thread, refused_in_a_child, refused_behind_a_shield]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("within", ["a message's run", "a run of the host", "authenticate", "authorize"])
async def test_a_drain_from_inside_of_what_it_ends(within: str, call: Callable[[actors.Runtime], Any]) -> None:
    """It is refused before anything has happened: the runtime serves on, and can be drained from outside."""
    called = 0

    async def here(*_: object) -> Any:
        nonlocal called
        called += 1
        await call(server.runtime)
        return True if within == "authorize" else "alice" if within == "authenticate" else None

    hooks: dict[str, str] = {"a message's run": "on_message", "a run of the host": "on_message"}
    options: dict[str, Any] = {hooks.get(within, within): here}
    async with served(**options) as server, server.peer() as device:
        await device.attach("alice")
        if within == "a run of the host":
            async with server.runtime.thread("t1").run("bot"):
                await here()
        else:
            await device.say(SEND | ({"thread_id": "mine"} if within == "authorize" else {}))
            assert (await device.next_op("reply"))["ok"]
        if within == "a message's run":
            while "agent_completed" not in types(device):
                await device.next_message()
        assert called == 1
        assert server.failures() == []
        async with leaving(server, SHORT_SECONDS, device) as drain:
            pass
        assert drain.report.cancelled == ()


async def test_a_drain_beside_a_run() -> None:
    """A task of the host may drain while a run is open in the task that started it, or in which its nursery is."""
    async with served() as server, server.peer() as device, trio.open_nursery() as nursery:
        await device.attach("alice")
        reports: list[actors.DrainReport] = []

        async def drain() -> None:
            reports.append(await server.runtime.drain(AMPLE_SECONDS, runs="cancel"))

        server.nursery.start_soon(live, device)
        async with server.runtime.thread("t1").run("bot", run_id="r1"):
            nursery.start_soon(drain)
            await trio.sleep_forever()
    assert [report.cancelled for report in reports] == [("r1",)]


async def test_a_drain_that_a_run_starts_elsewhere() -> None:
    """A run may start the drain of its runtime in a nursery of the host; it has its time to finish, or is cancelled."""
    reports: list[actors.DrainReport] = []

    async def drain() -> None:
        reports.append(await server.runtime.drain(SHORT_SECONDS))

    async def agent(run: actors.Run, _: actors.Message) -> None:
        server.nursery.start_soon(drain)
        await trio.sleep_forever()

    async with served(on_message=agent) as server, server.peer() as device:
        await device.attach("alice")
        await device.say(SEND)
        await live(device)
        await wait_all_tasks_blocked()
    assert [len(report.cancelled) for report in reports] == [1]
    assert types(device)[-1] == "agent_cancelled"


async def test_a_drain_from_on_undelivered(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing waits for the hook, so it may drain."""
    reports: list[actors.DrainReport] = []

    async def give_up(_: actors.Fate) -> None:
        reports.append(await runtime.drain(AMPLE_SECONDS))

    async with actors.open_runtime(on_undelivered=give_up) as runtime:
        await runtime.thread("t1").emit("tick", {}, user_id="alice")
        await trio.sleep(100)
    assert [sum(one.count for one in report.undelivered) for report in reports] == [1]


async def test_two_drains_at_once() -> None:
    """A second drain hurries the first: the shorter deadline decides, and both report the same end."""
    agent = Agent()
    async with served(on_message=agent) as server, server.peer() as device:
        await device.attach("alice")
        run_id = await agent.asked(device)
        reports: list[actors.DrainReport] = []

        async def drain(seconds: float, runs: Any) -> None:
            reports.append(await server.runtime.drain(seconds, runs=runs))

        server.nursery.start_soon(live, device)
        with trio.fail_after(AMPLE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drain, 600, "finish")
                await wait_all_tasks_blocked()
                nursery.start_soon(drain, SHORT_SECONDS, "cancel")
        assert (run_id,) in [report.cancelled for report in reports]
        assert [report.undelivered for report in reports] == [(), ()]


@pytest.mark.parametrize("waiting", [False, True])
async def test_a_flood_meanwhile(waiting: bool) -> None:
    """Emitters and binders who go on through a drain are told at one moment; what was accepted until then is placed."""
    limits = actors.Limits(mailbox_messages=4)
    store = WaitingStore(0.001) if waiting else None
    receipts: list[actors.Receipt] = []

    async def flood(runtime: actors.Runtime, thread_id: str) -> None:
        with suppress(actors.RuntimeClosed):
            while True:
                await runtime.bind(thread_id, f"user-{thread_id}")
                receipts.append(await runtime.thread(thread_id).emit("tick", {}))

    async with actors.open_runtime(store=store, limits=limits) as runtime, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(flood, runtime, f"t{number}")
        await trio.sleep(0.02)
        report = await runtime.drain(AMPLE_SECONDS)
        assert runtime.audit().total.queued == 0
        await wait_all_tasks_blocked()  # what was accepted has returned
        assert sum(one.count for one in report.undelivered) == len(receipts) > 0
        assert {receipt.stage for receipt in receipts} == {Stage.STORED}


# --- without a drain -------------------------------------------------------------------


class HostError(Exception):
    """The host has a problem of its own."""


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("way", ["returns", "raises", "is cancelled"])
async def test_a_host_that_just_leaves(way: str, waiting: bool) -> None:
    """However the body ends: its runs are cancelled, their last events are stored and written, and then comes 1012."""
    agent, limits, codes = Agent(), actors.Limits(), list[int | None]()
    store = WaitingStore(0.01) if waiting else None
    async with AsyncExitStack() as stack, trio.open_nursery() as outside:
        with trio.fail_after(PATIENCE_SECONDS), suppress(HostError), trio.CancelScope() as body:
            async with actors.open_runtime(on_message=agent, store=store, limits=limits) as runtime:
                device = await stack.enter_async_context(connected(await outside.start(runtime.serve)))
                await device.attach("alice")
                await agent.asked(device)

                async def read() -> None:
                    codes.append(await live(device))

                outside.start_soon(read)
                if way == "raises":
                    raise HostError
                if way == "is cancelled":
                    body.cancel()
                    await trio.sleep_forever()
    assert codes == [1012]
    assert types(device)[-1] == "agent_cancelled"
    assert len(told(device)) == 1
