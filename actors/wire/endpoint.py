"""Endpoints: byte pipes whose sends and receives never block, with a wait for each.

The caller decides when to write, and keeps the bytes that were not taken; so the
same write path runs over a kernel socket, over TLS and over memory.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from typing import Protocol

import trio

from actors.wire.forks import close_in_children

if sys.platform != "win32":
    import fcntl
    import termios

UNSENT_BYTES = 64 * 1024
"""Unsent bytes that the kernel may buffer for a socket. Without a bound it takes megabytes, and for minutes a device
that reads nothing looks like one that reads."""

PIECE_BYTES = 2 * 1024
"""Bytes handed at once to Unix sockets and streams, which report progress only by whole pieces: small enough to see a
device read a kilobyte per second."""


class Carrier(Protocol):
    """Another server of this program, which owns the socket and carries the messages: an ASGI server.

    It answers pings and keeps the pongs, is paid for each message and not for
    its bytes, does not tell what has reached the peer, and ends a connection
    when it likes: to abort an endpoint is a request.
    """

    name: str
    """In words, for people."""

    async def wait_released(self) -> None:
        """Wait until it no longer sends to the peer, after the endpoint was closed."""


class Endpoint(Protocol):
    """One end of a byte pipe.

    ``send`` and ``receive`` raise :class:`trio.BrokenResourceError` when the
    pipe is broken; the waits raise :class:`trio.ClosedResourceError` when this
    end is closed meanwhile.
    """

    peer: str
    """The address of the peer, for logs."""

    @property
    def carrier(self) -> Carrier | None:
        """The carrier of the messages; ``None`` where bytes go to the system."""
        ...

    def fileno(self) -> int:
        """Return the descriptor by which the system tells that there is something to receive; -1 if there is none."""
        ...

    @property
    def has_read_ahead(self) -> bool:
        """True if ``receive`` has bytes that the system has handed over already, and tells nothing of."""
        ...

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Hand over bytes without waiting; returns the number of bytes taken."""
        ...

    def receive(self, most_bytes: int) -> bytes | None:
        """Return bytes that have arrived; ``None`` when there are none, ``b""`` at the end."""
        ...

    def receive_ahead(self, most_bytes: int) -> bytes | None:
        """Return bytes as ``receive`` does, but ask the system for no more: so there is an end of them, however fast
        the peer sends."""
        ...

    def pending_bytes(self) -> int:
        """Return the number of bytes taken that have not reached the peer, as far as the system tells."""
        ...

    async def wait_writable(self) -> None:
        """Wait until ``send`` may take something; a checkpoint."""

    async def wait_readable(self) -> None:
        """Wait until ``receive`` has an answer; a checkpoint."""

    def finish(self) -> None:
        """Send the end of the stream; the peer may still send."""

    def close(self) -> None:
        """End the pipe; bytes that were taken are still delivered. Idempotent."""

    def abort(self) -> None:
        """End the pipe now; bytes that the peer has not read yet are lost. Idempotent."""


class SocketEndpoint:
    """An :class:`Endpoint` over a connected kernel socket, which it owns; forked children close their copies."""

    __slots__ = ("_closed", "_is_unix", "_socket", "peer")

    carrier = None
    has_read_ahead = False

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        close_in_children(sock)
        self._socket = sock
        self._closed = False
        self._is_unix = sock.family not in (socket.AF_INET, socket.AF_INET6)
        self.peer: str = _name(sock)
        if not self._is_unix:
            _tune(sock)

    def fileno(self) -> int:
        """See :class:`Endpoint`."""
        return self._socket.fileno()

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """See :class:`Endpoint`."""
        if self._is_unix and len(data) > PIECE_BYTES:
            return self._send_in_pieces(data)
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(f"{self.peer}: {error}") from None

    def pending_bytes(self) -> int:
        """See :class:`Endpoint`: the socket's send queue, where the kernel tells it."""
        return 0 if self._closed else _unacked_bytes(self._socket.fileno())

    def receive(self, most_bytes: int) -> bytes | None:
        """See :class:`Endpoint`."""
        try:
            return self._socket.recv(most_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(f"{self.peer}: {error}") from None

    def receive_ahead(self, most_bytes: int) -> bytes | None:
        """See :class:`Endpoint`: none."""

    async def wait_writable(self) -> None:
        """See :class:`Endpoint`."""
        await trio.lowlevel.wait_writable(self._open())

    async def wait_readable(self) -> None:
        """See :class:`Endpoint`."""
        await trio.lowlevel.wait_readable(self._open())

    def finish(self) -> None:
        """See :class:`Endpoint`."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See :class:`Endpoint`."""
        if not self._closed:
            self._closed = True
            if self._socket.fileno() >= 0:  # in a forked child it was closed before anything ran
                trio.lowlevel.notify_closing(self._socket)
                self._socket.close()

    def abort(self) -> None:
        """See :class:`Endpoint`: a reset, so that the peer's kernel knows at once."""
        if not self._closed:
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def _send_in_pieces(self, data: bytes | bytearray | memoryview) -> int:
        sent = 0
        with memoryview(data) as view:
            while sent < len(view) and (taken := self.send(view[sent : sent + PIECE_BYTES])):
                sent += taken
        return sent

    def _open(self) -> socket.socket:
        if self._closed:
            raise trio.ClosedResourceError(f"{self.peer}: this end is closed")
        return self._socket


def _tune(sock: socket.socket) -> None:
    """Set TCP_NODELAY, so that small events are sent at once, and bound the unsent bytes.

    No TCP_USER_TIMEOUT, because it also ends the connection of a peer that reads slowly but steadily, in pieces
    smaller than the first segment that waits. A ping finds a dead peer.
    """
    with suppress(OSError):  # the peer may have reset the connection already
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def _unacked_bytes(fileno: int) -> int:
    """Return the bytes in the socket's send queue, which the peer's kernel has not acked (TIOCOUTQ)."""
    count = bytearray(4)
    if sys.platform != "win32" and fileno >= 0:
        with suppress(OSError):
            fcntl.ioctl(fileno, termios.TIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)


def _name(sock: socket.socket) -> str:
    try:
        peer = sock.getpeername()
    except OSError:
        return "a peer that has gone"
    if isinstance(peer, tuple):
        return f"{peer[0]}:{peer[1]}"
    return "a unix socket"


class StreamEndpoint:
    """An :class:`Endpoint` over any Trio stream, with one write at a time, pumped by :meth:`run`.

    For streams that do not expose their socket: a host's TLS stream, a pipe, a
    tunnel. ``send`` takes at most ``room_bytes`` until the stream has sent them.
    """

    carrier = None

    def __init__(self, stream: trio.abc.Stream, room_bytes: int = 65_536) -> None:
        self.peer: str = type(stream).__name__
        self._stream = stream
        self._room_bytes = room_bytes
        self._outgoing = b""
        self._incoming: bytes | None = None
        self._broken = False
        self._closed = False
        self._scope = trio.CancelScope()
        self._taken = trio.Event()
        self._given = trio.Event()
        self._received = trio.Event()
        self._wanted = trio.Event()

    def fileno(self) -> int:
        """See :class:`Endpoint`: none, because a stream in general has none."""
        return -1

    @property
    def has_read_ahead(self) -> bool:
        """True if the pump has bytes that were not received. See :class:`Endpoint`."""
        return bool(self._incoming)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Pump in both directions until the pipe ends; cancelling it breaks the pipe."""
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump_out)
                    task_status.started()
                    await self._pump_in()
            finally:
                self._broken = True
                self._wake()
                await trio.aclose_forcefully(self._stream)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """See :class:`Endpoint`."""
        self._check()
        if self._outgoing:
            return 0
        self._outgoing = bytes(data[: self._room_bytes])
        self._taken.set()
        return len(self._outgoing)

    def receive(self, most_bytes: int) -> bytes | None:
        """See :class:`Endpoint`."""
        if self._incoming is None:
            self._check()
            return None
        data = self._incoming[:most_bytes]
        if data:
            self._incoming = self._incoming[most_bytes:] or None
            if self._incoming is None:
                self._wanted.set()
        return data

    def receive_ahead(self, most_bytes: int) -> bytes | None:
        """See :class:`Endpoint`: all that there is, because the pump brings more only when it gets its turn."""
        return self.receive(most_bytes)

    def pending_bytes(self) -> int:
        """See :class:`Endpoint`: bytes that the stream has not taken, and the send queue of its socket, if any."""
        return len(self._outgoing) + _unacked_bytes(_fileno_below(self._stream))

    async def wait_writable(self) -> None:
        """See :class:`Endpoint`."""
        await trio.lowlevel.checkpoint()
        while self._outgoing and not (self._broken or self._closed):
            self._given = trio.Event()
            await self._given.wait()
        self._check_open()

    async def wait_readable(self) -> None:
        """See :class:`Endpoint`."""
        await trio.lowlevel.checkpoint()
        while self._incoming is None and not (self._broken or self._closed):
            self._received = trio.Event()
            await self._received.wait()
        self._check_open()

    def finish(self) -> None:
        """See :class:`Endpoint`; no effect, because a stream in general cannot end one direction alone."""

    def close(self) -> None:
        """See :class:`Endpoint`; the pump sends the bytes that were taken, then ends."""
        self._closed = True
        self._wake()

    def abort(self) -> None:
        """See :class:`Endpoint`; cancels the pump, because a peer that reads nothing would block it for ever."""
        self.close()
        self._scope.cancel()

    async def _pump_out(self) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while not self._broken:
                if self._outgoing:
                    await self._stream.send_all(self._outgoing[:PIECE_BYTES])
                    self._outgoing = self._outgoing[PIECE_BYTES:]
                    if not self._outgoing:
                        self._given.set()
                elif self._closed:
                    break
                else:
                    self._taken = trio.Event()
                    await self._taken.wait()
        await trio.aclose_forcefully(self._stream)

    async def _pump_in(self) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while self._incoming != b"" and not self._closed:
                data = await self._stream.receive_some(65_536)
                self._incoming = bytes(data)
                self._received.set()
                if data:
                    self._wanted = trio.Event()
                    await self._wanted.wait()
            return
        self._broken = True
        self._wake()

    def _check(self) -> None:
        if self._broken or self._closed:
            raise trio.BrokenResourceError(f"{self.peer}: the pipe is broken")

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"{self.peer}: this end is closed")

    def _wake(self) -> None:
        for event in (self._taken, self._given, self._received, self._wanted):
            event.set()


def _fileno_below(stream: object) -> int:
    """Return the descriptor of the socket below a stream of Trio's own kinds; -1 for any other stream."""
    while stream is not None and not isinstance(stream, trio.SocketStream):
        stream = getattr(stream, "transport_stream", None)
    return -1 if stream is None else stream.socket.fileno()
