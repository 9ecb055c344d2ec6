"""Connections that their devices have given up while they were being checked: they end, and do nothing more."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import pytest
import trio
import trustme

import actors
from actors.stages import Stage
from tests.support.raw import ACTORS, TEXT, Message, Peer, close_frame, frame, upgrade_request
from tests.support.served import Served, served

GiveUp = Callable[[Peer], Awaitable[None]]


async def say_close(peer: Peer) -> None:
    """As a WebSocket library closes: a Close frame, and then it waits for the answer."""
    await peer.send(close_frame(1000))


async def say_close_in_pieces(peer: Peer) -> None:
    """As the network may cut it."""
    for byte in close_frame(1000):
        await peer.send(bytes([byte]))


async def drop(peer: Peer) -> None:
    """As a process ends: FIN, whatever was unread."""
    await trio.aclose_forcefully(peer.stream)


async def half_close(peer: Peer) -> None:
    """FIN, and it reads on: a WebSocket on which no pong can come is none."""
    assert isinstance(peer.stream, trio.SocketStream)
    await peer.stream.send_eof()


async def reset(peer: Peer) -> None:
    """RST, as a machine that has restarted answers."""
    peer.reset()


WAYS: list[GiveUp] = [say_close, say_close_in_pieces, drop, half_close, reset]


@attrs.define
class Desk:
    """Checks tokens: ``slow`` ones are the same users' as others, and take until the desk is cleared."""

    asked: trio.Event = attrs.field(factory=trio.Event)
    cleared: trio.Event = attrs.field(factory=trio.Event)
    answered: trio.Event = attrs.field(factory=trio.Event)

    async def authenticate(self, credentials: actors.Credentials) -> str:
        """The user's name."""
        name, _, slow = credentials.token.partition("-")
        if slow:
            self.asked.set()
            await self.cleared.wait()
            self.answered.set()
        return name


@asynccontextmanager
async def desk(**serve: object) -> AsyncIterator[tuple[Desk, Served]]:
    """A server with an application that takes its time."""
    checks = Desk()
    async with served(serve, authenticate=checks.authenticate) as server:
        yield checks, server
        assert not server.failures()


def hello(session: str, **fields: object) -> bytes:
    """A hello of this session that takes long to check."""
    early_frames: Message = {"op": "hello", "v": 1, "token": "alice-slow", "session": session, **fields}
    return frame(TEXT, json.dumps(early_frames).encode())


async def settle(server: Served, checks: Desk, connections: int) -> None:
    """The application answers; then the connection that was given up is over."""
    checks.cleared.set()
    await checks.answered.wait()
    while len(server.runtime.tree.server.connections) > connections:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("early", ["", "ack", "send", "much"])
async def test_it_supersedes_none(way: GiveUp, early: str) -> None:
    """A client that connects again while it is being checked keeps its new connection, whatever it had said early on
    the old one, and however it gave that one up; nothing that it said there is carried out."""
    early_frames = {
        "": b"",
        "ack": frame(TEXT, b'{"op":"ack","offset":1}'),
        "send": frame(TEXT, b'{"op":"send","id":"c1","payload":{}}') * 3,
        "much": frame(TEXT, b'{"op":"send","id":"c1","payload":{"x":"%s"}}' % (b"x" * 20_000)),
    }[early]
    async with desk() as (checks, server):
        async with server.peer() as first:
            session = (await first.attach("alice"))["session"]
            await first.leave()
        async with server.peer() as given_up, server.peer() as peer:
            await given_up.open(ACTORS)
            await given_up.send(hello(session) + early_frames)
            await checks.asked.wait()
            await way(given_up)
            welcome = await peer.attach("alice", session=session)
            assert welcome["session"] == session
            await settle(server, checks, connections=1)
            (receipt,) = await server.emit(1)
            event = await peer.next_event()
            assert (event["type"], event["offset"]) == ("tick", 1)
            await peer.ack(1)
            await receipt.reached(Stage.ACKED)
            assert server.runtime.devices("alice") == 1


async def test_its_close_is_answered_in_kind() -> None:
    """With the peer's own code and reason, as RFC 6455 has it."""
    async with desk() as (checks, server), server.peer() as given_up:
        await given_up.open(ACTORS)
        await given_up.send(hello(""))
        await checks.asked.wait()
        await given_up.send(close_frame(4321, "enough"))
        await settle(server, checks, connections=0)
        assert await given_up.ending() == (4321, "enough")


@pytest.mark.parametrize("way", [say_close, drop, half_close, reset], ids=lambda way: way.__name__)
async def test_it_supersedes_none_over_tls(way: GiveUp) -> None:
    """Over TLS as well."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with desk(ssl_context=context) as (checks, server):

        async def dial() -> tuple[Peer, Peer]:
            below = await trio.open_tcp_stream(*server.address)
            lines.push_async_callback(trio.aclose_forcefully, below)
            return Peer(trio.SSLStream(below, trusting, server_hostname="localhost")), Peer(below)

        async with AsyncExitStack() as lines:
            peer, _ = await dial()
            session = (await peer.attach("alice"))["session"]
            await peer.leave()
            given_up, below = await dial()
            await given_up.open(ACTORS)
            await given_up.send(hello(session))
            await checks.asked.wait()
            await way(given_up if way is say_close else below)
            peer, _ = await dial()
            await peer.attach("alice", session=session)
            await settle(server, checks, connections=1)
            await server.emit(1)
            assert (await peer.next_event())["offset"] == 1


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_nothing_is_written_to_it(way: GiveUp) -> None:
    """A plain client that goes while its cookie is checked has been written nothing: what waits is the next one's."""
    async with desk() as (checks, server):
        (receipt,) = await server.emit(1)
        async with server.peer() as given_up:
            await given_up.send(upgrade_request(cookie="actors_token=alice-slow"))
            await checks.asked.wait()
            await way(given_up)
            await settle(server, checks, connections=0)
        assert receipt.stage is Stage.STORED
        async with server.peer() as peer:
            await peer.send(upgrade_request(cookie="actors_token=alice"))
            await peer.answer()
            assert (await peer.next_event())["offset"] == 1


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_ticket_that_is_checked_before_the_upgrade(way: GiveUp) -> None:
    """A hello behind a request whose ticket takes long to check supersedes none, if its client has gone by then."""
    async with desk() as (checks, server):
        async with server.peer() as first:
            session = (await first.attach("alice"))["session"]
            await first.leave()
        async with server.peer() as given_up, server.peer() as peer:
            hello_bytes = b'{"op":"hello","v":1,"session":"%s"}' % session.encode()
            offers = f"{ACTORS}, actors.ticket.alice-slow"
            await given_up.send(upgrade_request(offers) + frame(TEXT, hello_bytes))
            await checks.asked.wait()
            await way(given_up)
            await peer.attach("alice", session=session)
            await settle(server, checks, connections=1)
            await server.emit(1)
            assert (await peer.next_event())["offset"] == 1


async def test_what_came_early_is_not_lost() -> None:
    """A client that stays is served all that it said while it was being checked, in order."""
    async with desk() as (checks, server), server.peer() as peer:
        receipts = await server.emit(3)
        await peer.open(ACTORS)
        early = [frame(TEXT, b'{"op":"send","id":"c%d","payload":{"n":%d}}' % (n, n)) for n in range(8)]
        await peer.send(hello("") + b"".join(early[:4]))
        await checks.asked.wait()
        for piece in early[4:]:
            await peer.send(piece[:9])
            await trio.sleep(0.01)
            await peer.send(piece[9:])
        checks.cleared.set()
        replies = [(await peer.next_op("reply"))["id"] for _ in early]
        assert replies == [f"c{n}" for n in range(8)]
        await peer.ack(3)
        await receipts[2].reached(Stage.ACKED)
