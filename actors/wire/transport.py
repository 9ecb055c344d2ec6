"""The transport of one connection: it sends whole frames, in the order in which they were written.

Invariant: a frame that this transport has begun to send is finished, under a
deadline, or the socket is aborted. There is one out-buffer for events, replies
and the protocol engine's own control frames, every frame enters it whole, and
after a Close none does. So no cancellation anywhere can tear a frame, and no
writer needs a lock.

Without a backlog a write is one ``send`` in the caller's step. A socket that
does not take everything gets a task, the writer, for as long as that lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

from actors.kernel.bounded import TokenBucket
from actors.kernel.task_set import Starter
from actors.limits import Limits
from actors.wire.endpoint import Carrier, Endpoint
from actors.wire.readiness import Readiness
from actors.wire.traffic import Traffic

_LOOKS = 5
"""The checks, within its deadline, for progress of the peer of a socket that takes nothing."""


class Tap(Protocol):
    """A listener on the line to one device."""

    def sent(self, frames: bytes) -> None:
        """Take whole frames that were written. Must not block, nor raise."""
        ...

    def received(self, text: str) -> None:
        """Take a message that came. Must not block, nor raise."""
        ...


class Transport:
    """The write side, and the read side, of one endpoint.

    ``on_drained`` is called when a backlog is gone; ``on_failed``, with the
    name of a row of :data:`~actors.protocol.codes.CLOSINGS`, when the socket is.
    Both may be called from within any method here.
    """

    __slots__ = (
        "_answers",
        "_backlog",
        "_clock",
        "_control_bytes",
        "_drained",
        "_endpoint",
        "_frames",
        "_held",
        "_limits",
        "_on_drained",
        "_on_failed",
        "_readiness",
        "_sent_bytes",
        "_tasks",
        "_told_bytes",
        "aborted",
        "carrier",
        "peer",
        "sealed",
        "stalled_since",
        "taps",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        tasks: Starter,
        *,
        limits: Limits,
        clock: Callable[[], float] = trio.current_time,
        on_drained: Callable[[], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self.sealed: bool = False
        """True once no more frames are taken: a Close was written, or the connection is over. The backlog is sent."""
        self.aborted: bool = False
        """True if the connection was ended in the middle of a frame, or with a backlog."""
        self.stalled_since: float | None = None
        """The time of the last progress, while there is a backlog."""
        self.taps: tuple[Tap, ...] = ()
        """The listeners on this line; none, and a comparison for each write and message, while it is not traced."""
        self.carrier: Carrier | None = endpoint.carrier
        """The carrier of the messages, if there is one; see :attr:`Endpoint.carrier`."""
        self.peer: str = endpoint.peer
        """The address of the peer, for logs."""
        self._endpoint = endpoint
        self._tasks = tasks
        self._readiness: Readiness | None = None
        """The watch over the endpoint, if there is one."""
        self._limits = limits
        self._clock = clock
        self._on_drained = on_drained
        self._on_failed = on_failed
        self._backlog = bytearray()
        self._answers: TokenBucket | None = None
        """The rate of control frames, from the first one on."""
        self._held = b""
        """Frames that go out with the next ones."""
        self._control_bytes = 0
        self._sent_bytes = 0
        self._told_bytes = 0
        """Of the bytes that were sent, those that :func:`tell` has told."""
        self._frames = 0
        """Frames that were written, and that it has not told."""
        self._drained: trio.Event | None = None
        """Set when the backlog is empty, for those that wait for that."""

    @property
    def pending_bytes(self) -> int:
        """Bytes that were written here and have not reached the peer, as far as the endpoint knows."""
        return len(self._backlog) + self._endpoint.pending_bytes()

    @property
    def delivered_bytes(self) -> int:
        """Bytes that have reached the peer. A slow peer's progress shows here long before the socket has room."""
        return self._sent_bytes - self._endpoint.pending_bytes()

    @property
    def is_ready(self) -> bool:
        """True if frames are taken, and none waits for the socket."""
        return not (self.sealed or self._backlog)

    @property
    def backlog_bytes(self) -> int:
        """Bytes that were written here and that the socket has not taken."""
        return len(self._backlog)

    def write(self, frames: bytes, count: int = 1) -> bool:
        """Send so many whole frames; true when the socket took all of them at once.

        The others are buffered and sent in order. Frames after a Close are
        discarded.
        """
        if self.sealed:
            return False
        if self.taps:
            _tell_taps(self, frames)
        self._frames += count
        if self._held:
            frames, self._held = self._held + frames, b""
        if self._backlog:
            self._backlog += frames
            return False
        sent = self._send(frames)
        if sent == len(frames):
            return True
        if not self.sealed:
            self._backlog += memoryview(frames)[sent:]
            self.stalled_since = self._clock()
            self._tasks.start_soon(self._send_backlog)
        return False

    def hold(self, frames: bytes, count: int = 1) -> None:
        """Send so many whole frames with the next ones, which must be on their way, because a system call costs more
        than what goes through it."""
        if self.taps:
            _tell_taps(self, frames)
        self._held += frames
        self._frames += count

    def release(self) -> None:
        """Send what is held, because the next ones are not on their way after all."""
        if self._held:
            self.write(b"", 0)

    def write_control(self, frames: bytes) -> None:
        """Send frames that a peer can cause at will; aborts the connection if they are too many for the rate, or for
        the backlog."""
        now = self._clock()
        if self._answers is None:
            limits = self._limits
            self._answers = TokenBucket(limits.inbound_burst, limits.inbound_messages_per_second, now=now)
        if not self._answers.take(now):
            self._fail("flooding")
        elif not self.write(frames) and not self.sealed:
            self._control_bytes += len(frames)
            if self._control_bytes > self._limits.control_bytes:
                self._fail("choked")

    def close(self) -> None:
        """End the connection; aborts it if there is a backlog. Idempotent."""
        self.sealed = True
        if self._backlog:
            self.abort()
        self.forget()
        self._endpoint.close()

    def abort(self) -> None:
        """End the connection now, whatever is being sent. Idempotent."""
        self.sealed = self.aborted = True
        self._backlog = bytearray()  # not cleared, because an endpoint that failed may still have a view of it
        self._note_drained()
        self.forget()
        self._endpoint.abort()

    async def drain(self) -> None:
        """Wait until the backlog is sent, or cannot be; a checkpoint only if it waits."""
        while self._backlog:
            await self.emptied()

    async def emptied(self) -> None:
        """Wait until the backlog has been empty once, whatever was written since; a checkpoint only if it waits."""
        if self._backlog:
            if self._drained is None:
                self._drained = trio.Event()
            await self._drained.wait()

    # --- reading ----------------------------------------------------------------

    def receive(self, most_bytes: int) -> bytes | None:
        """Return the peer's bytes that have arrived; ``None`` when there are none, ``b""`` at its end.

        Raises BrokenResourceError when the connection broke.
        """
        return self._endpoint.receive(most_bytes)

    def receive_ahead(self, most_bytes: int) -> bytes | None:
        """Return bytes that the endpoint has read ahead, and no others; like :meth:`receive`."""
        return self._endpoint.receive_ahead(most_bytes)

    async def wait_readable(self) -> None:
        """Wait until :meth:`receive` has an answer; a checkpoint. Raises ClosedResourceError when this side ends the
        connection."""
        await self._endpoint.wait_readable()

    @property
    def has_read_ahead(self) -> bool:
        """True if :meth:`receive` has bytes of which neither a wait nor a watch would tell."""
        return self._endpoint.has_read_ahead

    def watch(
        self, readiness: Readiness, on_readable: Callable[[], None], on_failed: Callable[[BaseException], object]
    ) -> None:
        """Have a function called whenever :meth:`receive` has an answer, until :meth:`forget` or the end; and another
        one if that cannot be told."""
        self._readiness = readiness
        readiness.watch(self._endpoint, on_readable, on_failed)

    def forget(self) -> None:
        """Have it called no more. Idempotent."""
        if self._readiness is not None:
            self._readiness.forget(self._endpoint)
            self._readiness = None

    async def discard(self) -> None:
        """Read and discard the peer's bytes, until it ends, so that it can read our Close and gets no reset."""
        self._endpoint.finish()
        try:
            while self._endpoint.receive(65_536) != b"":
                await self._endpoint.wait_readable()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    # --- the writer -------------------------------------------------------------

    async def _send_backlog(self) -> None:
        """Send the backlog, under a deadline that any progress renews."""
        assert self.stalled_since is not None, "there is a backlog"
        delivered = self.delivered_bytes
        while self._backlog:
            with trio.move_on_after(self._limits.write_deadline_seconds / _LOOKS):
                try:
                    await self._endpoint.wait_writable()
                except trio.ClosedResourceError:
                    return
            sent = self._send(self._backlog)
            del self._backlog[:sent]
            if sent or self.delivered_bytes > delivered:
                delivered, self.stalled_since = self.delivered_bytes, self._clock()
            elif self._backlog and self._clock() - self.stalled_since >= self._limits.write_deadline_seconds:
                self._fail("stalled")
        self.stalled_since = None
        self._control_bytes = 0
        if not self.aborted:
            self._note_drained()
            self._on_drained()

    def _note_drained(self) -> None:
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def _send(self, frames: bytes | bytearray) -> int:
        try:
            sent = self._endpoint.send(frames)
        except trio.BrokenResourceError:
            self._fail("vanished")
            return 0
        self._sent_bytes += sent
        return sent

    def _fail(self, name: str) -> None:
        self.abort()
        self._on_failed(name)


def _tell_taps(transport: Transport, frames: bytes) -> None:
    for tap in transport.taps:
        tap.sent(frames)


def tell(transport: Transport, traffic: Traffic) -> None:
    """Add to totals what a transport has written since the last time."""
    traffic.written_bytes += transport._sent_bytes - transport._told_bytes
    traffic.written_frames += transport._frames
    transport._told_bytes, transport._frames = transport._sent_bytes, 0
