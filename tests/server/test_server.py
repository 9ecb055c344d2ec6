"""The server: what a host hands over, and what everybody is told when it closes."""

from __future__ import annotations

import socket
from functools import partial

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import actors
from tests.support.raw import ACTORS, Peer
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
