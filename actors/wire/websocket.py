"""The WebSocket protocol engine over a stream of our own. The only importer of trio-websocket.

trio-websocket does the handshake, reads frames, assembles messages and answers
control frames. Its own server loop and its ``send_message`` are not used,
because one bad client can end the former, and the latter costs 56 µs. The
engine's frames enter the connection's one out-buffer like all others.

The engine runs a reader task per connection, which can fail when a peer sends
something at the wrong moment (a ping after our Close, say). :func:`upgrade` is
the barrier around it: an exception of the engine counts as the peer's fault,
and ends this connection alone.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

import attrs
import trio
import wsproto.utilities
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    wrap_client_stream,
    wrap_server_stream,
)

from actors.errors import PeerError
from actors.kernel.failures import cancels, printable
from actors.limits import Limits
from actors.protocol.codes import closing_of
from actors.wire.control_frames import close_frame, is_close
from actors.wire.forks import close_in_children
from actors.wire.frame_limits import FrameLimits
from actors.wire.reasons import reasons
from actors.wire.transport import Transport
from actors.wire.upgrade_answer import UpgradeAnswerReader, UpgradeRefused

_READ_BYTES = 16_384
_EARLY_BYTES = 4 * _READ_BYTES
"""The bytes that are read ahead of the engine, to see whether the peer is still there."""
_DIAL_SECONDS = 10.0
"""Time to reach a dialled server and get its answer to the request, and again its answer to a Close."""
_MESSAGE_BYTES = 1 << 24
"""The largest message of a dialled server: 16 times what a default server retains of a user's events."""
_REFUSAL_SECONDS = 1.0
"""Time for a server to send the body of a refusal."""
_REASON_BYTES = 123
"""The longest reason of a Close frame (RFC 6455, section 5.5)."""

_ENGINE_ERRORS = (
    wsproto.utilities.ProtocolError,
    ConnectionClosed,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    UnicodeDecodeError,
)


class WebSocket:
    """An open WebSocket: its messages, and the closing handshake. Messages to the peer go through the transport."""

    def __init__(self, engine: WebSocketConnection, stream: _EngineStream) -> None:
        self._engine = engine
        self._stream = stream

    async def receive(self) -> str:
        """Return the next text message; a checkpoint.

        Raises :class:`~actors.errors.PeerError`, with the row of the closing
        table, when the WebSocket has ended or the message is not acceptable.
        """
        message = await self.receive_either()
        if isinstance(message, bytes):
            raise PeerError("binary", f"expected a text message, got {len(message)} bytes of binary")
        return message

    async def receive_either(self) -> str | bytes:
        """Return the next message, text or binary; like :meth:`receive`."""
        try:
            return await self._engine.get_message()
        except ConnectionClosed as closed:
            if self._stream.excess is not None:
                raise PeerError(*self._stream.excess) from None
            code = self._stream.close_code or 1006 if closed.reason is None else closed.reason.code
            row = closing_of(code)
            raise PeerError(row.name, f"{row.text} ({code})") from None

    def ended_by(self) -> Literal["left", "vanished"] | None:
        """Return the row of the closing table for the peer's end of the connection, if it has ended it by now.

        Not to be called after :meth:`settle`.
        """
        return self._stream.look()

    def settle(self) -> None:
        """Leave all reading to the engine from now on, because the connection has a place and is looked at no more."""
        self._stream.settled = True

    async def close(self, code: int, reason: str) -> None:
        """Send a Close and wait for the peer's, for as long as the caller's deadline allows.

        It is sent before the engine's own, because an engine that is about to
        send a Close fails on a ping that comes in at that moment, and the Close
        with it. And one that takes a broken frame for the peer's Close sends none.
        """
        self._stream.closing = True
        if not self._stream.closed:
            await self._stream.send_all(close_frame(code, reason))
        await self._engine.aclose(code, _clip(reason))


class _EngineStream(trio.abc.Stream):
    """The network of the engine that serves a connection.

    The request head was read before. The engine reads the head alone, then
    nothing until it has answered, then the bytes that came behind the head,
    because it would otherwise park those until more bytes come.

    After a Close to a peer that it gave up on, the engine reads the end of the
    stream, because it would otherwise take bytes from the task that discards
    the peer's rest.
    """

    def __init__(
        self, transport: Transport, *, head: bytes, rest: bytes, limits: Limits, on_received: Callable[[], None]
    ) -> None:
        self.close_code: int | None = None
        """The code of the Close that was sent."""
        self.closed = False
        """True once a Close was sent, with a code or without."""
        self.closing = False
        """True once :meth:`WebSocket.close` sends one, and waits for the peer's; all others are the engine's own."""
        self.settled = False
        """True once :meth:`look` is called no more; so long a receive can be interrupted, which costs 5 µs."""
        self._over = False
        self._ended = False
        """True once the peer can send nothing more."""
        self._frame_limits = FrameLimits(
            limits.inbound_bytes,
            burst=limits.inbound_burst,
            per_second=limits.inbound_messages_per_second,
            now=trio.current_time(),
        )
        self._transport = transport
        self._head = head
        self._early = self._frame_limits.admit(rest, trio.current_time()) if rest else b""
        """Bytes that the engine has not read yet."""
        self._on_received = on_received
        self._answered = trio.Event()
        self._waiting = trio.CancelScope()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        await self._answered.wait()
        while not (self._over or self._early or self._ended or self.excess):
            if self.settled:
                self._take(await self._transport.receive(max_bytes or _READ_BYTES))
            else:
                with trio.CancelScope() as self._waiting:
                    self._take(await self._transport.receive(max_bytes or _READ_BYTES))
        if self._over or not self._early:
            await trio.lowlevel.checkpoint()
            return b""
        early, self._early = self._early, b""
        self._over = self.excess is not None
        return early

    def look(self) -> Literal["left", "vanished"] | None:
        """Return the row of the closing table for the peer's end of the connection, if it has ended it by now.

        Reads ahead of the engine, at most ``_EARLY_BYTES``; a peer that has sent more counts as connected.
        """
        assert not self.settled, "a connection that has its place is not looked at"
        try:
            while not self._ended and self.excess is None and len(self._early) < _EARLY_BYTES:
                data = self._transport.receive_nowait(_READ_BYTES)
                if data is None:
                    break
                self._take(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._ended = True
        if self._early or self._ended:
            self._waiting.cancel()  # the engine waits for the bytes that were read here
        if self._frame_limits.closing:
            return "left"
        return "vanished" if self._ended else None

    def _take(self, data: bytes) -> None:
        self._on_received()
        self._ended = not data
        self._early += self._frame_limits.admit(data, trio.current_time())

    @property
    def excess(self) -> tuple[str, str] | None:
        """The row of the closing table for the limit that the peer exceeded, and the reason in words."""
        return self._frame_limits.excess

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        frames = bytes(data)
        if not self._answered.is_set():
            self._transport.write(frames)
            self._answered.set()
        elif is_close(frames):
            self._send_close(frames)
        else:
            self._transport.write_control(frames)

    def _send_close(self, close: bytes) -> None:
        """Send the first Close, and no later one."""
        if not self.closed:
            self.closed = True
            self.close_code = int.from_bytes(close[2:4]) or None
            self._over = self._over or not self.closing
            self._transport.write(close)
            self._transport.seal()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """End the engine's side alone, because the connection closes its endpoint once everything is sent."""
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
    on_received: Callable[[], None],
) -> AsyncIterator[WebSocket]:
    """Answer an upgrade request and run the engine while the WebSocket is in use.

    Raises :class:`~actors.errors.PeerError` when the engine fails on the peer.
    The body's own exceptions pass through as they are.
    """
    stream = _EngineStream(transport, head=head, rest=rest, limits=limits, on_received=on_received)
    outcome: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream, max_message_size=limits.inbound_bytes)
            engine = await request.accept(subprotocol=subprotocol)
            try:
                yield WebSocket(engine, stream)
            except BaseException as error:  # raised again below, outside of the nursery
                if cancels(error):
                    raise
                outcome = error
            nursery.cancel_scope.cancel()
    except* _ENGINE_ERRORS as group:
        outcome = outcome or PeerError("bad_frame", str(group.exceptions[0]))
    if outcome is not None:
        raise outcome


class Closed(PeerError):
    """The end of a WebSocket that this side opened, or its failure to open one."""

    def __init__(
        self, name: str, text: str, *, code: int = 1006, status: int | None = None, final: bool = False
    ) -> None:
        super().__init__(name, text)
        self.code = code
        """The close code; 1006 when the connection ended without one."""
        self.status = status
        """The HTTP status, when the server refused the upgrade."""
        self.final = final
        """True if every other attempt would end alike, whatever the code: the certificate is not trusted, or the
        server speaks another protocol."""


class DialledWebSocket:
    """A WebSocket that this side has opened: text messages in and out."""

    def __init__(self, engine: WebSocketConnection, stream: _DialledStream) -> None:
        self.aborted = False
        self._engine = engine
        self._stream = stream

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server chose of those offered."""
        return self._engine.subprotocol

    async def receive(self) -> str:
        """Return the next text message; a checkpoint. Raises :class:`Closed` when the WebSocket has ended."""
        try:
            message = await self._engine.get_message()
        except ConnectionClosed as closed:
            raise _closed(closed, self._stream) from None
        if isinstance(message, bytes):
            raise Closed("binary", f"expected a text message, got {len(message)} bytes of binary")
        return message

    async def send(self, text: str) -> None:
        """Send a text message. Raises :class:`Closed` when the WebSocket is closed.

        Cancelled, it may have sent a part of the frame; the WebSocket is then good for nothing but :meth:`abort`.
        """
        try:
            await self._engine.send_message(text)
        except ConnectionClosed as closed:
            raise _closed(closed, self._stream) from None

    def abort(self) -> None:
        """Give up the WebSocket: at its end the ``dial`` block neither sends a Close nor waits for one."""
        self.aborted = True


class _DialledStream(trio.abc.Stream):
    """The network of an engine that dials.

    This stream reads the answer to the request, and checks it; the engine reads
    a valid one or nothing, and any other is raised as :class:`Closed`.
    """

    def __init__(self, below: trio.abc.Stream, most_bytes: int, *, on_received: Callable[[], None]) -> None:
        self.closed = False
        """True once a Close was sent: an answer to the server's, or our own."""
        self._below = below
        self._on_received = on_received
        self._agreement: UpgradeAnswerReader | None = None
        self._agreed = False
        self._rest = b""
        limits = Limits()
        self._frame_limits = FrameLimits(
            most_bytes,
            burst=limits.inbound_burst,
            per_second=limits.inbound_messages_per_second,
            now=trio.current_time(),
            dialled=True,
        )

    @property
    def excess(self) -> tuple[str, str] | None:
        """The row of the closing table for the limit that the server exceeded, and the reason in words."""
        return self._frame_limits.excess

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._agreed:
            return await self._agree()
        while self.excess is None:
            data, self._rest = self._rest or bytes(await self._below.receive_some(_READ_BYTES)), b""
            if not data:
                return b""
            self._on_received()
            if admitted := self._frame_limits.admit(data, trio.current_time()):
                return admitted
        await trio.lowlevel.checkpoint()
        return b""

    async def _agree(self) -> bytes:
        """Return the answer to our request, as the engine expects it. Raises :class:`Closed` unless the server
        agrees."""
        reader = self._agreement
        assert reader is not None, "an engine that dials sends its request before it reads"
        patience = trio.CancelScope()
        try:
            while True:
                data = b""
                with patience:
                    data = await self._receive()
                if not data:
                    reader.end()
                elif (agreed := reader.feed(data)) is not None:
                    self._agreed, self._rest = True, agreed.rest
                    return agreed.answer
                seconds = _REFUSAL_SECONDS if reader.refusing else math.inf
                patience = trio.CancelScope(deadline=min(patience.deadline, trio.current_time() + seconds))
        except UpgradeRefused as refused:
            name = "vanished" if refused.status is None else "unavailable"
            raise Closed(name, str(refused), status=refused.status, final=refused.final) from None

    async def _receive(self) -> bytes:
        """Return the bytes that have come, ``b""`` at the end."""
        try:
            return bytes(await self._below.receive_some(_READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        closes = self._agreed and len(data) > 0 and is_close(bytes(data[:1]))
        self.closed = self.closed or closes
        try:
            await self._below.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if not self._agreed:
                raise Closed("vanished", "expected an upgrade, the connection ended") from None
            if not closes:  # a server that does not wait for our Close has sent its own, with the reason
                raise
        if self._agreement is None:
            self._agreement = UpgradeAnswerReader(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await self._below.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream below, because the engine sends nothing more."""
        await trio.aclose_forcefully(self._below)


@asynccontextmanager
async def dial(
    url: str,
    *,
    subprotocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    open_seconds: float = _DIAL_SECONDS,
    close_seconds: float = _DIAL_SECONDS,
    most_bytes: int = _MESSAGE_BYTES,
    on_received: Callable[[], None] = lambda: None,
) -> AsyncIterator[DialledWebSocket]:
    """Open a WebSocket to a ``ws:`` or ``wss:`` URL, and close it afterwards.

    ``open_seconds`` is the time to reach the server, for TLS and the upgrade
    together; ``close_seconds`` the time for its answer to our Close. A message
    of more than ``most_bytes`` ends the WebSocket. ``on_received`` is called
    whenever bytes have come.

    Raises :class:`Closed` when the server cannot be reached or refuses, with
    its answer. The body's own exceptions pass through.
    """
    # The socket is opened and closed here, because the engine does not close
    # one that the server closed first.
    parts = urlsplit(url)
    deadline = trio.current_time() + open_seconds
    below = await _reach(parts, ssl_context, deadline)
    stream = _DialledStream(below, most_bytes, on_received=on_received)
    request = _Upgrade(
        url=parts, subprotocol=subprotocol, headers=headers or {}, most_bytes=most_bytes, deadline=deadline
    )
    outcome: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            engine = await _upgraded(nursery, stream, request)
            websocket = DialledWebSocket(engine, stream)
            try:
                yield websocket
            except BaseException as error:  # raised again below, outside of the nursery
                if cancels(error):
                    raise
                outcome = error
            if not websocket.aborted:
                with trio.move_on_after(close_seconds):
                    await engine.aclose()
            nursery.cancel_scope.cancel()
    except* Exception as group:  # noqa: BLE001 - the engine's own, caused by the server; the body's are kept above
        outcome = outcome or _refusal(group.exceptions[0])
    finally:
        await trio.aclose_forcefully(below)
    if outcome is not None:
        raise outcome


async def _reach(parts: SplitResult, ssl_context: ssl.SSLContext | None, deadline: float) -> trio.abc.Stream:
    """Open a stream to the server. Raises :class:`Closed` when there is none by the deadline."""
    secure = parts.scheme == "wss"
    host, awaited = parts.hostname or "", f"a server at {parts.netloc}"
    try:
        with trio.fail_at(deadline):
            stream = await trio.open_tcp_stream(host, parts.port or (443 if secure else 80))
            close_in_children(stream.socket)
            awaited = f"TLS of {parts.netloc}"
            return await _encrypted(stream, host, ssl_context) if secure else stream
    except trio.TooSlowError:
        raise Closed("vanished", f"expected {awaited}, got no answer in time") from None
    except (OSError, UnicodeError) as error:
        raise Closed("vanished", f"expected a server at {parts.netloc}, got: {reasons(error)}") from None
    except trio.BrokenResourceError as error:
        final = isinstance(error.__cause__, ssl.SSLCertVerificationError)
        raise Closed("vanished", f"expected TLS of {parts.netloc}, got: {reasons(error)}", final=final) from None


async def _encrypted(stream: trio.abc.Stream, host: str, context: ssl.SSLContext | None) -> trio.abc.Stream:
    context = context or ssl.create_default_context()
    encrypted = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await encrypted.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return encrypted


@attrs.frozen(kw_only=True)
class _Upgrade:
    """An upgrade request."""

    url: SplitResult
    subprotocol: str | None
    headers: Mapping[str, str]
    most_bytes: int
    deadline: float


async def _upgraded(nursery: trio.Nursery, stream: _DialledStream, request: _Upgrade) -> WebSocketConnection:
    """Return the engine, once the server has agreed. Raises :class:`Closed` when it has not, by the deadline."""
    url = request.url
    with trio.move_on_at(request.deadline):
        return await wrap_client_stream(
            nursery,
            stream,  # type: ignore[arg-type]  # its documentation allows any stream
            url.netloc,
            urlunsplit(("", "", url.path or "/", url.query, "")),
            subprotocols=None if request.subprotocol is None else [request.subprotocol],
            extra_headers=[(name.encode(), value.encode()) for name, value in request.headers.items()],
            max_message_size=request.most_bytes,
            receive_buffer_size=_READ_BYTES,
        )
    raise Closed("unavailable", "expected an upgrade, got none in time")


def _refusal(error: Exception) -> Closed:
    """Describe the failure of a dialled server to speak WebSocket."""
    if isinstance(error, Closed):
        return error
    return Closed("bad_frame", f"expected a WebSocket, the connection failed{f': {error}' if str(error) else ''}")


def _closed(closed: ConnectionClosed, stream: _DialledStream) -> Closed:
    if stream.excess is not None:
        return Closed(*stream.excess)
    if closed.reason is None:
        return Closed("vanished", "the WebSocket broke")
    code, reason = int(closed.reason.code), printable(closed.reason.reason or "")
    if code != 1006 and not stream.closed:  # the engine takes a broken frame for the peer's Close, and answers nothing
        return Closed("bad_frame", f"expected a WebSocket frame, got a broken one: {reason}")
    text = f"the WebSocket was closed with {code}{f': {reason}' if reason else ''}"
    return Closed(closing_of(code).name, text, code=code)
