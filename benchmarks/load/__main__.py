"""The process of the load client: connect, run the schedule, report.

It prints ``connected`` once every connection is ready, waits for ``go START``, and prints ``report JSON`` once
every event was received or the server is silent. On ``stop`` in place of ``go`` it stays idle until then, answers
pings, and reports nothing.
"""

from __future__ import annotations

import gc
import json
import select
import sys
import time

import attrs

from benchmarks import process
from benchmarks.load.loop import AT_ONCE, Loop
from benchmarks.load.protocols import PROTOCOLS
from benchmarks.load.totals import Report, Totals
from benchmarks.schedule import Schedule

ACK_SECONDS = 1.0
SILENCE_SECONDS = 10.0
"""Silence after which missing events count as lost, because a server that is behind still sends."""


@attrs.define
class Load:
    """A schedule's receiving side."""

    schedule: Schedule
    loop: Loop = attrs.field(factory=lambda: Loop(Totals()))

    def connect(self, port: int, protocol: str) -> None:
        """Open all connections, a few at a time."""
        kind, schedule = PROTOCOLS[protocol], self.schedule
        numbers = range(schedule.connections)
        totals = self.loop.totals
        self.loop.connect((kind(port, number, schedule.user_of(number), totals) for number in numbers), AT_ONCE)

    def run(self, start: float) -> Report:
        """Read until every event is received, or the server is silent."""
        cpu_before = process.cpu_seconds()
        loop, totals, schedule = self.loop, self.loop.totals, self.schedule
        totals.start, totals.mark = start, schedule.warmup
        totals.received_bytes = 0
        expected = sum(schedule.events(schedule.user_of(number)) for number in range(schedule.connections))
        swept = received_at = max(start, time.monotonic())
        with memoryview(loop.inbox) as window:
            while totals.received < expected and loop.open:
                if loop.poll(window):
                    received_at = time.monotonic()
                swept = self.sweep(swept)
                if time.monotonic() - received_at > SILENCE_SECONDS + 1 / schedule.rate:
                    break
        return totals.report(expected, process.cpu_seconds() - cpu_before, time.monotonic() - start)

    def sweep(self, since: float) -> float:
        """Send the acks that are due each second, spread evenly, because all at once would stall the server."""
        now = time.monotonic()
        connections = self.loop.connections
        per_second = len(connections) / ACK_SECONDS
        first, last = (int(moment * per_second) for moment in (since, now))
        for number in range(first, min(last, first + len(connections))):
            connection = connections[number % len(connections)]
            if connection.acks and connection.unacked and not connection.closed:
                connection.ack()
        return now

    def idle(self) -> None:
        """Read, and answer pings, until the parent writes a line."""
        loop = self.loop
        with memoryview(loop.inbox) as window:
            while not select.select([sys.stdin], [], [], 0)[0]:
                loop.poll(window)
        if loop.totals.lost_connections:
            raise ConnectionError(f"expected idle connections, got {loop.totals.notes}")


def main() -> None:
    """Connect, run from the parent's START on, and report."""
    parser = process.parser(__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", choices=list(PROTOCOLS), required=True)
    options = parser.parse_args()
    load = Load(process.begin(options))
    load.connect(options.port, options.protocol)
    # Without the collector, because its pauses would be reported as the server's, and no object here is cyclic.
    gc.disable()
    process.write_line("connected")
    load.idle()
    start = process.wait_for_start()
    if start is not None:
        process.write_line("report", json.dumps(attrs.asdict(load.run(start))))


if __name__ == "__main__":
    main()
