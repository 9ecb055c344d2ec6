"""The server: what a host hands over, and what everybody is told when it closes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from unittest.mock import ANY

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import actors
from actors.server.visit import Arrival
from actors.wire.endpoint import SocketEndpoint
from actors.wire.http import HeadReader
from tests.support.carried import Held, carried
from tests.support.raw import ACTORS, Answer, Peer, upgrade_request
from tests.support.served import PATIENCE_SECONDS, Served, deliver, served

ALICE = "actors_token=alice"


async def test_handle_socket_stream() -> None:
    """A host's own listener can hand its connections over."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery, actors.open_runtime() as runtime:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

            async def take(stream: trio.SocketStream) -> None:
                await runtime.handle(stream)

            nursery.start_soon(partial(trio.serve_listeners, take, [listener]))
            server = Served(runtime, listener.socket.getsockname()[:2], nursery)
            async with server.peer() as peer:
                await deliver(server, peer)
            await server.all_gone()
            nursery.cancel_scope.cancel()


async def test_handle_any_stream() -> None:
    """Any stream will do, in memory for example; ``handle`` returns when its connection has ended."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(runtime.handle, ours)
            await deliver(Served(runtime, "memory", nursery), Peer(theirs))


async def test_handle_a_stream_that_is_not_read() -> None:
    """``handle`` returns although its peer never reads what the stream has taken."""
    ours, theirs = memory_stream_pair()
    assert isinstance(ours.send_stream, trio.testing.MemorySendStream)
    ours.send_stream.send_all_hook = trio.sleep_forever
    with trio.fail_after(PATIENCE_SECONDS):
        async with actors.open_runtime(limits=actors.Limits(close_seconds=0.05)) as runtime:
            await theirs.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            await runtime.handle(ours)
            assert list(runtime.failures) == []


async def test_handle_what_is_closed() -> None:
    """A socket that is closed already is an error of the call, and comes out of it bare."""
    async with actors.open_runtime() as runtime:
        ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in socket.socketpair())
        await ours.aclose()
        with pytest.raises(ValueError, match="negative file descriptor"):
            await runtime.handle(ours)
        await theirs.aclose()


@pytest.mark.parametrize("state", ["saying hello", "idle", "not reading"])
async def test_handle_cancelled(state: str) -> None:
    """Its connection is closed as it stands: no Close claims that the device has left, and nothing stays behind."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery, actors.open_runtime() as runtime:
            ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in socket.socketpair())
            async with theirs:
                server, peer = Served(runtime, "a pair", nursery), Peer(theirs)
                async with trio.open_nursery() as host:
                    host.start_soon(runtime.handle, ours)
                    if state == "saying hello":
                        await peer.open(ACTORS)
                    else:
                        await peer.attach("alice")
                    if state == "not reading":
                        await server.emit(40, size=20_000)
                    await wait_all_tasks_blocked()
                    host.cancel_scope.cancel()
                assert runtime.tree.server.connections == {}
                assert runtime.devices("alice") == 0
                assert server.failures() == []
                if state != "not reading":  # the socket was aborted within a frame
                    assert await peer.ending() is None
            nursery.cancel_scope.cancel()


async def test_shutting_down() -> None:
    """A runtime that closes tells everybody so, whatever they speak; events it had emitted still go out before."""
    async with served() as server:
        async with server.peer() as device, server.peer() as plain, server.peer() as silent:
            await device.attach("alice")
            await plain.open(cookie=ALICE)
            await silent.open(ACTORS)
            await server.emit(1)
            endings: list[tuple[int, str] | None] = []

            async def watch(peer: Peer) -> None:
                endings.append(await peer.farewell())

            async with trio.open_nursery() as nursery:
                for peer in (device, plain, silent):
                    nursery.start_soon(watch, peer)
                await wait_all_tasks_blocked()
                server.runtime.tree.server.close()
            assert [ending[0] for ending in endings if ending is not None] == [1012] * 3
            for peer in (device, plain):
                assert [message["offset"] for message in peer.messages() if "type" in message] == [1]
        with pytest.raises(actors.RuntimeClosed):
            await server.runtime.serve()


# --- a request that the host has read --------------------------------------------


@asynccontextmanager
async def handed(server: Served, *offers: str, user_id: str | None = None, **options: Any) -> AsyncIterator[Peer]:
    """A peer whose request the host has read."""
    head = HeadReader(10_000).feed(upgrade_request(*offers, **options))
    ours, theirs = memory_stream_pair()
    server.nursery.start_soon(partial(server.runtime.handle, ours, head=head, user_id=user_id))
    yield Peer(theirs)
    await theirs.aclose()


async def test_a_request_that_was_read() -> None:
    """The host reads the request, and the rest is as it would be: the upgrade, the hello, the events."""
    async with served() as server, handed(server, ACTORS) as peer:
        answer = await peer.answer()
        assert (answer.status, answer.headers["sec-websocket-protocol"]) == (101, ACTORS)
        await peer.hello("alice")
        await server.emit(1)
        assert (await peer.next_event())["offset"] == 1


@pytest.mark.parametrize("token", [None, "mallory"])
async def test_a_user_that_the_host_knows(token: str | None) -> None:
    """No credential counts beside the host's own knowledge, not even a token that would be believed."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        return pytest.fail(f"asked about {credentials}")

    async with served(authenticate=authenticate) as server:
        offers = ACTORS, "actors.ticket.mallory"
        async with handed(server, *offers, user_id="alice", cookie="actors_token=mallory") as one:
            assert (await one.answer()).status == 101
            await one.hello(token)
            await server.emit(1)
            assert (await one.next_event())["offset"] == 1
        async with handed(server, user_id="bob") as plain:
            assert (await plain.answer()).status == 101
            await server.emit(1, "bob")
            assert (await plain.next_event())["thread_id"] == "thread-of-bob"


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1"])
async def test_a_user_that_the_host_knows_and_a_page_of_others(origin: str) -> None:
    """The host may know its user by a cookie, which browsers send along from every page: the origin is checked."""
    async with served() as server, handed(server, ACTORS, user_id="alice", origin=origin) as peer:
        answer = await peer.answer()
        assert (answer.status, origin in answer.body) == (403, True)


async def test_a_user_that_the_host_knows_at_a_public_name() -> None:
    """Without ``authenticate`` pages of a public name are kept out: any token would do. Here none is asked for."""
    async with served() as server:
        page = {"host": "chat.example", "origin": "https://chat.example"}
        async with handed(server, ACTORS, user_id="alice", **page) as peer:
            assert (await peer.answer()).status == 101
        async with handed(server, ACTORS, **page) as peer:
            assert (await peer.answer()).status == 403


async def test_a_user_who_is_revoked_meanwhile() -> None:
    """Between the host's look and the first step of the connection a user may be revoked: then there is none."""
    ours, theirs = socket.socketpair()
    gone, arrival = trio.Event(), Arrival(head=HeadReader(9_999).feed(upgrade_request()), user_id="alice")
    async with served() as server:
        server.runtime.tree.server.receive(SocketEndpoint(ours), server.nursery, on_gone=gone.set, arrival=arrival)
        server.runtime.revoke("alice")
        await gone.wait()
        assert theirs.recv(100) == b""
        assert server.runtime.devices("alice") == 0
    theirs.close()


async def test_who_can_be_no_user() -> None:
    """What can be no user is an error of the call."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(actors.Unencodable, match="user_id"):
            await runtime.handle(memory_stream_pair()[0], user_id="")


async def test_a_request_that_was_read_while_the_runtime_drains() -> None:
    """The socket is the host's and open: who comes while the runtime goes away is told so, until it has gone."""
    async with served() as server:
        async with trio.open_nursery() as nursery, server.runtime.thread("t1").run("agent"):
            nursery.start_soon(server.runtime.drain, PATIENCE_SECONDS)
            await wait_all_tasks_blocked()
            async with handed(server, ACTORS) as peer:
                assert (await peer.answer()).status == 503
            async with handed(server, path="/healthz") as peer:
                assert await peer.answer() == Answer(503, ANY, "draining\n")
        with pytest.raises(actors.RuntimeClosed):
            await server.runtime.handle(memory_stream_pair()[0], head=HeadReader(9_999).feed(upgrade_request()))


# --- a socket that its carrier keeps ---------------------------------------------


@pytest.mark.parametrize(("limits", "user_id"), [({"connections": 1}, "bob"), ({"connections_per_user": 1}, "alice")])
async def test_a_socket_that_is_held_takes_room(limits: dict[str, int], user_id: str) -> None:
    """An aborted socket that another server keeps is there, whatever the runtime thinks of it: it counts."""
    carrier = Held()
    async with served(limits=actors.Limits(close_seconds=0.2, **limits)) as server:
        async with carried(server, carrier) as peer:
            await peer.attach("alice")
            await peer.leave()
        await server.all_gone()
        assert (server.runtime.tree.server.held, server.runtime.devices("alice")) == (1, 0)
        for let_go in (False, True):
            if let_go:
                carrier.released.set()
                await wait_all_tasks_blocked()
            async with server.peer() as next_one:
                answer = await next_one.ask(upgrade_request(ACTORS))
                if answer.status == 101:
                    await next_one.say({"op": "hello", "v": 1, "token": user_id})
                    assert (await next_one.next_message())["op"] == ("welcome" if let_go else "error")
                else:
                    assert (answer.status, let_go) == (503, False)


async def test_a_socket_that_is_held_keeps_no_drain() -> None:
    """A drain does not wait for another server to let go of a socket, and counts its connection as it ended."""
    async with served() as server:
        async with carried(server, Held()) as peer:
            await peer.attach("alice")
            server.runtime.tree.server.revoke("alice")
            await peer.farewell()
        await server.all_gone()
        report = await server.runtime.drain(30.0)
        assert (report.goodbyes, report.aborted, server.runtime.tree.server.held) == (0, 0, 1)
        server.nursery.cancel_scope.cancel()
