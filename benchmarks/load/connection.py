"""A connection of the load client: what it receives, the events it counts, and their order.

It uses raw sockets and parses by hand because it must never be the bottleneck: it
receives into one buffer that all connections share, walks the frame headers in place, and finds
``"n":`` and ``"due":`` by searching bytes; that is 2 to 3 µs of Python for an event.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import ClassVar

import attrs

from benchmarks.framing.rfc6455 import HEADER_BYTES
from benchmarks.load.totals import Totals

RECEIVE_BYTES = 256 * 1024
FRAME_BYTES = 1024 * 1024
"""The largest frame of an event stream."""

ACK_EVENTS = 128


def inbox_for_all() -> bytearray:
    """Make the buffer that all connections share, large enough for what one has kept and receives."""
    return bytearray(FRAME_BYTES + RECEIVE_BYTES + HEADER_BYTES)


@attrs.define(eq=False)
class Connection:
    """One connection in a protocol, which a subclass speaks: it is *ready* once events can come."""

    port: int
    number: int
    user: int
    totals: Totals
    socket: socket.socket = attrs.field(init=False)
    rest: bytes = b""
    n: int = 0
    holes: set[int] = attrs.field(factory=set)
    unacked: int = 0
    greeted: bool = False
    ready: bool = False
    closed: bool = False

    name: ClassVar[str]
    acks: ClassVar[bool] = False
    """True if the protocol wants an ack now and then; :meth:`ack` sends it."""

    # --- for the protocol ------------------------------------------------------

    def greeting(self) -> bytes:
        """Return the first bytes to send."""
        raise NotImplementedError

    def read(self, inbox: bytearray, end: int, now: float) -> int:
        """Read what is whole before ``end``; return where it ends. ``now`` is in seconds after the start."""
        raise NotImplementedError

    def ack(self) -> None:
        """Ack all that was received."""

    # --- for the loop ------------------------------------------------------------

    @property
    def device(self) -> str:
        """The device's name."""
        return f"device-{self.number}"

    @property
    def user_id(self) -> str:
        """The user's name."""
        return f"user-{self.user}"

    def open(self) -> None:
        """Begin to connect; the socket becomes writable when it is."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self.socket.connect_ex(("127.0.0.1", self.port))
        if code not in (0, errno.EINPROGRESS):
            self.lose(errno.errorcode[code])

    def greet(self) -> None:
        """Send the first bytes, on a socket that has become writable."""
        self.greeted = True
        self.send(self.greeting())

    def receive(self, inbox: bytearray, window: memoryview) -> None:
        """Receive once from the socket, and read what is whole."""
        held = len(self.rest)
        if held:
            inbox[:held] = self.rest
        try:
            received = self.socket.recv_into(window[held:], RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.lose(repr(error))
            return
        if not received:
            self.lose("end of stream")
            return
        totals = self.totals
        totals.received_bytes += received
        end = held + received
        at = self.read(inbox, end, time.monotonic() - totals.start)
        self.rest = bytes(inbox[at:end]) if at < end else b""
        if len(self.rest) > FRAME_BYTES:
            self.lose(f"a frame of more than {FRAME_BYTES} bytes")

    def count(self, inbox: bytearray, start: int, stop: int, now: float) -> bool:
        """Count the events of one message, a batch or a single one; true if there were any."""
        totals = self.totals
        found = inbox.find(b'"n":', start, stop)
        if found < 0:
            return False
        while found >= 0:
            comma = inbox.find(b",", found, stop)
            n = int(inbox[found + 4 : comma])
            due = inbox.find(b'"due":', comma, stop) + 6
            comma = inbox.find(b",", due, stop)
            at = float(inbox[due:comma])
            if at >= totals.mark:
                totals.latencies.append(now - at)
            if n == self.n + 1:
                self.n = n
            else:
                self.misplaced(n)
            self.unacked += 1
            totals.received += 1
            found = inbox.find(b'"n":', comma, stop)
        return True

    def misplaced(self, n: int) -> None:
        """Note an event that is not the next one: after a hole, late for one, or a duplicate."""
        self.totals.note(f"{self.device}: {n} after {self.n}")
        if n > self.n:
            self.holes.update(range(self.n + 1, n))
            self.n = n
            return
        self.totals.out_of_order += 1
        if n in self.holes:
            self.holes.remove(n)
        else:
            self.totals.received -= 1  # because a duplicate does not count towards the end of the run

    def become_ready(self) -> None:
        """Note that events can come from now on."""
        if not self.ready:
            self.ready = True
            self.totals.ready.append(self.number)

    def send(self, data: bytes) -> None:
        """Send a few bytes whole; without room, not at all, because the next ack includes this one."""
        try:
            if self.socket.send(data) < len(data):
                self.lose("no room for half a frame")
        except BlockingIOError:
            self.totals.note(f"{self.device}: no room for {data[:40]!r}")
        except OSError as error:
            self.lose(repr(error))

    def lose(self, reason: str) -> None:
        """Give the connection up; its missing events count as lost."""
        if not self.closed:
            self.closed = True
            self.totals.lost_connections += 1
            self.totals.note(f"{self.device}: {reason}")

    def close(self) -> None:
        """Close the socket at once, as a device that loses its network does not say goodbye."""
        self.closed = True
        self.socket.close()
