"""A storm: devices that are connected, all lose their connection at once, and all come back at once.

The process prints ``connected``, waits for ``go STRIKE``, and prints ``report JSON``: for each device the seconds from
the strike until it was caught up again.
"""

from __future__ import annotations

import json
import time

import attrs

from benchmarks import process
from benchmarks.load.connection import Connection
from benchmarks.load.loop import AT_ONCE, Loop
from benchmarks.load.protocols import PROTOCOLS
from benchmarks.load.totals import Totals
from benchmarks.load.websocket import Actors

FIRST_USER = 1_000_000
"""Users apart from those of the schedule, because they get no events: the storm alone is measured."""


@attrs.frozen
class Outcome:
    """The seconds until each device was back, and the problems of those that were not."""

    seconds: list[float]
    missing: int
    notes: list[str]


def again(before: Connection, totals: Totals) -> Connection:
    """Make the connection with which a device comes back, which resumes where its protocol can."""
    after = type(before)(before.port, before.number, before.user, totals)
    if isinstance(before, Actors) and isinstance(after, Actors):
        after.epoch, after.session, after.offset = before.epoch, before.session, before.offset
    return after


def strike(loop: Loop, moment: float) -> Outcome:
    """Close all connections at a moment, and open all again, all at the same time."""
    time.sleep(max(0.0, moment - time.monotonic()))
    gone = list(loop.connections)
    for connection in gone:
        loop.drop(connection)
    back, seconds = Loop(Totals()), list[float]()

    def note() -> None:
        seconds.append(time.monotonic() - moment)

    devices = (again(one, back.totals) for one in gone)
    try:
        back.connect(devices, at_once=len(gone), on_ready=note)
    except ConnectionError as error:
        back.totals.note(str(error))
    return Outcome(seconds, len(gone) - len(seconds), back.totals.notes)


def main() -> None:
    """Connect, strike, report, and stay until the parent ends."""
    parser = process.parser(__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", choices=list(PROTOCOLS), required=True)
    options = parser.parse_args()
    schedule = process.begin(options)
    kind, loop = PROTOCOLS[options.protocol], Loop(Totals())
    numbers = range(FIRST_USER, FIRST_USER + schedule.connections)
    loop.connect((kind(options.port, number, number, loop.totals) for number in numbers), AT_ONCE)
    process.write_line("connected")
    moment = process.wait_for_start()
    if moment is not None:
        process.write_line("report", json.dumps(attrs.asdict(strike(loop, moment))))
        process.wait_for_line()


if __name__ == "__main__":
    main()
