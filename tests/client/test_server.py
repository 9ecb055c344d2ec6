"""A client and the real server, with everything in between going wrong at every place that there is."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme

import actors
from actors.client import Cursor, Event, Reset, Sent, Session, SessionEnded, connect
from actors.stores.memory import MemoryStore
from actors.testing import FaultProxy, Faults, Way, fault_proxy
from actors.wire.transport import Transport
from tests.support.raw import ACTORS
from tests.support.served import PATIENCE_SECONDS, Served, served


async def events(session: Session, count: int) -> list[Event]:
    """The next events."""
    got: list[Event] = []
    while len(got) < count:
        item = await anext(session)
        if isinstance(item, Event):
            got.append(item)
    return got


@asynccontextmanager
async def through(*faults: Faults, **options: Any) -> AsyncIterator[tuple[Served, FaultProxy]]:
    """A server behind a proxy that treats the first connections with these faults."""
    waiting = list(faults)
    async with served(**options) as server:
        assert isinstance(server.address, tuple)
        async with fault_proxy(*server.address, lambda: waiting.pop(0) if waiting else Faults()) as proxy:
            yield server, proxy


async def say_and_listen(faults: Faults) -> int:
    """Receive three events and place one message over a connection with such an end; how often it connected."""
    answered: list[str] = []

    async def answer(run: actors.Run, message: actors.Message) -> None:
        answered.append(message.event_id)

    async with through(faults, on_message=answer) as (server, proxy):
        receipts = await server.emit(3)
        async with connect(proxy.url, token="alice") as session, trio.open_nursery() as nursery:
            sent: list[Sent] = []

            async def send() -> None:
                sent.append(await session.send({"text": "hi"}, thread_id="thread-of-alice"))

            nursery.start_soon(send)
            got = await events(session, 6)
        assert [event.offset for event in got] == list(range(1, 7))
        assert [event.event_id for event in got if event.type == "tick"] == [one.event_id for one in receipts]
        assert [event.type for event in got if event.type != "tick"] == [
            "user_message",
            "agent_started",
            "agent_completed",
        ]
        assert [event.event_id for event in got if event.type == "user_message"] == [sent[0].event_id] == answered
        assert not server.failures()
        return proxy.connections


@pytest.mark.slow
@pytest.mark.parametrize(("direction", "most"), [("up", 500), ("down", 1_000)])
async def test_cut_anywhere(direction: str, most: int) -> None:
    """Wherever the connection ends, in the upgrade, in a frame or between two, everything comes once and in order, and
    what was said is placed once and answered by one run."""
    places = [nbytes for nbytes in range(most) if nbytes < 30 or nbytes % 7 == 0]
    for first in range(0, len(places), 50):
        async with trio.open_nursery() as nursery:
            for nbytes in places[first : first + 50]:
                ways: Any = {direction: Way(limit_bytes=nbytes)}
                nursery.start_soon(say_and_listen, Faults(harm="reset" if nbytes % 2 else "close", **ways))


async def test_a_message_that_trickles_in() -> None:
    """However finely the network slices a large message, it is one message."""
    async with through(Faults(up=Way(slice_bytes=(1, 7)))) as (_, proxy), connect(proxy.url, token="alice") as session:
        sent = await session.send({"text": "x" * 60_000})
        (event,) = await events(session, 1)
        assert event.event_id == sent.event_id
        assert len(event.payload["text"]) == 60_000
        assert proxy.connections == 1


async def test_a_refused_connection() -> None:
    """A connection that is refused is tried again."""
    assert await say_and_listen(Faults(refuse=True)) == 2


async def test_a_reply_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has placed the message when the connection ends: sent again, it is the same message and the same
    run, and the reply comes."""
    started: list[str] = []

    async def answer(run: actors.Run, message: actors.Message) -> None:
        started.append(run.run_id)
        await trio.sleep_forever()

    async with through(on_message=answer) as (_, proxy), connect(proxy.url, token="alice") as session:
        await anext(session)
        monkeypatch.setattr(Transport, "write", lambda *_: True)
        async with trio.open_nursery() as nursery:
            sent: list[Sent] = []

            async def send() -> None:
                sent.append(await session.send({"text": "hi"}))

            nursery.start_soon(send)
            while not started:
                await trio.lowlevel.checkpoint()
            monkeypatch.undo()
            proxy.cut()
        assert started == [sent[0].run_id]
        got = await events(session, 2)
        assert [event.type for event in got] == ["user_message", "agent_started"]
        assert (await session.cancel(started[0])).stopped == (started[0],)


async def test_a_server_that_is_killed_and_started_again() -> None:
    """A reset of the log reaches the application, and the session goes on with the new log."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery, served() as server:
            assert isinstance(server.address, tuple)
            async with fault_proxy(*server.address) as proxy:
                await server.emit(3)
                async with connect(proxy.url, token="alice") as session:
                    await events(session, 3)
                    async with served() as other:
                        assert isinstance(other.address, tuple)
                        await other.emit(2)
                        proxy.target = other.address
                        proxy.cut()
                        while not isinstance(item := await anext(session), Reset):
                            pass
                        assert item.low == 1
                        assert [event.offset for event in await events(session, 2)] == [1, 2]
            nursery.cancel_scope.cancel()


async def test_a_cursor_outlives_the_application() -> None:
    """What was taken does not come again, and nothing that was not is missed."""
    async with through() as (server, proxy):
        await server.emit(4)
        cursor: Cursor | None
        async with connect(proxy.url, token="alice") as session:
            await events(session, 2)
            cursor = session.cursor
        async with connect(proxy.url, token="alice", cursor=cursor) as session:
            assert [event.offset for event in await events(session, 2)] == [3, 4]


async def test_a_wrong_token() -> None:
    """The iterator raises with the reason that the server gave."""

    async def nobody(credentials: actors.Credentials) -> str | None:
        return None

    async with through(authenticate=nobody) as (_, proxy), connect(proxy.url, token="guess") as session:
        with pytest.raises(SessionEnded, match="4501") as caught:
            await anext(session)
        assert caught.value.code == 4501


async def test_drained() -> None:
    """A server that shuts down is no error: taken items are acked first, and the client waits for the time it asked."""
    async with through() as (server, proxy):
        receipts = await server.emit(3)
        async with connect(proxy.url, token="alice") as session, trio.open_nursery() as nursery:
            await events(session, 3)
            nursery.start_soon(anext, session)
            report = await server.runtime.drain(5)
            assert all(receipt.stage is actors.Stage.ACKED for receipt in receipts), report
            nursery.cancel_scope.cancel()


async def test_over_tls() -> None:
    """``wss:`` with a certificate that is trusted; one that is not is refused for good, and says why."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with served({"ssl_context": context}) as server:
        await server.emit(2)
        url = f"wss://localhost:{server.address[1]}/ws"
        async with connect(url, token="alice", ssl_context=trusting) as session:
            assert [event.offset for event in await events(session, 2)] == [1, 2]
        async with connect(url, token="alice") as session:
            with pytest.raises(SessionEnded, match="certificate"):
                await anext(session)


# --- cancelled ----------------------------------------------------------------------------


async def nth_step(work: Any, steps: int) -> bool:
    """Work in a scope that is cancelled after so many steps of the scheduler; whether it came to its end."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def count_down() -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(count_down)
            await work()
            nursery.cancel_scope.cancel()
    return not scope.cancelled_caught


@pytest.mark.slow
async def test_cancelled_while_iterating_after_any_number_of_steps() -> None:
    """The session stays as it was: the next iteration gets the next item, and none is lost or doubled."""
    async with through() as (server, proxy), connect(proxy.url, token="alice") as session:
        got: list[int] = []

        async def take() -> None:
            got.extend([item.offset for item in [await anext(session)] if isinstance(item, Event)])

        for steps in range(60):
            await server.emit(1)
            await nth_step(take, steps)
        while len(got) < 60:
            await take()
        assert got == list(range(1, 61))


@pytest.mark.slow
async def test_cancelled_while_sending_after_any_number_of_steps() -> None:
    """A message is placed once or not at all; the session is good for the next one."""
    async with through() as (_, proxy), connect(proxy.url, token="alice") as session:
        for steps in range(60):

            async def send(number: int = steps) -> None:
                await session.send({"n": number})

            await nth_step(send, steps)
        last = await session.send({"n": "last"})
        got = [event.payload["n"] for event in await events(session, last.offset)]
        assert got[-1] == "last"
        assert got[:-1] == sorted(set(got[:-1]))


@pytest.mark.slow
async def test_cancelled_around_the_block_after_any_number_of_steps() -> None:
    """Whatever it is doing, the block ends at once, nothing is left running, and the server notices."""
    async with through() as (server, proxy):
        await server.emit(5)

        async def live() -> None:
            async with connect(proxy.url, token="alice") as session, trio.open_nursery() as nursery:
                nursery.start_soon(session.send, {"text": "hi"})
                await events(session, 6)

        steps, finished = 0, False
        while not finished and steps < 2_000:
            finished = await nth_step(live, steps)
            steps += 1 + steps // 10
        await server.all_gone()
        assert not server.failures()


async def test_a_log_that_goes_on_under_another_name() -> None:
    """A session that has seen nothing of what is lost goes on over its connection, and acks what it was sent before."""
    async with served() as server:
        store = server.runtime.tree.store
        assert isinstance(store, MemoryStore)
        assert isinstance(server.address, tuple)
        url = f"ws://{server.address[0]}:{server.address[1]}/ws"
        async with connect(url, token="alice") as session:
            before = await server.emit(2)
            await events(session, 2)
            epoch = session.cursor
            store.state.fork("alice", 2)
            assert "1 device: c1 " in (told := str(server.runtime.explain(before[1])))
            assert "another epoch" not in told
            (after,) = await server.emit(1)
            assert [event.offset for event in await events(session, 1)] == [3]
            assert session.cursor == Cursor(store.state.bounds("alice").epoch, 3) != epoch
        for receipt in [*before]:
            await receipt.reached(actors.Stage.ACKED)
        assert after.stage is actors.Stage.WRITTEN, "it was in hand when the session was left"
        assert server.runtime.audit().balanced


@pytest.mark.parametrize("renames", [True, False])
async def test_a_device_that_saw_what_is_lost(renames: bool) -> None:
    """A device beyond the fork begins again, and the receipt of what it saw does not take another event's ack."""
    async with served() as server, server.peer() as peer:
        store = server.runtime.tree.store
        assert isinstance(store, MemoryStore)
        await peer.open(ACTORS)
        await peer.say({"op": "hello", "v": 1, "token": "alice", "renames": renames})
        receipts = await server.emit(2)
        while (await peer.next_event())["offset"] < 2:
            continue
        store.state.fork("alice", 1)
        (after,) = await server.emit(1)
        assert (await peer.next_op("reset"))["low"] == 1
        await peer.say({"op": "pong"})
        while (await peer.next_event())["offset"] < 2:
            continue
        await peer.ack(2)
        await after.reached(actors.Stage.ACKED)
        assert [receipt.stage for receipt in receipts] == [actors.Stage.ACKED, actors.Stage.UNCONFIRMED]
        assert receipts[1].cause is actors.Cause.LOST
