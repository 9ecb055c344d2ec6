"""A WebSocket over a transport, without a connection around it: the order of things at its end."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio

from actors.errors import PeerError
from actors.limits import Limits
from actors.wire.endpoint import SocketEndpoint
from actors.wire.transport import Transport
from actors.wire.websocket import WebSocket
from tests.support.raw import BINARY, CLOSE, PING, TEXT, frame


class Bench:
    """A WebSocket that is open, and its peer's socket."""

    def __init__(self, nursery: trio.Nursery) -> None:
        ours, self.peer = socket.socketpair()
        self.transport = Transport(
            SocketEndpoint(ours), nursery, limits=Limits(), on_drained=lambda: None, on_failed=lambda _: None
        )
        self.heard: list[float] = []
        self.websocket = WebSocket(self.transport, Limits(), on_received=self.heard.append)
        self.peer.setblocking(False)

    def answer(self) -> bytes:
        """What the peer was sent; nothing if nothing was."""
        try:
            return self.peer.recv(1_000)
        except BlockingIOError:
            return b""


@pytest.fixture
async def bench(nursery: trio.Nursery) -> AsyncIterator[Bench]:
    """One of them, closed at the end."""
    bench = Bench(nursery)
    yield bench
    bench.transport.close()
    bench.peer.close()


async def test_a_close_is_answered_after_the_messages_before_it(bench: Bench) -> None:
    """So that what they ask for can still be said."""
    bench.peer.send(frame(TEXT, b"one") + frame(TEXT, b"two") + frame(CLOSE, b"\x03\xe8"))
    assert await bench.websocket.receive() == "one"
    assert await bench.websocket.receive() == "two"
    assert bench.answer() == b""
    with pytest.raises(PeerError) as caught:
        await bench.websocket.receive()
    assert caught.value.name == "left"
    assert bench.answer() == b"\x88\x02\x03\xe8"
    assert bench.transport.sealed
    assert len(bench.heard) == 1


async def test_read(bench: Bench) -> None:
    """Without waiting: what has arrived, what was read ahead before it, and then why there is no more."""
    websocket = bench.websocket
    assert websocket.read() == []
    bench.peer.send(frame(TEXT, b"one") + frame(PING, b"?"))
    assert websocket.ended_by() is None
    bench.peer.send(frame(BINARY, b"two"))
    assert websocket.read() == ["one", b"two"]
    assert bench.answer() == b"\x8a\x01?"
    bench.peer.close()
    assert websocket.read() == []
    assert websocket.finish().name == "vanished"
    assert websocket.read() == []


class Torrent(SocketEndpoint):
    """The endpoint of a peer that sends faster than anything is read, as one can over TLS."""

    has_read_ahead = True

    def receive(self, most_bytes: int) -> bytes | None:
        return frame(TEXT, b"x")

    def receive_ahead(self, most_bytes: int) -> bytes | None:
        return None


async def test_a_peer_that_sends_without_end_is_read_once(nursery: trio.Nursery) -> None:
    """Then others have a turn."""
    ours, theirs = socket.socketpair()
    transport = Transport(Torrent(ours), nursery, limits=Limits(), on_drained=lambda: None, on_failed=lambda _: None)
    websocket = WebSocket(transport, Limits(), on_received=lambda _: None)
    assert websocket.read() == ["x"]
    assert websocket.read() == ["x"]
    transport.close()
    theirs.close()


@pytest.mark.parametrize(
    ("sent", "closed", "by"),
    [
        (b"", False, None),
        (frame(TEXT, b"x"), False, None),
        (frame(TEXT, b"x") + frame(CLOSE, b"\x03\xe8"), False, "left"),
        (frame(CLOSE, b"\x03\xe8")[:6], False, "left"),
        (frame(TEXT, b"x"), True, "vanished"),
        (frame(TEXT, b"\xff"), False, None),
    ],
)
async def test_ended_by(bench: Bench, sent: bytes, closed: bool, by: str | None) -> None:
    """The peer's end is seen behind what it said before, which is not lost by the look."""
    bench.peer.send(sent) if sent else None
    if closed:
        bench.peer.close()
    assert bench.websocket.ended_by() == by
    assert bench.websocket.ended_by() == by
    if sent == frame(TEXT, b"x"):
        assert bench.websocket.read() == ["x"]


async def test_ended_by_after_much(bench: Bench) -> None:
    """The look ahead begins behind what was taken before, however much that was."""
    for _ in range(3):
        bench.peer.send(frame(TEXT, b"x" * 30_000))
        assert len(await bench.websocket.receive()) == 30_000
    bench.peer.send(frame(CLOSE, b"\x03\xe8"))
    assert bench.websocket.ended_by() == "left"


async def test_close(bench: Bench, autojump_clock: trio.abc.Clock) -> None:
    """It waits for the peer's Close, past what was under way, and sends none twice."""
    bench.peer.send(frame(TEXT, b"late"))
    with trio.move_on_after(1.0) as scope:
        await bench.websocket.close(1001, "x" * 200)
    assert scope.cancelled_caught
    close = bench.answer()
    assert close[:4] == b"\x88\x7d\x03\xe9"
    bench.peer.send(frame(CLOSE, b"\x03\xe9"))
    await bench.websocket.close(1000, "again")
    assert bench.answer() == b""
