"""A WebSocket client made of bytes: no library, and no line of this project's own code.

It does the handshake, writes frames exactly as it is told to, wrong ones
included, and reads what comes back strictly. It answers nothing by itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import attrs
import trio

ACTORS = "actors.v1"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MASK = b"\x37\xfa\x21\x3d"

Message = dict[str, Any]


class Frame(NamedTuple):
    """One frame from the server."""

    opcode: int
    payload: bytes


class Answer(NamedTuple):
    """The server's answer to the request."""

    status: int
    headers: dict[str, str]
    body: str


@attrs.define
class Peer:
    """One connection, from its first byte."""

    stream: trio.abc.HalfCloseableStream | trio.abc.Stream
    frames: list[Frame] = attrs.field(factory=list)
    """Everything that came, oldest first."""
    data_opcodes: frozenset[int] = frozenset({TEXT})
    """The kinds of messages that may come."""
    _buffer: bytearray = attrs.field(factory=bytearray)

    # --- the handshake --------------------------------------------------------

    async def ask(self, request: bytes) -> Answer:
        """Send a request as it is, and read the answer; its body too, unless it is an upgrade."""
        await self.stream.send_all(request)
        return await self.answer()

    async def answer(self, *, body: bool = True) -> Answer:
        """Read an answer; one to HEAD has no body."""
        while b"\r\n\r\n" not in self._buffer:
            assert await self._fill(), f"the server went in the middle of its answer: {bytes(self._buffer)!r}"
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        lines = head.decode("latin-1").split("\r\n")
        version, status, _reason = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if status == "101":
            return Answer(101, headers, "")
        assert headers["connection"] == "close"
        size = int(headers["content-length"]) if body else 0
        while len(self._buffer) < size:
            assert await self._fill(), "the server went in the middle of its answer"
        assert len(self._buffer) == size, "there is more than the answer"
        return Answer(int(status), headers, self._buffer.decode())

    async def open(self, *offers: str, **options: Any) -> Answer:
        """Upgrade; see :func:`upgrade_request` for the options. The upgrade must succeed, and be a correct one."""
        answer = await self.ask(upgrade_request(*offers, **options))
        assert answer.status == 101, answer
        assert answer.headers["upgrade"].lower() == "websocket"
        assert answer.headers["connection"].lower() == "upgrade"
        assert answer.headers["sec-websocket-accept"] == accept_of(KEY)
        assert "sec-websocket-extensions" not in answer.headers
        assert answer.headers.get("sec-websocket-protocol") == (ACTORS if ACTORS in offers else None)
        return answer

    # --- frames ---------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(data)

    async def say(self, message: Message | str) -> None:
        """Send a text message."""
        text = message if isinstance(message, str) else json.dumps(message)
        await self.send(frame(TEXT, text.encode()))

    async def next_frame(self) -> Frame | None:
        """The next whole frame; ``None`` when the server has ended the connection between two frames."""
        while (size := self._frame_bytes()) is None or len(self._buffer) < size[0] + size[1]:
            if not await self._fill():
                assert not self._buffer, f"the connection ended inside a frame: {bytes(self._buffer[:40])!r}"
                return None
        header, length = size
        came = Frame(self._buffer[0] & 0x0F, bytes(self._buffer[header : header + length]))
        del self._buffer[: header + length]
        assert not self.frames or self.frames[-1].opcode != CLOSE, f"{came} after a Close"
        self.frames.append(came)
        return came

    async def next_message(self) -> Message:
        """The next text message."""
        came = await self.next_frame()
        assert came is not None, "expected a message, the connection ended"
        assert came.opcode == TEXT, f"expected a text message, got {came}"
        message = json.loads(came.payload)
        assert isinstance(message, dict)
        return message

    async def ending(self) -> tuple[int, str] | None:
        """Read to the end; the code and reason of the server's Close, ``None`` when there was none."""
        while await self.next_frame() is not None:
            pass
        if not self.frames or self.frames[-1].opcode != CLOSE:
            return None
        payload = self.frames[-1].payload
        return int.from_bytes(payload[:2]), payload[2:].decode()

    async def farewell(self) -> tuple[int, str] | None:
        """Read to the server's Close, answer it, and read to the end; its code and reason."""
        while (came := await self.next_frame()) is not None and came.opcode != CLOSE:
            pass
        if came is not None:
            with suppress(trio.BrokenResourceError):
                await self.send(frame(CLOSE, came.payload[:2]))
        return await self.ending()

    def messages(self) -> list[Message]:
        """All text messages that came, oldest first."""
        return [json.loads(came.payload) for came in self.frames if came.opcode == TEXT]

    def _frame_bytes(self) -> tuple[int, int] | None:
        """Sizes of the next frame's header and payload, once enough has come to know them."""
        data = self._buffer
        if len(data) < 2:
            return None
        assert data[0] & 0x70 == 0, "a reserved bit is set"
        assert data[0] & 0x80, "the server splits no message"
        assert data[1] & 0x80 == 0, "a server's frame must not be masked"
        opcode = data[0] & 0x0F
        assert opcode in self.data_opcodes or opcode in {CLOSE, PING, PONG}, f"opcode {opcode}"
        short = data[1] & 0x7F
        assert short < 126 or opcode in self.data_opcodes, "a control frame is short"
        extra = {126: 2, 127: 8}.get(short, 0)
        if len(data) < 2 + extra:
            return None
        length = int.from_bytes(data[2 : 2 + extra]) if extra else short
        assert length >= {0: 0, 2: 126, 8: 65_536}[extra], "the length is not in its shortest form"
        return 2 + extra, length

    async def _fill(self) -> bool:
        """Read more; false when nothing will come."""
        try:
            data = await self.stream.receive_some(65_536)
        except trio.BrokenResourceError:
            return False
        self._buffer += data
        return bool(data)

    # --- actors.v1 ------------------------------------------------------------

    async def hello(self, token: str | None, **fields: Any) -> Message:
        """Say hello; the welcome."""
        await self.say({"op": "hello", "v": 1} | ({} if token is None else {"token": token}) | fields)
        welcome = await self.next_message()
        assert welcome["op"] == "welcome", welcome
        return welcome

    async def attach(self, token: str, **fields: Any) -> Message:
        """Upgrade, say hello, and read until the log was sent; the welcome."""
        await self.open(ACTORS)
        welcome = await self.hello(token, **fields)
        await self.next_op("caught_up")
        return welcome

    async def ack(self, offset: int) -> None:
        """Confirm everything up to an offset."""
        await self.say({"op": "ack", "offset": offset})

    async def next_event(self) -> Message:
        """The next event; messages of the protocol before it are read over."""
        while "op" in (message := await self.next_message()):
            pass
        return message

    async def next_op(self, op: str) -> Message:
        """The next message of the protocol with this op; everything before it is read over."""
        while (message := await self.next_message()).get("op") != op:
            pass
        return message

    async def echo(self) -> None:
        """Everything sent so far has been taken by the server when this returns (``actors.v1`` only)."""
        await self.say({"op": "ping"})
        await self.next_op("pong")

    # --- leaving --------------------------------------------------------------

    async def leave(self) -> tuple[int, str] | None:
        """Say goodbye; what the server said."""
        await self.send(close_frame(1000))
        return await self.ending()

    def reset(self) -> None:
        """Go with a RST, as a crashed machine's kernel does."""
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()


KEY = base64.b64encode(os.urandom(16)).decode()


def accept_of(key: str) -> str:
    """Return the answer that a server must give to a key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def upgrade_request(
    *offers: str,
    cookie: str | None = None,
    origin: str | None = None,
    extra: Sequence[tuple[str, str]] = (),
    without: str = "",
    path: str = "/ws",
    host: str = "127.0.0.1:8765",
    method: str = "GET",
) -> bytes:
    """An upgrade request; ``without`` leaves out a header, ``extra`` adds some."""
    headers = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
    if offers:
        headers.append(("Sec-WebSocket-Protocol", ", ".join(offers)))
    if cookie is not None:
        headers.append(("Cookie", cookie))
    if origin is not None:
        headers.append(("Origin", origin))
    headers = [(name, value) for name, value in headers if name.lower() != without.lower()] + list(extra)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    declared: int | None = None,
) -> bytes:
    """A client's frame; ``declared`` lies about its length."""
    size = len(payload) if declared is None else declared
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if size < 126:
        header = struct.pack("!BB", first, mask_bit | size)
    elif size < 65_536:
        header = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        header = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return header + payload
    key = int.from_bytes((_MASK * (len(payload) // 4 + 1))[: len(payload)])
    return header + _MASK + (int.from_bytes(payload) ^ key).to_bytes(len(payload))


def close_frame(code: int, reason: str = "") -> bytes:
    """A client's Close."""
    return frame(CLOSE, code.to_bytes(2) + reason.encode())


@asynccontextmanager
async def connected(address: tuple[str, int] | str) -> AsyncIterator[Peer]:
    """A connection to an address that ``runtime.serve`` returned; the end of the block drops it."""
    if isinstance(address, str):
        stream = await trio.open_unix_socket(address)
    else:
        stream = await trio.open_tcp_stream(*address)
    peer = Peer(stream)
    try:
        yield peer
    finally:
        await trio.aclose_forcefully(stream)
