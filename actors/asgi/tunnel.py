"""The tunnel: one client of an ASGI server as an endpoint of the runtime.

It lives in the runtime's loop. What the runtime writes is handed over to a
courier in the loop of the ASGI server, which may be another one, in another
thread; what the courier brings is fed to it here.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

NAME = "ASGI"
"""The carrier, in explanations."""

ROOM_BYTES = 64 * 1024
"""Bytes on their way to the ASGI server, beyond which nothing is taken: as many as a kernel socket of ours may keep."""


class Tunnel:
    """An :class:`~actors.wire.endpoint.Endpoint`, and the :class:`~actors.wire.endpoint.Carrier` of it.

    ``deliver`` is called with bytes that the runtime has written; ``end`` when
    it has written the last of them, with true if they are to be dropped.
    """

    name = NAME

    def __init__(self, peer: str, *, deliver: Callable[[bytes], object], end: Callable[[bool], object]) -> None:
        self.peer = peer
        self._deliver = deliver
        self._end = end
        self._incoming = bytearray()
        self._under_way = 0
        """Bytes that were handed over and not taken."""
        self._ended = False
        """True once the client sends nothing more."""
        self._broken = False
        self._closed = False
        self._is_aborted = False
        self._moved = trio.Event()
        """Set when something changed that a task may wait for; then replaced."""
        self._released = trio.Event()

    @property
    def carrier(self) -> Tunnel:
        """The carrier of the messages, which is known by this tunnel."""
        return self

    def __repr__(self) -> str:
        return f"<Tunnel of {self.peer} incoming={len(self._incoming)} under_way={self._under_way}>"

    # --- the endpoint -------------------------------------------------------------

    def fileno(self) -> int:
        """See :class:`Endpoint`: none, because the socket is the ASGI server's."""
        return -1

    @property
    def has_read_ahead(self) -> bool:
        """True if the courier has brought bytes that were not received. See :class:`Endpoint`."""
        return bool(self._incoming)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """See :class:`Endpoint`: takes as much as there is room for on the way."""
        self._check()
        room = ROOM_BYTES - self._under_way
        if room <= 0 or not data:
            return 0
        taken = bytes(data[:room])
        self._under_way += len(taken)
        self._deliver(taken)
        return len(taken)

    def receive(self, most_bytes: int) -> bytes | None:
        """See :class:`Endpoint`."""
        if self._incoming:
            data = bytes(self._incoming[:most_bytes])
            del self._incoming[:most_bytes]
            if not self._incoming:
                self._wake()
            return data
        if self._ended:
            return b""
        self._check()
        return None

    def receive_ahead(self, most_bytes: int) -> bytes | None:
        """See :class:`Endpoint`: all that there is, because the courier brings more only when it gets its turn."""
        return self.receive(most_bytes)

    def pending_bytes(self) -> int:
        """See :class:`Endpoint`: those that the ASGI server has not taken. Of the others it tells nothing."""
        return self._under_way

    async def wait_writable(self) -> None:
        """See :class:`Endpoint`."""
        await self._wait(lambda: self._under_way < ROOM_BYTES)

    async def wait_readable(self) -> None:
        """See :class:`Endpoint`."""
        await self._wait(lambda: bool(self._incoming) or self._ended)

    def finish(self) -> None:
        """See :class:`Endpoint`: after an answer nothing more comes from the client."""
        self._end(False)
        self.stop()

    def close(self) -> None:
        """See :class:`Endpoint`; the courier sends what was taken."""
        if not self._closed:
            self._closed = True
            self._incoming.clear()
            self._wake()
            self._end(self._is_aborted)

    def abort(self) -> None:
        """See :class:`Endpoint`; the courier sends no more, but cannot take back what the ASGI server has."""
        self._is_aborted = True
        self.close()

    # --- the carrier --------------------------------------------------------------

    async def wait_released(self) -> None:
        """Wait until the courier has come back from its last errand, and the ASGI server is left to itself."""
        await self._released.wait()

    # --- called for the courier ---------------------------------------------------

    async def feed(self, data: bytes) -> None:
        """Bring bytes of the client; returns when they were received, or never will be. A checkpoint."""
        if not (self._broken or self._closed):
            self._incoming += data
            self._wake()
        await self._wait_quietly(lambda: not self._incoming)

    def stop(self) -> None:
        """Note that the client sends nothing more."""
        self._ended = True
        self._wake()

    def took(self, size: int) -> None:
        """Note that the ASGI server has taken so many bytes."""
        self._under_way -= size
        self._wake()

    def snap(self) -> None:
        """Break: the ASGI server takes nothing more."""
        self._broken = True
        self._wake()

    def release(self) -> None:
        """Note that the courier is back. Idempotent."""
        self.snap()
        self._released.set()

    # --- waiting ------------------------------------------------------------------

    def _check(self) -> None:
        if self._broken or self._closed:
            raise trio.BrokenResourceError(f"{self.peer}: the ASGI server has ended the connection")

    async def _wait(self, ready: Callable[[], bool]) -> None:
        await self._wait_quietly(ready)
        if self._closed:
            raise trio.ClosedResourceError(f"{self.peer}: this end is closed")

    async def _wait_quietly(self, ready: Callable[[], bool]) -> None:
        await trio.lowlevel.checkpoint()
        while not (ready() or self._broken or self._closed):
            await self._moved.wait()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
