"""Endpoints: a byte pipe that never blocks, and the two waits.

What sits above decides when to write and what to do with what was not taken;
so the same write path runs over a kernel socket, over TLS and over memory.
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
"""The bytes that the kernel may take of a socket beyond what it can send at once. Without a bound it takes
megabytes, and for minutes a device that reads nothing looks like one that reads."""

PIECE_BYTES = 2 * 1024
"""The piece that an endpoint hands to what lets go of it only as a whole, Unix sockets and streams: so small that a
device that takes a kilobyte a second is seen taking it."""


class Endpoint(Protocol):
    """One end of a byte pipe.

    ``send`` and ``receive`` raise :class:`trio.BrokenResourceError` when the
    pipe is broken; the waits raise :class:`trio.ClosedResourceError` when this
    end is closed meanwhile.
    """

    peer: str
    """The address of the peer, for logs."""

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Hand over what is taken at once; returns how many bytes that were, 0 when none."""
        ...

    def receive(self, most_bytes: int) -> bytes | None:
        """Return what has arrived; ``None`` when nothing has, ``b""`` when nothing will."""
        ...

    def pending_bytes(self) -> int:
        """Return the bytes taken here that have not reached the other end, as far as can be known."""
        ...

    async def wait_writable(self) -> None:
        """Wait until ``send`` may take something; a checkpoint."""

    async def wait_readable(self) -> None:
        """Wait until ``receive`` has an answer; a checkpoint."""

    def finish(self) -> None:
        """Say that nothing more will be sent; the peer may still send."""

    def close(self) -> None:
        """End the pipe; what was taken is still delivered. Idempotent."""

    def abort(self) -> None:
        """End the pipe now; what the peer did not read yet is lost. Idempotent."""


class SocketEndpoint:
    """An :class:`Endpoint` over a connected kernel socket, which it owns from now on, its forked children excepted."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        close_in_children(sock)
        self._socket = sock
        self._closed = False
        self._is_unix = sock.family not in (socket.AF_INET, socket.AF_INET6)
        self.peer = _name(sock)
        if not self._is_unix:
            _tune(sock)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """See :class:`Endpoint`."""
        if not self._is_unix or len(data) <= PIECE_BYTES:
            return self._send(data)
        sent = 0
        with memoryview(data) as view:
            while sent < len(view) and (taken := self._send(view[sent : sent + PIECE_BYTES])):
                sent += taken
        return sent

    def pending_bytes(self) -> int:
        """See :class:`Endpoint`: what the kernel keeps until the peer's has it, where it says so."""
        return 0 if self._closed else _kept(self._socket.fileno())

    def receive(self, most_bytes: int) -> bytes | None:
        """See :class:`Endpoint`."""
        try:
            return self._socket.recv(most_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(f"{self.peer}: {error}") from None

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

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(f"{self.peer}: {error}") from None

    def _open(self) -> socket.socket:
        if self._closed:
            raise trio.ClosedResourceError(f"{self.peer}: this end is closed")
        return self._socket


def _tune(sock: socket.socket) -> None:
    """Send small events at once.

    No TCP_USER_TIMEOUT, because it also ends the connection of a peer that takes a little all the time, in pieces
    smaller than the first one that waits. A ping finds a dead peer.
    """
    with suppress(OSError):  # the peer may have reset the connection already
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def _kept(fileno: int) -> int:
    """Return the bytes in the socket's send queue: taken by the kernel, and not by the peer's (TIOCOUTQ)."""
    kept = bytearray(4)
    if sys.platform != "win32" and fileno >= 0:
        with suppress(OSError):
            fcntl.ioctl(fileno, termios.TIOCOUTQ, kept)
    return int.from_bytes(kept, sys.byteorder)


def _name(sock: socket.socket) -> str:
    try:
        peer = sock.getpeername()
    except OSError:
        return "a peer that has gone"
    if isinstance(peer, tuple):
        return f"{peer[0]}:{peer[1]}"
    return "a unix socket"


class StreamEndpoint:
    """An :class:`Endpoint` over any Trio stream: one write under way at a time, pumped by :meth:`run`.

    For streams that do not give their socket away: a host's TLS stream, a pipe,
    a tunnel. ``send`` takes at most ``room_bytes`` until they have been passed on.
    """

    def __init__(self, stream: trio.abc.Stream, room_bytes: int = 65_536) -> None:
        self.peer = type(stream).__name__
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

    def pending_bytes(self) -> int:
        """See :class:`Endpoint`: what the stream below has not taken, and what its socket keeps, where there is one."""
        return len(self._outgoing) + _kept(_fileno_below(self._stream))

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
        """See :class:`Endpoint`; a stream that is not a socket has only the whole end."""

    def close(self) -> None:
        """See :class:`Endpoint`; the pump passes on what was taken, then ends."""
        self._closed = True
        self._wake()

    def abort(self) -> None:
        """See :class:`Endpoint`; a peer that reads nothing would hold the pump in its send for ever."""
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
        for bell in (self._taken, self._given, self._received, self._wanted):
            bell.set()


def _fileno_below(stream: object) -> int:
    """Return the socket that a stream stands on, if it stands on one as Trio's own streams do; else -1."""
    while stream is not None and not isinstance(stream, trio.SocketStream):
        stream = getattr(stream, "transport_stream", None)
    return -1 if stream is None else stream.socket.fileno()
