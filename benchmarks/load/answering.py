"""Devices that only answer: each sends acks or pongs in turn, at a rate, while nothing is sent to it.

The process prints ``connected``, waits for ``go START``, sends what is due until the schedule is over, and prints
``report JSON``: how many frames it sent. A connection that the server ends is an error.
"""

from __future__ import annotations

import json
import time

from benchmarks import process
from benchmarks.framing.rfc6455 import TEXT, client_frame
from benchmarks.load.loop import AT_ONCE, Loop
from benchmarks.load.totals import Totals
from benchmarks.load.websocket import Actors
from benchmarks.schedule import Feed, Schedule

MESSAGES = {"ack": b'{"op":"ack","offset":0}', "pong": b'{"op":"pong"}'}


def answer(loop: Loop, schedule: Schedule, start: float, message: bytes) -> int:
    """Send what is due until the end of the schedule; returns the number of frames. Raises ConnectionError."""
    frame, sent, events = client_frame(TEXT, message), 0, Feed(schedule, start)
    connections = loop.connections
    with memoryview(loop.inbox) as window:
        while not events.finished:
            for turn in events.turns_due():
                connections[turn % len(connections)].send(frame)
                sent += 1
            loop.poll(window, seconds=0.0)
            time.sleep(events.pause_seconds)
        loop.poll(window)
    if loop.totals.lost_connections:
        raise ConnectionError(f"expected every connection to stay, got {loop.totals.notes}")
    return sent


def main() -> None:
    """Connect, answer, report."""
    parser = process.parser(__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--message", choices=list(MESSAGES), required=True)
    options = parser.parse_args()
    schedule, loop = process.begin(options), Loop(Totals())
    devices = (Actors(options.port, number, number, loop.totals) for number in range(schedule.connections))
    loop.connect(devices, AT_ONCE)
    process.write_line("connected")
    start = process.wait_for_start()
    if start is not None:
        process.write_line("report", json.dumps(answer(loop, schedule, start, MESSAGES[options.message])))


if __name__ == "__main__":
    main()
