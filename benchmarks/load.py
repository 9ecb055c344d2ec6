"""The load client: many WebSocket connections in one process, each event's latency and order checked.

It uses raw sockets and parses frames by hand because it must never be the bottleneck:
60,000 events per second leave 16 µs for each, the poll and the ``recv`` included, too
little for a WebSocket library or a full JSON parse. So it
receives into one buffer that all connections share, walks the frame headers in place, and finds
``"n":`` and ``"due":`` by searching bytes; that is 2 to 3 µs of Python for an event.
Only messages of the protocol itself (``op``) are parsed as JSON; they are rare.
"""

from __future__ import annotations

import gc
import json
import math
import re
import selectors
import socket
import struct
import time
from array import array

import attrs

from benchmarks import process
from benchmarks.schedule import WARMUP_SECONDS, Schedule

ACTORS = "actors.v1"
"""The subprotocol; a plain connection offers none, names its user in the path and acks nothing."""

RECEIVE_BYTES = 256 * 1024
FRAME_BYTES = 1024 * 1024
"""The largest frame of an event stream."""

HEADER_BYTES = 16
"""Padding after the buffer, so that a header that its end cuts off can be read without a check."""

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
"""First bytes of the expected frames, all with FIN, because neither server has a reason to fragment."""

ACK_EVENTS = 128
ACK_SECONDS = 1.0
SILENCE_SECONDS = 10.0
"""Silence after which missing events count as lost, because a server that is behind still sends."""

NOTES = 5
"""Problems that are reported in words; the counts are complete."""

DIGITS = re.compile(rb"\d+")


@attrs.frozen
class Report:
    """The client's report of one run."""

    events: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    lost: int
    out_of_order: int
    bytes_per_event: float
    cpu_seconds: float
    wall_seconds: float
    notes: list[str]


@attrs.define
class Totals:
    """The sums over all connections; an event due before ``mark`` is warm-up."""

    mark: float = math.inf
    latencies: array[float] = attrs.field(factory=lambda: array("d"))
    received: int = 0
    received_bytes: int = 0
    out_of_order: int = 0
    notes: list[str] = attrs.field(factory=list)

    def note(self, text: str) -> None:
        """Keep the first few problems in words."""
        if len(self.notes) < NOTES:
            self.notes.append(text)


def frame(first: int, payload: bytes) -> bytes:
    """Build a short client frame. Its mask is zero, because that is legal and costs this process nothing."""
    return struct.pack("!BBI", first, 0x80 | len(payload), 0) + payload


def extent(inbox: bytearray, at: int) -> tuple[int, int]:
    """Return the start and the stop of the payload of the frame at ``at``.

    For an incomplete header the length is meaningless, but its start is already
    behind the end of the data, and so is its stop.
    """
    length = inbox[at + 1]
    start = at + 2
    if length == 126:
        start += 2
        length = int.from_bytes(inbox[start - 2 : start])
    elif length == 127:
        start += 8
        length = int.from_bytes(inbox[start - 8 : start])
    return start, start + length


@attrs.define(eq=False)
class Connection:
    """One WebSocket: the frames it receives, the count it expects, the acks it owes."""

    socket: socket.socket
    user: str
    acks: bool
    totals: Totals
    rest: bytes = b""
    n: int = 0
    holes: set[int] = attrs.field(factory=set)
    offset: int = 0
    unacked: int = 0
    welcomed: bool = False
    closed: bool = False

    def receive(self, inbox: bytearray, window: memoryview) -> None:
        """Receive once from the socket, and read every whole frame."""
        held = len(self.rest)
        if held:
            inbox[:held] = self.rest
        try:
            received = self.socket.recv_into(window[held:], RECEIVE_BYTES)
        except ConnectionError as error:
            self.lose(repr(error))
            return
        if received:
            self.totals.received_bytes += received
            self.read(inbox, held + received, time.monotonic())
        else:
            self.lose("end of stream")

    def read(self, inbox: bytearray, end: int, now: float) -> None:
        """Read the whole frames before ``end``; keep the beginning of an incomplete one."""
        at = 0
        while True:
            start, stop = extent(inbox, at)
            if stop > end:
                break
            if inbox[at] != TEXT:
                self.control(inbox[at], bytes(inbox[start:stop]))
            elif not self.count(inbox, start, stop, now):
                self.operation(bytes(inbox[start:stop]))
            at = stop
        self.rest = bytes(inbox[at:end]) if at < end else b""
        if len(self.rest) > FRAME_BYTES:
            self.lose(f"a frame of more than {FRAME_BYTES} bytes")
        if self.acks:
            self.note_offset(inbox, at)

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
        self.totals.note(f"{self.user}: {n} after {self.n}")
        if n > self.n:
            self.holes.update(range(self.n + 1, n))
            self.n = n
            return
        self.totals.out_of_order += 1
        if n in self.holes:
            self.holes.remove(n)
        else:
            self.totals.received -= 1  # because a duplicate does not count towards the end of the run

    def note_offset(self, inbox: bytearray, end: int) -> None:
        """Note the last offset received, and send an ack when enough events wait for one."""
        found = inbox.rfind(b'"offset":', 0, end)
        if found >= 0 and (digits := DIGITS.match(inbox, found + 9)):
            self.offset = int(digits[0])
        if self.unacked >= ACK_EVENTS:
            self.ack()

    def ack(self) -> None:
        """Ack all that was received."""
        self.unacked = 0
        self.send(TEXT, b'{"op":"ack","offset":%d}' % self.offset)

    def operation(self, text: bytes) -> None:
        """Handle a message of the protocol."""
        message = json.loads(text)
        match message.get("op"):
            case "welcome":
                self.welcomed = True
            case "ping":
                self.send(TEXT, b'{"op":"pong"}')
            case "gap" | "reset":
                self.totals.note(f"{self.user} was told {text.decode()}")

    def control(self, first: int, payload: bytes) -> None:
        """Handle a control frame of RFC 6455."""
        if first == PING:
            self.send(PONG, payload)
        elif first == CLOSE:
            self.lose(f"closed by the server: {payload!r}")
        elif first != PONG:
            self.lose(f"a frame that starts with {first:#04x}")

    def send(self, first: int, payload: bytes) -> None:
        """Send a short frame whole; without room, not at all, because the next ack includes this one."""
        data = frame(first, payload)
        try:
            if self.socket.send(data) < len(data):
                self.lose("no room for half a frame")
        except BlockingIOError:
            self.totals.note(f"{self.user}: no room for {payload!r}")
        except ConnectionError as error:
            self.lose(repr(error))

    def lose(self, reason: str) -> None:
        """Give the connection up; its missing events count as lost."""
        self.closed = True
        self.totals.note(f"{self.user}: {reason}")


@attrs.define
class Load:
    """All connections, and the loop that reads them."""

    schedule: Schedule
    totals: Totals = attrs.field(factory=Totals)
    connections: list[Connection] = attrs.field(factory=list)
    inbox: bytearray = attrs.field(factory=lambda: bytearray(FRAME_BYTES + RECEIVE_BYTES + HEADER_BYTES))
    selector: selectors.BaseSelector = attrs.field(factory=selectors.DefaultSelector)

    def connect(self, port: int, protocol: str) -> None:
        """Open all connections, one after the other."""
        with memoryview(self.inbox) as window:
            for number in range(self.schedule.connections):
                connection = opened(port, f"user-{number}", protocol, self.totals)
                while connection.acks and not (connection.welcomed or connection.closed):
                    connection.receive(self.inbox, window)
                if connection.closed:
                    raise ConnectionError(self.totals.notes[0])
                connection.socket.setblocking(False)
                self.selector.register(connection.socket, selectors.EVENT_READ, connection)
                self.connections.append(connection)

    def run(self, start: float) -> Report:
        """Read until every event is received, or the server is silent."""
        cpu_before = process.cpu_seconds()
        self.totals.mark = start + WARMUP_SECONDS
        self.totals.received_bytes = 0
        expected = sum(map(self.schedule.events, range(self.schedule.connections)))
        swept = received_at = max(start, time.monotonic())
        with memoryview(self.inbox) as window:
            while self.totals.received < expected and self.selector.get_map():
                if self.poll(window):
                    received_at = time.monotonic()
                swept = self.sweep(swept)
                if time.monotonic() - received_at > SILENCE_SECONDS:
                    break
        return self.report(process.cpu_seconds() - cpu_before, time.monotonic() - start)

    def poll(self, window: memoryview) -> bool:
        """Read every connection that is readable; true if there was one."""
        ready = self.selector.select(timeout=0.01)
        for key, _ in ready:
            connection: Connection = key.data
            connection.receive(self.inbox, window)
            if connection.closed:
                self.selector.unregister(connection.socket)
        return bool(ready)

    def sweep(self, since: float) -> float:
        """Send the acks that are due each second, spread evenly, because all at once would stall the server."""
        now = time.monotonic()
        per_second = len(self.connections) / ACK_SECONDS
        first, last = (int(moment * per_second) for moment in (since, now))
        for number in range(first, min(last, first + len(self.connections))):
            connection = self.connections[number % len(self.connections)]
            if connection.acks and connection.unacked and not connection.closed:
                connection.ack()
        return now

    def report(self, cpu_seconds: float, wall_seconds: float) -> Report:
        """Make the report of the run."""
        totals = self.totals
        ranked = sorted(totals.latencies)
        lost = sum(self.schedule.events(i) - one.n + len(one.holes) for i, one in enumerate(self.connections))
        return Report(
            events=totals.received,
            p50_ms=1000 * quantile(ranked, 0.50),
            p99_ms=1000 * quantile(ranked, 0.99),
            max_ms=1000 * quantile(ranked, 1.0),
            lost=lost,
            out_of_order=totals.out_of_order,
            bytes_per_event=totals.received_bytes / max(1, totals.received),
            cpu_seconds=cpu_seconds,
            wall_seconds=wall_seconds,
            notes=totals.notes,
        )


def quantile(ranked: list[float], share: float) -> float:
    """Return the smallest value that ``share`` of all do not exceed (nearest rank)."""
    return ranked[math.ceil(share * len(ranked)) - 1] if ranked else math.inf


def opened(port: int, user: str, protocol: str, totals: Totals) -> Connection:
    """Make one WebSocket handshake, and say hello where the protocol requires it."""
    path = "/ws" if protocol == ACTORS else f"/{user}"
    offer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol == ACTORS else ""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    )
    stream = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_SECONDS)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(request.encode())
    head, _, rest = response(stream).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(f"expected 101 for {path}, got {head!r}")
    if protocol == ACTORS:
        stream.sendall(frame(TEXT, json.dumps({"op": "hello", "v": 1, "token": user}).encode()))
    return Connection(stream, user, acks=protocol == ACTORS, totals=totals, rest=rest)


def response(stream: socket.socket) -> bytes:
    """Receive an HTTP response's head, and the bytes that came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = stream.recv(RECEIVE_BYTES)
        if not received:
            raise ConnectionError(f"expected a response to the handshake, got {data!r} and the end of the stream")
        data += received
    return data


def main() -> None:
    """Connect, run from the parent's START on, and report."""
    parser = process.parser(__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", choices=(ACTORS, "plain"), required=True)
    options = parser.parse_args()
    load = Load(process.begin(options))
    load.connect(options.port, options.protocol)
    # Without the collector, because its pauses would be reported as the server's, and no object here is cyclic.
    gc.disable()
    process.write_line("connected")
    _, start = process.wait_for_line()
    process.write_line("report", json.dumps(attrs.asdict(load.run(float(start)))))


if __name__ == "__main__":
    main()
