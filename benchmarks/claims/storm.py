"""The claim: when many devices come back at once, all are caught up within seconds, and the others notice nothing.

Some steady devices get events all the time, while 2,000 others lose their connections at one moment and open new ones
at the next, all at once, as after a proxy's restart. Quoted are the seconds from that moment until a device is caught
up again, and the longest time that an event to a steady device took, which is the longest standstill.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from actors.tools.arguments import count
from benchmarks.children import child, cores
from benchmarks.comparison import Entrant, Scale, compare, complete, entrants, notes
from benchmarks.figures import Cell, Table, spread
from benchmarks.load.storm import Outcome
from benchmarks.load.totals import quantile
from benchmarks.measurement import LEAD_SECONDS, Beside
from benchmarks.peers.roster import Peer
from benchmarks.process import arguments_of
from benchmarks.progress import Progress
from benchmarks.schedule import Schedule

USUAL = ("actors", "actors-compiled", "websockets", "starlette", "socketio-node")
FULL = Scale(connections=50, rate=1_000, seconds=8.0, rounds=3, peers=USUAL)
QUICK = Scale(connections=20, rate=500, seconds=2.0, rounds=1, warmup=0.3, peers=("actors", "websockets"))
AFTER_SECONDS = 0.3
"""Time from the first measured event to the strike."""


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    FULL.options_into(parser, QUICK)
    parser.add_argument("--devices", type=count, help="that come back at once (2,000; with --quick 200)")


def storm_of(peer: Peer, schedule: Schedule, devices: int, outcomes: list[Outcome]) -> Beside:
    """Make a storm, which adds its outcome to the list."""

    @contextmanager
    def beside(port: str) -> Iterator[None]:
        _, core = cores()
        arguments = arguments_of(attrs.evolve(schedule, connections=devices))
        with child("benchmarks.load.storm", *arguments, "--port", port, "--protocol", peer.protocol, *core) as storm:
            storm.wait_for("connected")
            storm.write_line("go", time.monotonic() + LEAD_SECONDS + schedule.warmup + AFTER_SECONDS)
            yield
            outcomes.append(Outcome(**json.loads(storm.wait_for("report"))))
            storm.write_line("stop")

    return beside


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure all peers in turn."""
    schedule = complete(options)
    devices = options.devices or (200 if options.quick else 2_000)
    entered = entrants(options.peers)
    outcomes: dict[str, list[Outcome]] = {one.peer.name: [] for one in entered}
    progress.begin(options.rounds * sum(one.runs_on for one in entered))
    for _ in range(options.rounds):
        for one in entered:
            compare([one], schedule, 1, progress, beside=storm_of(one.peer, schedule, devices, outcomes[one.peer.name]))
    rows = [_row(one, outcomes[one.peer.name]) for one in entered if outcomes[one.peer.name]]
    told = notes(entered)
    told += [note for found in outcomes.values() for outcome in found for note in outcome.notes]
    missing = any(outcome.missing for found in outcomes.values() for outcome in found)
    title = (
        f"storm: {devices:,} devices come back at once, {schedule.connections} others get {schedule.rate:,} events/s"
    )
    broken = missing or any(one.broken for one in entered)
    return [Table("storm", title, rows, notes=told, plotted="p99 s to be back", broken=broken)]


def _row(entrant: Entrant, outcomes: list[Outcome]) -> dict[str, Cell]:
    ranked = [sorted(one.seconds) for one in outcomes]
    return {
        "server": entrant.peer.name,
        "p50 s to be back": spread([quantile(seconds, 0.5) for seconds in ranked], 2),
        "p99 s to be back": spread([quantile(seconds, 0.99) for seconds in ranked], 2),
        "missing": sum(one.missing for one in outcomes),
        "longest standstill ms": entrant.figure(lambda run: run.load.max_ms),
        "core %": entrant.figure(lambda run: run.cpu_percent, 0),
        "lost": sum(run.load.lost for run in entrant.runs),
    }
