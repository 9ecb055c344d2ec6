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

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
import wsproto.utilities
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from actors.errors import PeerError
from actors.limits import Limits
from actors.wire.closing import closing_of
from actors.wire.frames import is_close
from actors.wire.transport import Transport

_READ_BYTES = 16_384
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
            raise PeerError(closing_of(code).name, f"the WebSocket was closed with {code}") from None
        if isinstance(message, bytes):
            raise PeerError("binary", f"expected a text message, got {len(message)} bytes of binary")
        most = self._limits.inbound_bytes
        if len(message) * 4 > most and (size := len(message.encode())) > most:
            raise PeerError("too_big", f"expected a message of at most {most} bytes, got {size}")
        return message

    async def close(self, code: int, reason: str) -> None:
        """Send a Close and wait for the peer's, for as long as the caller's deadline allows."""
        await self._engine.aclose(code, _clip(reason))


class _EngineStream(trio.abc.Stream):
    """What the engine takes for its network.

    The request head was read before it: the engine is given the head alone,
    then nothing until it has answered, then the bytes that came behind the
    head. Given together, it would park the rest until more bytes come.
    """

    def __init__(self, transport: Transport, head: bytes, rest: bytes, on_heard: Callable[[], None]) -> None:
        self.close_code: int | None = None
        """The code of the Close that the engine has sent."""
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
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        data = await self._transport.receive(max_bytes or _READ_BYTES)
        self._on_heard()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        frames = bytes(data)
        self._transport.write_control(frames)
        if self._answered.is_set() and is_close(frames):
            self.close_code = int.from_bytes(frames[2:4]) or None
            self._transport.seal()
        self._answered.set()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """The endpoint is closed by its connection, when everything is sent; not by the engine."""
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
