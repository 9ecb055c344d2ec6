"""The echo, as a conformance suite sees it: RFC 6455 by its sections, over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise

import pytest
import trio
import trio.testing

import actors
from actors.tools.echo import ECHO_BYTES, echo
from tests.support.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    close_frame,
    connected,
    frame,
    upgrade_request,
)
from tests.support.served import Served, served
from tests.tools.command import running

SNOW = "Grüße, ☃ und \U0001f30d".encode()
BYTES = bytes(range(256))
LIMITS = actors.Limits(close_seconds=0.5)

Frames = list[tuple[int, bytes]]


@asynccontextmanager
async def echoing() -> AsyncIterator[Served]:
    async with served(limits=LIMITS, services={"/echo": partial(echo, limits=LIMITS)}) as server:
        yield server
        while server.runtime.tree.server.sockets:
            await trio.lowlevel.checkpoint()
        assert server.failures() == []


@asynccontextmanager
async def opened(server: Served) -> AsyncIterator[Peer]:
    async with server.peer() as peer:
        peer.data_opcodes = frozenset({TEXT, BINARY})
        await peer.open(path="/echo")
        yield peer


async def send(peer: Peer, data: bytes, piece_bytes: int) -> None:
    """Send bytes in pieces; the server may end the connection in the middle of them."""
    for first, last in pairwise([*range(0, len(data), piece_bytes), len(data)]):
        try:
            await peer.send(data[first:last])
        except trio.BrokenResourceError:
            return
        if piece_bytes < 1_000:
            await trio.testing.wait_all_tasks_blocked(0.0001)


async def exchange(server: Served, sent: bytes, piece_bytes: int = 1 << 24) -> tuple[Frames, bytes | None]:
    """Send bytes and a Close; return the frames that come back, and the payload of the Close."""
    async with opened(server) as peer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, peer, sent + close_frame(1000, "done"), piece_bytes)
            while (came := await peer.next_frame()) is not None and came.opcode != CLOSE:
                pass
            nursery.cancel_scope.cancel()
        frames = [(one.opcode, one.payload) for one in peer.frames if one.opcode != CLOSE]
        if came is not None:
            assert await peer.next_frame() is None, "a server ends the connection, and sends nothing more"
        return frames, None if came is None else came.payload


def fragments(opcode: int, *payloads: bytes, between: bytes = b"") -> bytes:
    """A message in fragments; something may come between them."""
    last = len(payloads) - 1
    opcodes = [opcode] + [CONTINUATION] * last
    frames = [
        frame(one, payload, fin=n == last) for n, (one, payload) in enumerate(zip(opcodes, payloads, strict=True))
    ]
    return between.join(frames)


GOODBYE = (1000).to_bytes(2) + b"done"

# --- data, and control frames between it ------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536, 1 << 20])
async def test_sizes(opcode: int, size: int) -> None:
    """A message of any size comes back as it went, in the kind it had."""
    payload = b"*" * size
    async with echoing() as server:
        assert await exchange(server, frame(opcode, payload)) == ([(opcode, payload)], GOODBYE)


@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 24])
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (frame(TEXT, SNOW), [(TEXT, SNOW)]),
        (frame(BINARY, BYTES), [(BINARY, BYTES)]),
        (fragments(TEXT, b"", b"", b""), [(TEXT, b"")]),
        (fragments(BINARY, b"", b"ab", b""), [(BINARY, b"ab")]),
        (fragments(TEXT, *(SNOW[n : n + 1] for n in range(len(SNOW)))), [(TEXT, SNOW)]),
        (frame(PING), [(PONG, b"")]),
        (frame(PING, BYTES[128:253]), [(PONG, BYTES[128:253])]),
        (frame(PONG, b"unasked") + frame(PING, b"x"), [(PONG, b"x")]),
        (b"".join(frame(PING, bytes([n])) for n in range(10)), [(PONG, bytes([n])) for n in range(10)]),
        (fragments(TEXT, b"a", b"b", between=frame(PING, b"p")), [(PONG, b"p"), (TEXT, b"ab")]),
        (fragments(TEXT, b"a", b"b", b"c", between=frame(PONG, b"p")), [(TEXT, b"abc")]),
        (frame(TEXT, b"one") + frame(BINARY, b"two"), [(TEXT, b"one"), (BINARY, b"two")]),
    ],
)
async def test_well_formed(sent: bytes, expected: Frames, piece_bytes: int) -> None:
    """Messages come back whole and in order, pings are answered in between, however the bytes arrive."""
    async with echoing() as server:
        assert await exchange(server, sent, piece_bytes) == (expected, GOODBYE)


async def test_many_pings() -> None:
    """A suite may ask as often as it likes, if it reads the answers."""
    async with echoing() as server:
        frames, code = await exchange(server, b"".join(frame(PING, b"%d" % n) for n in range(1_000)))
        assert frames == [(PONG, b"%d" % n) for n in range(1_000)]
        assert code == GOODBYE


async def test_many_messages() -> None:
    """A thousand messages, one after the other, come back one after the other."""
    async with echoing() as server, opened(server) as peer:
        for n in range(1_000):
            await peer.send(frame(TEXT, b"%d" % n))
            assert await peer.next_frame() == Frame(TEXT, b"%d" % n)
        assert await peer.leave() == (1000, "")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_the_largest(opcode: int) -> None:
    """16 MiB come back; one byte more is answered with 1009, before it has come."""
    payload = b"*" * ECHO_BYTES
    async with echoing() as server:
        frames, close = await exchange(server, frame(opcode, payload))
        assert frames == [(opcode, payload)]
        assert close == GOODBYE
        frames, close = await exchange(server, frame(opcode, b"*", declared=ECHO_BYTES + 1))
        assert frames == []
        assert close is not None
        assert close[:2] == (1009).to_bytes(2)


@pytest.mark.parametrize("size", [64, 1_024])
async def test_a_large_message_in_fragments(size: int) -> None:
    """A mebibyte in small fragments is one message."""
    payload = BYTES * 4_096
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    async with echoing() as server:
        assert await exchange(server, fragments(BINARY, *pieces)) == ([(BINARY, payload)], GOODBYE)


# --- what is refused ------------------------------------------------------------------------

FIRST = frame(TEXT, b"before")
ECHOED = [(TEXT, b"before")]


@pytest.mark.parametrize("piece_bytes", [1, 1 << 24])
@pytest.mark.parametrize(
    "wrong",
    [
        *(frame(TEXT, b"x", reserved=bits) for bits in range(1, 8)),
        frame(PING, b"x", reserved=0b100),
        frame(CLOSE, b"", reserved=0b001),
        *(frame(opcode, b"") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        *(frame(opcode, b"x") for opcode in (3, 7, 11, 15)),
        frame(TEXT, b"x", masked=False),
        frame(PING, b"x" * 126),
        frame(PONG, b"x" * 126),
        frame(PING, b"x", fin=False),
        frame(PONG, b"x", fin=False) + frame(CONTINUATION, b"y"),
        frame(CLOSE, b"", fin=False),
        frame(CONTINUATION, b"x"),
        frame(CONTINUATION, b"x", fin=False) + frame(TEXT, b"y"),
        fragments(TEXT, b"x", b"y") + frame(CONTINUATION, b"z", fin=False),
        frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"),
        frame(TEXT, b"x", fin=False) + frame(BINARY, b"y", fin=False),
        frame(TEXT, b"x", declared=1 << 63),
        b"\x82\xfe\x00\x05" + bytes(9),  # five bytes, said in two
        b"\x82\xff" + (70).to_bytes(8) + bytes(74),  # seventy, said in eight
    ],
    ids=lambda wrong: wrong[:6].hex() if isinstance(wrong, bytes) else str(wrong),
)
async def test_protocol_errors(wrong: bytes, piece_bytes: int) -> None:
    """Broken framing ends the connection with 1002; messages before it were echoed."""
    async with echoing() as server:
        frames, close = await exchange(server, FIRST + wrong + frame(PING, b"after"), piece_bytes)
        echoed = [*ECHOED, (TEXT, b"xy")] if wrong.startswith(fragments(TEXT, b"x", b"y")) else ECHOED
        assert frames == echoed
        assert close is not None
        assert close[:2] == (1002).to_bytes(2)


BAD_TEXTS = [
    b"\xc3\x28",
    b"\x80",
    b"\xff",
    b"\xc0\xaf",
    b"\xe2\x28\xa1",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xed\xb0\x80",
    b"\xf4\x90\x80\x80",  # beyond U+10FFFF
    b"\xf8\x88\x80\x80\x80",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65",
]


@pytest.mark.parametrize("piece_bytes", [1, 1 << 24])
@pytest.mark.parametrize("text", BAD_TEXTS, ids=bytes.hex)
async def test_not_utf8(text: bytes, piece_bytes: int) -> None:
    """A text that is not UTF-8 ends the connection with 1007, in one frame or in fragments."""
    async with echoing() as server:
        for wrong in (frame(TEXT, text), fragments(TEXT, *(text[n : n + 1] for n in range(len(text))))):
            frames, close = await exchange(server, FIRST + wrong, piece_bytes)
            assert frames == ECHOED
            assert close is not None
            assert close[:2] == (1007).to_bytes(2)


@pytest.mark.parametrize("text", BAD_TEXTS, ids=bytes.hex)
async def test_not_utf8_is_said_at_once(text: bytes) -> None:
    """The rest of a bad text is not waited for: not of its message, and not of its frame."""
    for start in (frame(TEXT, text + b"x", fin=False), frame(TEXT, text + b"x", declared=100)):
        async with echoing() as server, opened(server) as peer:
            await peer.send(start)
            ending = await peer.farewell()
            assert ending is not None
            assert ending[0] == 1007


@pytest.mark.parametrize("text", [b"\xc3", b"x\xe2\x98", b"\xf0\x9f\x8c"])
async def test_half_a_character(text: bytes) -> None:
    """A message that ends inside of a character is not UTF-8."""
    async with echoing() as server:
        for wrong in (frame(TEXT, text), fragments(TEXT, text, b"")):
            frames, close = await exchange(server, wrong)
            assert frames == []
            assert close is not None
            assert close[:2] == (1007).to_bytes(2)


@pytest.mark.parametrize(
    "text", ["\ud7ff", "\ue000", "\uffff", "\ufffe", "\U0010ffff", "\U0001fffe", "\0", "\x7f\x80\u07ff\u0800"]
)
async def test_strange_but_utf8(text: str) -> None:
    """Characters at the edges of UTF-8, and those that are none, come back."""
    async with echoing() as server:
        assert await exchange(server, frame(TEXT, text.encode())) == ([(TEXT, text.encode())], GOODBYE)


# --- closing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
@pytest.mark.parametrize("reason", ["", "Auf Wiedersehen ☃", "x" * 123])
async def test_a_close_is_answered_alike(code: int, reason: str) -> None:
    """A Close comes back with its code and reason, and then the connection ends."""
    async with echoing() as server:
        assert await exchange(server, close_frame(code, reason)) == ([], code.to_bytes(2) + reason.encode())


async def test_a_close_without_a_code() -> None:
    """An empty Close is answered with an empty Close."""
    async with echoing() as server:
        assert await exchange(server, frame(CLOSE)) == ([], b"")


@pytest.mark.parametrize("piece_bytes", [1, 1 << 24])
@pytest.mark.parametrize(
    "payload",
    [
        b"\x03",
        *(code.to_bytes(2) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)),
        (1000).to_bytes(2) + b"x" * 124,
    ],
    ids=lambda payload: payload[:2].hex() if isinstance(payload, bytes) else str(payload),
)
async def test_a_close_that_is_none(payload: bytes, piece_bytes: int) -> None:
    """A Close with half a code, one that may not be sent, or too much to say is answered with 1002."""
    async with echoing() as server:
        frames, close = await exchange(server, frame(CLOSE, payload), piece_bytes)
        assert frames == []
        assert close is not None
        assert close[:2] == (1002).to_bytes(2)


async def test_a_close_with_a_bad_reason() -> None:
    """A reason that is not UTF-8 is answered with 1007."""
    async with echoing() as server:
        frames, close = await exchange(server, frame(CLOSE, (1000).to_bytes(2) + b"\xce\xba\xed\xa0\x80"))
        assert frames == []
        assert close is not None
        assert close[:2] == (1007).to_bytes(2)


@pytest.mark.parametrize(
    "after",
    [close_frame(1000), frame(PING, b"x"), frame(TEXT, b"x"), frame(CONTINUATION, b"rest"), b"\xff" * 100, b""],
)
async def test_after_a_close_nothing_counts(after: bytes) -> None:
    """Bytes behind a Close are neither echoed nor answered, and do not spoil the answer."""
    async with echoing() as server:
        start = FIRST + frame(TEXT, b"fragment", fin=False)
        assert await exchange(server, start + close_frame(1000, "bye") + after) == (ECHOED, (1000).to_bytes(2) + b"bye")


async def test_a_large_message_before_a_close() -> None:
    """A message that is still being taken when the Close is answered is whole, and before it."""
    payload = b"x" * 262_144
    async with echoing() as server:
        frames, close = await exchange(server, frame(TEXT, payload) + close_frame(1000) + frame(PING))
        assert (frames, close) == ([(TEXT, payload)], (1000).to_bytes(2))


# --- the door ----------------------------------------------------------------------------------


async def test_only_where_it_was_asked_for() -> None:
    """Without being asked for there is no echo."""
    async with served() as server, server.peer() as peer:
        answer = await peer.ask(upgrade_request(path="/echo"))
        assert answer.status == 404


async def test_not_an_upgrade() -> None:
    """The echo is for WebSockets."""
    async with echoing() as server, server.peer() as peer:
        answer = await peer.ask(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.status == 426


async def test_any_page_may_have_it() -> None:
    """Suites run in browsers, too: there is nothing to protect."""
    async with echoing() as server, server.peer() as peer:
        await peer.open("any.protocol", path="/echo", origin="http://suite.example")
        assert await peer.leave() == (1000, "")


async def test_gone_in_the_middle() -> None:
    """A peer that breaks off costs no other anything, wherever it does."""
    async with echoing() as server:
        for sent in (b"", frame(TEXT, b"x" * 100)[:50], frame(TEXT, b"x" * 1_000_000)):
            async with opened(server) as peer:
                await peer.send(sent)
                peer.reset()
        assert await exchange(server, FIRST) == (ECHOED, GOODBYE)


async def test_a_peer_that_does_not_read() -> None:
    """A peer that sends and does not read is cut off, and costs no more than one message and what its socket holds."""
    limits = actors.Limits(write_deadline_seconds=0.1, close_seconds=0.1)
    services = {"/echo": partial(echo, limits=limits)}
    async with served(limits=limits, services=services) as server, server.peer() as peer:
        await peer.open(path="/echo")
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - it is cut off at some message or other
            while True:
                await peer.send(frame(TEXT, b"x" * 1_000_000))
        assert server.failures() == []


async def test_the_server_goes() -> None:
    """A server that closes does not wait for a suite."""
    async with echoing() as server, opened(server) as peer:
        server.runtime.tree.server.close()
        assert await peer.next_frame() is None


@pytest.mark.slow
async def test_command() -> None:
    """``actors serve --echo`` is how a suite gets it."""
    async with running("serve", "--echo") as command:
        host, _, port = command.url.removeprefix("ws://").removesuffix("/ws").rpartition(":")
        async with connected((host, int(port))) as peer:
            await peer.open(path="/echo")
            await peer.send(frame(TEXT, b"hello"))
            assert await peer.next_frame() == Frame(TEXT, b"hello")
            assert await peer.leave() == (1000, "")


async def test_second_opinion() -> None:
    """Another implementation's client agrees."""
    client = pytest.importorskip("websockets.sync.client")

    def converse(uri: str) -> None:
        with client.connect(uri, compression=None, max_size=None) as websocket:
            for message in (SNOW.decode(), BYTES, "", b"", json.dumps([1] * 300_000)):
                websocket.send(message)
                assert websocket.recv(timeout=5) == message
            websocket.send(["in ", "three ", "fragments"])
            assert websocket.recv(timeout=5) == "in three fragments"
            assert websocket.ping(b"x" * 125).wait(5)
        assert websocket.close_code == 1000

    async with echoing() as server:
        assert isinstance(server.address, tuple)
        host, port = server.address
        await trio.to_thread.run_sync(converse, f"ws://{host}:{port}/echo")
