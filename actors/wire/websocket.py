"""The WebSocket protocol engine over a stream that is ours. The only importer of trio-websocket.

trio-websocket does the handshake, reads frames, assembles messages and answers
control frames. Its own server loop and its ``send_message`` are not used: one
bad client can end the former, and the latter costs 56 µs. What the engine
sends enters the connection's one out-buffer like everything else.

The engine runs a reader task per connection, which can fail on what a peer
does at the wrong moment (a ping after our Close, say). :func:`upgrade` is the
barrier around it: whatever the engine raises ends this connection, as the
peer's doing, and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
import wsproto.utilities
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
    wrap_server_stream,
)

from actors.errors import PeerError
from actors.limits import Limits
from actors.wire.closing import closing_of
from actors.wire.control import close_frame, is_close
from actors.wire.transport import Transport

_READ_BYTES = 16_384
_DIAL_SECONDS = 10.0
"""What a server gets to answer an upgrade, and again to answer a Close."""
_REASON_BYTES = 123
"""What a Close frame has room for (RFC 6455, section 5.5)."""

_ENGINE_ERRORS = (
    wsproto.utilities.ProtocolError,
    ConnectionClosed,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    UnicodeDecodeError,
)


class WebSocket:
    """An open WebSocket: messages in, and the closing handshake. What goes out goes through the transport."""

    def __init__(self, engine: WebSocketConnection, stream: _EngineStream, limits: Limits) -> None:
        self._engine = engine
        self._stream = stream
        self._limits = limits

    async def receive(self) -> str:
        """The next text message; a checkpoint.

        Raises :class:`~actors.errors.PeerError` with the row of the closing
        table that fits when there will be none, or it was not acceptable.
        """
        try:
            message = await self._engine.get_message()
        except ConnectionClosed as closed:
            code = self._stream.close_code or 1006 if closed.reason is None else closed.reason.code
            row = closing_of(code)
            raise PeerError(row.name, f"{row.text} ({code})") from None
        if isinstance(message, bytes):
            raise PeerError("binary", f"expected a text message, got {len(message)} bytes of binary")
        most = self._limits.inbound_bytes
        if len(message) * 4 > most and (size := len(message.encode())) > most:
            raise PeerError("too_big", f"expected a message of at most {most} bytes, got {size}")
        return message

    async def close(self, code: int, reason: str) -> None:
        """Send a Close and wait for the peer's, for as long as the caller's deadline allows."""
        self._stream.closing = True
        await self._engine.aclose(code, _clip(reason))
        if not self._stream.closed:  # the engine takes a broken frame for the peer's Close, and answers nothing
            await self._stream.send_all(close_frame(code, reason))


class _EngineStream(trio.abc.Stream):
    """What the engine takes for its network.

    The request head was read before it: the engine is given the head alone,
    then nothing until it has answered, then the bytes that came behind the
    head. Given together, it would park the rest until more bytes come.

    An engine that gave up on its peer would read once more, and so would be in
    the way of whoever discards what the peer still sends: it is told the end.
    """

    def __init__(self, transport: Transport, head: bytes, rest: bytes, on_heard: Callable[[], None]) -> None:
        self.close_code: int | None = None
        """The code of the Close that was sent."""
        self.closed = False
        """A Close was sent, with a code or without."""
        self.closing = False
        """We are about to send a Close, and shall wait for the peer's: its other Closes are the engine's own."""
        self._over = False
        self._transport = transport
        self._head = head
        self._rest = rest
        self._on_heard = on_heard
        self._answered = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        await self._answered.wait()
        if self._over:
            await trio.lowlevel.checkpoint()
            return b""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        data = await self._transport.receive(max_bytes or _READ_BYTES)
        self._on_heard()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        frames = bytes(data)
        if self._answered.is_set():
            self._transport.write_control(frames)
        else:
            self._transport.write(frames)
        if self._answered.is_set() and is_close(frames):
            self.close_code = int.from_bytes(frames[2:4]) or None
            self.closed = True
            self._over = self._over or not self.closing
            self._transport.seal()
        self._answered.set()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """The endpoint is closed by its connection, when everything is sent; not by the engine."""
        self._over = True
        await trio.lowlevel.checkpoint()


def _clip(reason: str) -> str:
    return reason.encode()[:_REASON_BYTES].decode(errors="ignore")


@asynccontextmanager
async def upgrade(
    transport: Transport,
    head: bytes,
    rest: bytes,
    subprotocol: str | None,
    limits: Limits,
    on_heard: Callable[[], None],
) -> AsyncIterator[WebSocket]:
    """Answer an upgrade request and run the engine while the WebSocket is in use.

    Raises :class:`~actors.errors.PeerError` when the engine fails on the peer.
    The body's own exceptions pass through as they are.
    """
    stream = _EngineStream(transport, head, rest, on_heard)
    outcome: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream, max_message_size=limits.inbound_bytes)
            engine = await request.accept(subprotocol=subprotocol)
            try:
                yield WebSocket(engine, stream, limits)
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the nursery
                outcome = error
            nursery.cancel_scope.cancel()
    except* _ENGINE_ERRORS as group:
        outcome = outcome or PeerError("bad_frame", str(group.exceptions[0]))
    if outcome is not None:
        raise outcome


class DialledWebSocket:
    """A WebSocket that this side has opened: text messages in and out."""

    def __init__(self, engine: WebSocketConnection) -> None:
        self._engine = engine

    async def receive(self) -> str:
        """The next text message; a checkpoint. Raises :class:`~actors.errors.PeerError` when there will be none."""
        try:
            message = await self._engine.get_message()
        except ConnectionClosed as closed:
            raise _closed(closed) from None
        if isinstance(message, bytes):
            raise PeerError("binary", f"expected a text message, got {len(message)} bytes of binary")
        return message

    async def send(self, text: str) -> None:
        """Send a text message. Raises :class:`~actors.errors.PeerError` when the WebSocket is closed."""
        try:
            await self._engine.send_message(text)
        except ConnectionClosed as closed:
            raise _closed(closed) from None


@asynccontextmanager
async def dial(
    url: str, *, subprotocol: str | None = None, headers: Mapping[str, str] | None = None
) -> AsyncIterator[DialledWebSocket]:
    """Open a WebSocket to a ``ws:`` URL, and close it afterwards.

    Raises :class:`~actors.errors.PeerError` when the server cannot be reached
    or refuses, with its answer. The body's own exceptions pass through.
    """
    # The engine does not close a socket that the server closed first; so the
    # socket is opened, and closed, here.
    where = urlsplit(url)
    try:
        stream = await trio.open_tcp_stream(where.hostname or "", where.port or 80)
    except OSError as error:
        raise PeerError("vanished", f"expected a server at {where.netloc}, got {error}") from None
    offered = None if subprotocol is None else [subprotocol]
    extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    outcome: Exception | None = None
    try:
        async with stream, trio.open_nursery() as nursery:
            with trio.fail_after(_DIAL_SECONDS):
                engine = await wrap_client_stream(
                    nursery, stream, where.netloc, where.path or "/", subprotocols=offered, extra_headers=extra
                )
            try:
                yield DialledWebSocket(engine)
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the nursery
                outcome = error
            with trio.move_on_after(_DIAL_SECONDS):
                await engine.aclose()
            nursery.cancel_scope.cancel()
    except* (*_ENGINE_ERRORS, ConnectionRejected, trio.TooSlowError) as group:
        outcome = outcome or _refusal(group.exceptions[0])
    if outcome is not None:
        raise outcome


def _refusal(error: Exception) -> PeerError:
    """What a dialled server did instead of speaking WebSocket."""
    if isinstance(error, ConnectionRejected):
        said = (error.body or b"").decode(errors="replace").strip()
        return PeerError("unavailable", f"expected an upgrade, got {error.status_code}: {said}")
    if isinstance(error, trio.TooSlowError):
        return PeerError("unavailable", f"expected an upgrade within {_DIAL_SECONDS:g} s, got none")
    return PeerError("bad_frame", str(error) or type(error).__name__)


def _closed(closed: ConnectionClosed) -> PeerError:
    if closed.reason is None:
        return PeerError("vanished", "the WebSocket broke")
    code, reason = closed.reason.code, closed.reason.reason
    return PeerError(closing_of(code).name, f"the WebSocket was closed with {code}{f': {reason}' if reason else ''}")
