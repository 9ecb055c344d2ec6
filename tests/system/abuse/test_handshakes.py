"""Sockets that do not become connections: they cost little, for a short time, and only so many at once."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trio
import trio.testing
import trustme

import actors
from tests.support.raw import ACTORS, Peer, upgrade_request
from tests.support.served import Served, served
from tests.system.abuse.bystander import bystander, unharmed
from tests.system.abuse.test_memory import growth

SLOW = 300
SLOW_BYTES = 20 * 1024
"""The bytes that a slow handshake may cost."""

REQUEST = upgrade_request(ACTORS, extra=[("X-Filler", "x" * 100)])


@contextmanager
def sockets(server: Served, count: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing."""
    assert isinstance(server.address, tuple)
    opened = [socket.create_connection(server.address) for _ in range(count)]
    try:
        yield opened
    finally:
        for one in opened:
            one.close()


async def drip(peers: list[socket.socket]) -> None:
    """Each sends its request a byte at a time, for as long as it may."""
    for at in range(len(REQUEST) - 1):
        for peer in peers:
            with suppress(OSError):
                peer.send(REQUEST[at : at + 1])
        await trio.sleep(0.02)


@pytest.mark.slow
async def test_slow_handshakes() -> None:
    """Hundreds of requests that come a byte at a time are answered 408 when their time is over; others attach and are
    delivered to meanwhile."""
    async with served(limits=actors.Limits(request_head_seconds=1.0)) as server:
        with sockets(server, SLOW) as peers:
            async with bystander(server), trio.open_nursery() as nursery:
                nursery.start_soon(drip, peers)
                # It is accepted after all of them, because it came after them; how many are here at one time depends
                # on how fast the machine accepts.
                async with server.peer() as newcomer:
                    await newcomer.attach("bob")
                while server.runtime.tree.server.sockets > 1:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            answers = [peer.recv(1_000) for peer in peers]
            assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}
        await unharmed(server)


async def test_what_a_slow_handshake_costs() -> None:
    """A request that does not end costs at most 20 KiB."""
    async with served() as server:
        with sockets(server, 100) as peers:
            for peer in peers:
                peer.send(REQUEST[:-1])
            with growth() as told:
                while server.runtime.tree.server.sockets < len(peers):
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert told[0] <= len(peers) * SLOW_BYTES


async def test_so_many_handshakes() -> None:
    """Beyond so many handshakes a socket is closed as it comes; as soon as one has ended, the next is welcome."""
    async with served(limits=actors.Limits(handshakes=5)) as server, server.peer() as settled:
        await settled.attach("alice")
        with sockets(server, 80) as peers:
            while server.runtime.tree.server.sockets < 6:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert server.runtime.tree.server.sockets == 6
            assert [peer.recv(1) for peer in peers[5:]] == [b""] * 75
            (receipt,) = await server.emit(1)
            assert (await settled.next_event())["offset"] == receipt.offset
        while server.runtime.tree.server.sockets > 1:
            await trio.lowlevel.checkpoint()
        async with server.peer() as newcomer:
            await newcomer.attach("bob")


async def test_so_many_connections() -> None:
    """So many connections in total, and so many of one user: one more is told so, and the others stay."""
    limits = actors.Limits(connections=3, connections_per_user=2)
    async with served(limits=limits) as server, server.peer() as first, server.peer() as second, server.peer() as third:
        await first.attach("mallory")
        await second.attach("mallory")
        await third.open(ACTORS)
        await third.say({"op": "hello", "v": 1, "token": "mallory"})
        ending = await third.farewell()
        assert ending is not None
        assert ending[0] == 4004
        async with server.peer() as fourth, server.peer() as fifth:
            await fourth.attach("alice")
            answer = await fifth.ask(upgrade_request(ACTORS))
            assert answer.status == 503
            for peer in (first, second, fourth):
                await peer.echo()


async def test_a_stranger_is_asked_about_for_so_long() -> None:
    """While the application thinks about one client's credentials, others attach."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        if credentials.token == "mallory":
            await trio.sleep_forever()
        return credentials.token

    limits = actors.Limits(authenticate_seconds=0.3)
    async with served(authenticate=authenticate, limits=limits) as server, server.peer() as slow:
        await slow.open(ACTORS)
        await slow.say({"op": "hello", "v": 1, "token": "mallory"})
        async with server.peer() as good:
            await good.attach("alice")
        ending = await slow.farewell()
        assert ending is not None
        assert ending[0] == 4007


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01",
        b"\x16\x03\x01\x40\x00" + b"\xff" * 20_000,
        b"\x16\x03\x01\x00\x05" + b"\x01\x00\x00\x01\x00" * 100,
        b"\x00" * 30_000,
    ],
    ids=["nothing", "plain", "a_beginning", "too_large", "nonsense", "zeros"],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_at_a_door_with_tls(said: bytes, reset: bool) -> None:
    """Bytes that are no TLS cost their own socket, within the time of a request, and no other delivery."""
    authority = trustme.CA()
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(trusting)
    limits = actors.Limits(request_head_seconds=0.3, close_seconds=0.3)
    async with served({"ssl_context": context}, limits=limits) as server:
        assert isinstance(server.address, tuple)
        for _ in range(20):
            async with server.peer() as peer:
                await peer.send(said)
                if reset:
                    peer.reset()
        while server.runtime.tree.server.sockets:
            await trio.lowlevel.checkpoint()
        stream = await trio.open_ssl_over_tcp_stream(*server.address, ssl_context=trusting)
        await Peer(stream).attach("alice")
        await trio.aclose_forcefully(stream)
        assert server.failures() == []
