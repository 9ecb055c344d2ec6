"""A server made of bytes, to play the other side of a client: in memory, so that time can be virtual."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from actors.wire import dialled
from tests.support.raw import ACTORS, CLOSE, PING, PONG, TEXT, Frame, Message, accept_of, frame

URL = "ws://server/ws"


@attrs.define
class Line:
    """One connection, at the server's end."""

    stream: trio.abc.Stream
    head: str = ""
    """The upgrade request."""
    said: list[Message] = attrs.field(factory=list)
    """Every message of the client."""
    sent: int = 0
    """Bytes that were written."""
    _buffer: bytearray = attrs.field(factory=bytearray)

    async def upgrade(self, *, protocol: str | None = ACTORS, status: int = 101) -> None:
        """Read the request, and answer it."""
        while b"\r\n\r\n" not in self._buffer:
            assert await self._fill(), "expected a whole request"
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self.head, self._buffer = head.decode(), bytearray(rest)
        if status != 101:
            await self.write(f"HTTP/1.1 {status} No\r\nContent-Length: 4\r\n\r\nnope".encode())
            return
        headers = dict(line.lower().split(": ", 1) for line in self.head.split("\r\n")[1:])
        key = next(
            line.split(": ", 1)[1] for line in self.head.split("\r\n") if line.lower().startswith("sec-websocket-key")
        )
        assert headers["sec-websocket-protocol"] == ACTORS
        chosen = "" if protocol is None else f"Sec-WebSocket-Protocol: {protocol}\r\n"
        accept = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_of(key)}\r\n"
        await self.write(f"HTTP/1.1 101 Switching Protocols\r\n{accept}{chosen}\r\n".encode())

    async def welcome(self, **fields: Any) -> Message:
        """Upgrade, read the hello, and welcome the client; its hello."""
        await self.upgrade()
        hello = await self.hear()
        assert hello["op"] == "hello"
        await self.say({"op": "welcome", "session": "s_1", "epoch": "ep_1", "head": 0, "low": 1, "start": 1} | fields)
        return hello

    async def say(self, *messages: Message) -> None:
        """Say messages, in one write."""
        await self.write(b"".join(frame(TEXT, json.dumps(message).encode(), masked=False) for message in messages))

    async def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        await self.stream.send_all(data)
        self.sent += len(data)

    async def hear(self) -> Message:
        """The client's next message."""
        came = await self.next_frame()
        assert came is not None, "expected a message, the client has gone"
        assert came.opcode == TEXT, f"expected a message, got {came}"
        message: Message = json.loads(came.payload)
        self.said.append(message)
        return message

    async def hear_op(self, op: str) -> Message:
        """The client's next message of a kind; others are read over."""
        while (message := await self.hear())["op"] != op:
            pass
        return message

    async def next_frame(self) -> Frame | None:
        """The client's next frame; ``None`` at the end."""
        while (size := self._size()) is None or len(self._buffer) < sum(size):
            if not await self._fill():
                return None
        header, length = size
        assert self._buffer[0] & 0x80, "a client of ours splits no message"
        mask = self._buffer[header - 4 : header]
        payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(self._buffer[header : header + length]))
        came = Frame(self._buffer[0] & 0x0F, payload)
        del self._buffer[: header + length]
        assert came.opcode in {TEXT, CLOSE, PING, PONG}
        return came

    async def close(self, code: int, reason: str = "") -> None:
        """Say Close, read to the client's, and end the connection."""
        await self.write(frame(CLOSE, code.to_bytes(2) + reason.encode(), masked=False))
        with suppress(AssertionError):
            while (came := await self.next_frame()) is not None and came.opcode != CLOSE:
                pass
        await self.drop()

    async def drop(self) -> None:
        """End the connection without a word."""
        await trio.aclose_forcefully(self.stream)

    async def ending(self) -> int | None:
        """Read to the end; the code of the client's Close, which is answered; ``None`` when there was none."""
        while (came := await self.next_frame()) is not None:
            if came.opcode == TEXT:
                self.said.append(json.loads(came.payload))
            if came.opcode == CLOSE:
                with suppress(trio.BrokenResourceError):
                    await self.write(frame(CLOSE, came.payload[:2], masked=False))
                await self.drop()
                return int.from_bytes(came.payload[:2])
        return None

    def _size(self) -> tuple[int, int] | None:
        """Sizes of the next frame's header and payload, once enough has come to know them."""
        if len(self._buffer) < 2:
            return None
        assert self._buffer[1] & 0x80, "a client's frame is masked"
        short = self._buffer[1] & 0x7F
        extra = {126: 2, 127: 8}.get(short, 0)
        if len(self._buffer) < 2 + extra:
            return None
        return 6 + extra, int.from_bytes(self._buffer[2 : 2 + extra]) if extra else short

    async def _fill(self) -> bool:
        try:
            data = await self.stream.receive_some(65_536)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self._buffer += data
        return bool(data)


@attrs.define
class Scripted:
    """The server that a client dials, as a test plays it."""

    lines: trio.MemoryReceiveChannel[Line]
    dialled: trio.MemorySendChannel[Line]
    up: bool = True
    attempts: int = 0

    async def accept(self) -> Line:
        """The next connection that a client opens."""
        return await self.lines.receive()

    async def reach(self, *_: object) -> trio.abc.Stream:
        """Take the place of the network."""
        await trio.lowlevel.checkpoint()
        self.attempts += 1
        if not self.up:
            raise dialled.Closed("vanished", "expected a server, got none")
        ours, theirs = memory_stream_pair()
        self.dialled.send_nowait(Line(theirs))
        return ours


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """A server in memory, which every client dials."""
    arrived, lines = trio.open_memory_channel[Line](1_000)
    scripted = Scripted(lines, arrived)
    monkeypatch.setattr(dialled, "_reach", scripted.reach)
    return scripted


@pytest.fixture
def autojump_clock() -> MockClock:
    """Virtual time that jumps when nothing else happens: a little further each time than it should, since a jump that
    is lost in rounding would be tried for ever."""
    clock = MockClock(autojump_threshold=0)
    jump = clock.jump
    clock.jump = lambda seconds: jump(seconds + 1e-9 + seconds * 1e-12)  # type: ignore[method-assign]
    return clock


def event(offset: int, type_: str = "tick", **fields: Any) -> Message:
    """An event of thread t1, as a server says it."""
    return {
        "type": type_,
        "payload": {"n": offset},
        "thread_id": "t1",
        "event_id": f"e{offset}",
        "timestamp": 0.0,
        "seq": offset,
        "offset": offset,
    } | fields
