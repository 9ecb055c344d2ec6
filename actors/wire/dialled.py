"""A WebSocket that this side opens, over trio-websocket: the only importer of it.

Only clients dial: the Python client, the demonstration and the command line.
What a server sends cannot end more than this one WebSocket, whatever the engine
makes of it.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, urlsplit, urlunsplit

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from actors.errors import PeerError
from actors.kernel.failures import cancels, printable
from actors.limits import Limits
from actors.protocol.codes import closing_of
from actors.wire.control_frames import is_close
from actors.wire.forks import close_in_children
from actors.wire.frame_limits import FrameLimits
from actors.wire.reasons import reasons
from actors.wire.upgrade_answer import UpgradeAnswerReader, UpgradeRefused

_READ_BYTES = 16_384
_DIAL_SECONDS = 10.0
"""Time to reach a dialled server and get its answer to the request, and again its answer to a Close."""
_MESSAGE_BYTES = 1 << 24
"""The largest message of a dialled server: 16 times what a default server retains of a user's events."""
_REFUSAL_SECONDS = 1.0
"""Time for a server to send the body of a refusal."""


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
        self.aborted: bool = False
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
        self.closed: bool = False
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
