"""The interface between the runner of transcripts and a client: its session, its application, its connections."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import attrs
import trio

from tests.support import raw
from tests.support.expected_items import DeliveredItem
from tests.support.raw import Frame, Message, frame
from tests.support.scripted_server import Line


@attrs.frozen
class SessionOptions:
    """The choices of an application before its client says hello."""

    token: str | None
    origin: str
    cursor: tuple[str, int] | None
    cookie: str | None


@attrs.frozen
class ClientView:
    """The visible state of a client and its application."""

    dialled: int
    """Connections that it has begun."""
    given: list[DeliveredItem]
    """The items that it delivered to its application."""
    outcomes: dict[str, Message]
    """The outcomes of requests, by their ids in the transcript."""
    refused: int | None
    """The close code that it told its application not to come back for."""
    cursor: tuple[str, int] | None
    """The cursor that its application may keep."""


class Client(Protocol):
    """A client and an application that takes all it is given."""

    async def begin(self, chosen: SessionOptions) -> None:
        """Open a session."""

    async def accept(self) -> Line:
        """The server's end of the next connection that was begun."""

    async def ask(self, id_: str, request: Message) -> None:
        """The application asks for something; its outcome will be known by this id."""

    async def hold(self) -> None:
        """The application does not come back for the next item."""

    async def release(self) -> None:
        """It does again."""

    async def leave(self) -> None:
        """The application closes the session."""

    async def settle(self, server_side: ServerSide | None) -> ClientView:
        """Wait until everything has happened that happens without the time going on; how it stands then."""

    async def advance(self, most_seconds: float) -> float:
        """Let time go by until the client does something, at most so long; how long it was."""


@attrs.define
class ServerSide:
    """The server's end of one connection, which hears while the runner does other things."""

    line: Line
    number: int
    """The number of the connection among the client's, from 0."""
    said: deque[Message] = attrs.field(factory=deque)
    pongs: int = 0
    closing: bool = False
    """The server has said Close."""
    goodbye: int | None = None
    """The code of the client's Close."""
    ended: bool = False
    _stirred: trio.Event = attrs.field(factory=trio.Event)
    _writing: trio.Lock = attrs.field(factory=trio.Lock)

    async def listen(self) -> None:
        """Hear until the end; a Close is answered."""
        try:
            while not self.ended and (came := await self.line.next_frame()) is not None:
                await self._hear(came)
        finally:
            await self.end()

    async def end(self) -> None:
        """End the connection."""
        self.ended = True
        await trio.aclose_forcefully(self.line.stream)
        self._stir()

    async def close(self, code: int) -> None:
        """Say Close."""
        self.closing = True
        await self.write(frame(raw.CLOSE, code.to_bytes(2), masked=False))

    async def say(self, message: Message) -> None:
        """Say a message."""
        await self.write(frame(raw.TEXT, json.dumps(message).encode(), masked=False))

    async def write(self, data: bytes) -> None:
        """Write, if the client is still there."""
        async with self._writing:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.line.write(data)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to be heard."""
        while not condition():
            await self._stirred.wait()

    async def _hear(self, came: Frame) -> None:
        match came.opcode:
            case raw.TEXT:
                self.said.append(json.loads(came.payload))
            case raw.CLOSE:
                self.goodbye = int.from_bytes(came.payload[:2]) or 1005
                if not self.closing:
                    await self.write(frame(raw.CLOSE, b"", masked=False))
                await self.end()
            case raw.PING:
                await self.write(frame(raw.PONG, came.payload, masked=False))
            case raw.PONG:
                self.pongs += 1
        self._stir()

    def _stir(self) -> None:
        stirred, self._stirred = self._stirred, trio.Event()
        stirred.set()
