"""A client and servers that are ill, or mean it badly: real sockets, and bytes that no server of ours would send."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio

from actors.client import State, connect
from tests.support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, accept_of, frame
from tests.support.served import PATIENCE_SECONDS

Act = Callable[[trio.SocketStream, str], Awaitable[None]]
"""What a server does with a connection on which it has read a request with this key."""

STRANGE_WORDS = re.compile(r"Error|Exception|Failed|Rejected|wsproto|h11|trio|Traceback|b'|<|\n")
"""What no person should have to read."""


@attrs.define
class Illness:
    """What became of a session with such a server."""

    states: list[State] = attrs.field(factory=list)
    over: trio.Event = attrs.field(factory=trio.Event)

    def note(self, state: State) -> None:
        self.states.append(state)
        if state.name in {"waiting", "ended"}:
            self.over.set()

    @property
    def said(self) -> State:
        """The state after the first connection."""
        return next(state for state in self.states if state.name in {"waiting", "ended"})


@asynccontextmanager
async def listening(act: Act) -> AsyncIterator[str]:
    """A server that reads a request on each connection, and then does as it likes; where it is."""

    async def serve(stream: trio.SocketStream) -> None:
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                head += (data := bytes(await stream.receive_some(4_096)))
                if not data:
                    return
            found = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
            await act(stream, accept_of(found[1].decode()) if found else "")
            await stream.receive_some(1)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def met(act: Act, *, scheme: str = "ws", connect_seconds: float = 5.0) -> State:
    """Return the state after a session's first connection with a server; its text must be for people."""
    illness = Illness()
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            listening(act) as place,
            connect(f"{scheme}://{place}/ws", on_state=illness.note, connect_seconds=connect_seconds),
        ):
            await illness.over.wait()
    assert not STRANGE_WORDS.search(illness.said.text), illness.said.text
    assert len(illness.said.text) < 600
    return illness.said


def upgraded(accept: str, *more: str, upgrade: str = "Upgrade: websocket", protocol: str = "actors.v1") -> bytes:
    """An answer that agrees to an upgrade."""
    lines = [upgrade, "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}", *more]
    lines += [f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []
    return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *filter(None, lines), "", ""]).encode()


ANSWERS: dict[str, tuple[Callable[[str], bytes], str, bool]] = {
    "a wrong accept": (
        lambda key: upgraded("bm9uc2Vuc2U="),
        "expected the Sec-WebSocket-Accept that answers our",
        False,
    ),
    "no accept": (lambda key: upgraded(key).replace(b"Accept", b"Acept"), "Sec-WebSocket-Accept .*got none", False),
    "no upgrade": (lambda key: upgraded(key, upgrade=""), "expected Upgrade: websocket .*got none", False),
    "another upgrade": (lambda key: upgraded(key, upgrade="Upgrade: h2c"), "Upgrade: websocket .*got h2c", False),
    "another protocol": (lambda key: upgraded(key, protocol="graphql-ws"), r"actors\.v1, got graphql-ws", True),
    "no protocol": (lambda key: upgraded(key, protocol=""), r"expected a server that speaks actors\.v1", True),
    "an extension": (
        lambda key: upgraded(key, "Sec-WebSocket-Extensions: permessage-deflate"),
        "expected no extension, got permessage-deflate",
        False,
    ),
    "a page": (
        lambda key: b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 19\r\n\r\n<h1>Welcome!</h1>\r\n",
        "expected an upgrade, got 200 with a page",
        True,
    ),
    "another address": (
        lambda key: b"HTTP/1.1 301 Moved\r\nLocation: https://chat.example/ws\r\nContent-Length: 0\r\n\r\n",
        "got 301: the address is https://chat.example/ws",
        True,
    ),
    "unauthorized": (
        lambda key: b"HTTP/1.1 401 No\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n\x1b[2Jno\nway",
        r"got 401: \\x1b\[2Jno way",
        True,
    ),
    "upgrade required": (
        lambda key: b"HTTP/1.1 426 Up\r\nContent-Length: 0\r\n\r\n",
        "expected an upgrade, got 426$",
        True,
    ),
    "unavailable": (lambda key: b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy", "got 503: busy", False),
    "a body that does not come": (lambda key: b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\n", "got 404$", True),
    "a body in bad pieces": (
        lambda key: b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "got 404$",
        True,
    ),
    "an early hint": (lambda key: b"HTTP/1.1 103 Soon\r\n\r\n" + upgraded("x"), "Sec-WebSocket-Accept", False),
    "another protocol's greeting": (lambda key: b"SSH-2.0-OpenSSH_9.2p1\r\n", "in HTTP/1.1, got SSH-2.0", False),
    "TLS": (lambda key: b"\x15\x03\x03\x00\x02\x02F", "got TLS: the address may be one of wss:", False),
    "zeros": (lambda key: bytes(4_000), "expected an answer in HTTP/1.1", False),
    "a later HTTP": (lambda key: b"HTTP/2 200\r\n\r\n", "expected an answer in HTTP/1.1, got HTTP/2", False),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_no_agreement(name: str) -> None:
    """Any answer to an upgrade but an agreement is reported on one line, and is final or is not."""
    answer, text, final = ANSWERS[name]

    async def act(stream: trio.SocketStream, accept: str) -> None:
        await stream.send_all(answer(accept))

    said = await met(act)
    assert re.search(text, said.text), said.text
    assert (said.name == "ended") == final


ENDLESS: dict[str, tuple[bytes, bytes, str, bool]] = {
    "a body": (b"HTTP/1.1 404 No\r\n\r\n", b"no way " * 1_000, "got 404: no way", True),
    "a page": (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", b"<p>" * 1_000, "got 200 with a page", True),
    "a head": (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 4_000, "with a head of at most 16384 bytes, got more", False),
    "many headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1_000, "with a head of at most", False),
    "interim answers": (b"", b"HTTP/1.1 103 Soon\r\n\r\n" * 100, "with a head of at most", False),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_an_answer_without_end(name: str) -> None:
    """However long the body of a refusal is, no more of it is read than the error quotes."""
    first, more, text, final = ENDLESS[name]
    sent = 0

    async def act(stream: trio.SocketStream, accept: str) -> None:
        nonlocal sent
        await stream.send_all(first)
        while sent < 100_000_000:
            await stream.send_all(more)
            sent += len(more)

    tracemalloc.start()
    try:
        said = await met(act)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert re.search(text, said.text), said.text
    assert (said.name == "ended") == final
    assert sent < 20_000_000, "what the kernel takes"
    assert peak < 4_000_000


async def test_an_answer_that_trickles() -> None:
    """A refusal that comes byte by byte is reported as a refusal, with the part that had come by then."""

    async def act(stream: trio.SocketStream, accept: str) -> None:
        await stream.send_all(b"HTTP/1.1 403 No\r\n\r\n")
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.05)

    said = await met(act)
    assert re.fullmatch("expected an upgrade, got 403: x+", said.text)
    assert said.name == "ended"


async def test_a_server_that_never_answers() -> None:
    """It has ``connect_seconds``, and the session says so."""

    async def act(stream: trio.SocketStream, accept: str) -> None:
        await trio.sleep_forever()

    said = await met(act, connect_seconds=0.2)
    assert (said.name, said.text) == ("waiting", "expected an upgrade, got none in time")


NO_TLS: dict[str, tuple[bytes | None, str]] = {
    "HTTP": (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "got: wrong version number"),
    "an alert": (b"\x15\x03\x03\x00\x02\x02\x28", "got: .*handshake failure"),
    "the end": (b"", "got: the end of the connection"),
    "nothing": (None, "got no answer in time"),
}


@pytest.mark.parametrize("name", NO_TLS)
async def test_no_tls(name: str) -> None:
    """``wss:`` to a server that speaks none, or not with us, says so; it may be a moment's fault."""
    answer, text = NO_TLS[name]

    async def speak(stream: trio.SocketStream) -> None:
        await stream.receive_some(16_384)
        if answer is None:
            await trio.sleep_forever()
        elif answer:
            await stream.send_all(answer)
            await stream.receive_some(1_000)

    illness = Illness()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, speak, listeners)
        place = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with connect(f"wss://{place}/ws", on_state=illness.note, connect_seconds=1):
            await illness.over.wait()
        nursery.cancel_scope.cancel()
    assert illness.said.name == "waiting"
    assert re.fullmatch(f"expected TLS of {place}, {text}", illness.said.text), illness.said.text


def of_a_server(opcode: int, payload: bytes = b"", **options: object) -> bytes:
    """A frame as a server sends it."""
    return frame(opcode, payload, masked=False, **options)  # type: ignore[arg-type]


FRAMES: dict[str, tuple[bytes, str]] = {
    "a masked frame": (frame(TEXT, b"x"), "expected a WebSocket frame, got a broken one"),
    "a reserved bit": (of_a_server(TEXT, b"x", reserved=4), "expected a WebSocket frame, got a broken one"),
    "an unknown opcode": (of_a_server(3, b"x"), "expected a WebSocket frame, got a broken one"),
    "binary": (of_a_server(BINARY, b"x"), "expected a text message, got 1 bytes of binary"),
    "text that is none": (of_a_server(TEXT, b"\xc3\x28"), "expected a WebSocket frame, got a broken one"),
    "a long ping": (of_a_server(PING, bytes(200)), "expected a WebSocket frame, got a broken one"),
    "a continuation of nothing": (of_a_server(CONTINUATION, b"x"), "expected a WebSocket frame, got a broken one"),
    "a huge message": (of_a_server(TEXT, declared=1 << 40), "expected a message of at most 16777216 bytes"),
    "a large message in two": (
        of_a_server(TEXT, b"x", fin=False) + of_a_server(CONTINUATION, declared=1 << 24),
        "expected a message of at most 16777216 bytes",
    ),
    "a Close that quotes": (of_a_server(CLOSE, (1012).to_bytes(2) + b"\x1b[2J\nx"), r"closed with 1012: \\x1b\[2J\\nx"),
}


@pytest.mark.parametrize("code", [1008, 4501, 4600])
async def test_refused_at_once(code: int) -> None:
    """A server that refuses right behind the upgrade, and waits for nothing, is understood: for good, and why."""

    async def act(stream: trio.SocketStream, accept: str) -> None:
        error = b'{"op":"error","error":{"code":4501,"name":"x","temporary":false,"message":"because of that"}}'
        await stream.send_all(
            upgraded(accept) + of_a_server(TEXT, error) + of_a_server(CLOSE, code.to_bytes(2) + b"no")
        )
        stream.socket.close()

    for _ in range(20):
        said = await met(act)
        assert (said.name, said.code) == ("ended", code)
        assert said.text == f"the WebSocket was closed with {code}: no (because of that)"


@pytest.mark.parametrize("name", FRAMES)
async def test_what_is_no_frame(name: str) -> None:
    """A server that breaks the rules of WebSocket, or goes beyond what is taken, is left, and asked again later."""
    data, text = FRAMES[name]

    async def act(stream: trio.SocketStream, accept: str) -> None:
        await stream.send_all(upgraded(accept) + data)

    said = await met(act)
    assert re.search(text, said.text), said.text
    assert said.name == "waiting"


FLOODS: dict[str, tuple[bytes, bytes, str]] = {
    "fragments of nothing": (of_a_server(TEXT, fin=False), of_a_server(CONTINUATION, fin=False), "fragments"),
    "small fragments": (of_a_server(TEXT, fin=False), of_a_server(CONTINUATION, b"x", fin=False), "fragments"),
    "large fragments": (
        of_a_server(TEXT, fin=False),
        of_a_server(CONTINUATION, b"x" * 60_000, fin=False),
        "at most 16777216 bytes",
    ),
    "pings": (b"", of_a_server(PING, b"?" * 100), "expected fewer pings"),
    "pongs": (b"", of_a_server(PONG), "expected fewer pings, pongs"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOODS)
async def test_frames_without_end(name: str) -> None:
    """FrameLimits, pings and pongs without end are left after a bounded time, and cost a bounded memory meanwhile."""
    first, more, text = FLOODS[name]

    async def act(stream: trio.SocketStream, accept: str) -> None:
        await stream.send_all(upgraded(accept) + first)
        block = more * max(1, 4_096 // len(more))

        async def drink() -> None:
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some(65_536):
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drink)
            with suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(block)

    tracemalloc.start()
    try:
        said = await met(act, connect_seconds=PATIENCE_SECONDS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert re.search(text, said.text), said.text
    assert said.name == "waiting"
    assert peak < 5 * (1 << 24)


async def test_nothing_listens() -> None:
    """The error has the system's reason, and not that all attempts failed."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    place = f"127.0.0.1:{listener.socket.getsockname()[1]}"
    await listener.aclose()
    illness = Illness()
    async with connect(f"http://{place}", on_state=illness.note):
        await illness.over.wait()
    assert illness.said.name == "waiting"
    assert illness.said.text == f"expected a server at {place}, got: Connection refused"
