"""The claim: devices that only answer pings take next to nothing.

The share of a core that the server takes while so many connections are idle. The pings are each server's own usual
ones; a server that sends none has none in its figure, and the table says so.
"""

from __future__ import annotations

import argparse
import resource
import time

from actors.tools.arguments import count, patience
from benchmarks.children import ProcessFailed
from benchmarks.comparison import Entrant, entrants, notes
from benchmarks.figures import Cell, Table
from benchmarks.measurement import connected, served
from benchmarks.peers.roster import PEERS
from benchmarks.progress import Progress
from benchmarks.schedule import Schedule

SPARE_FILES = 200
"""Descriptors of a process besides its connections."""

PINGS = {
    "actors": "15 s",
    "actors-compiled": "15 s",
    "websockets": "20 s",
    "socketio-node": "25 s",
    "python-socketio": "25 s",
    "nats-jetstream": "120 s",
}
USUAL = ("actors", "actors-compiled", "websockets", "socketio-node")
QUICK = ("actors",)


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    parser.add_argument("--connections", type=count, help="(10,000; with --quick 300)")
    parser.add_argument("--seconds", type=patience, help="measured (60; with --quick 16, a ping of ours)")
    told = f"({' '.join(USUAL)}; with --quick {QUICK[0]})"
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), metavar="PEER", help=told)


def too_few_files(connections: int) -> str | None:
    """Return the reason for which this machine cannot have so many connections; ``None`` if it can."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY or most >= connections + SPARE_FILES:
        return None
    return f"skipped: {connections:,} connections need as many files, and the hard limit is {most:,} (ulimit -Hn)"


def core_percent(entrant: Entrant, schedule: Schedule) -> dict[str, Cell] | None:
    """Measure one server; nothing where it failed, which is noted."""
    try:
        with served(entrant.peer, schedule) as server, connected(server, entrant.peer, schedule) as (loading, opened):
            before = server.cpu_seconds()
            time.sleep(schedule.seconds)
            percent = 100 * (server.cpu_seconds() - before) / schedule.seconds
            loading.write_line("stop")
    except ProcessFailed as error:
        entrant.failed = str(error)
        return None
    return {
        "server": entrant.peer.name,
        "core %": percent,
        "a ping each": PINGS.get(entrant.peer.name, "none"),
        "KiB each": opened.resident_kib,
        "ms CPU to open": round(opened.connect_ms, 2),
    }


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure one server after the other."""
    connections = options.connections or (300 if options.quick else 10_000)
    seconds = options.seconds or (16.0 if options.quick else 60.0)
    title = f"fleet: {connections:,} idle connections, {seconds:g} s"
    if reason := too_few_files(connections):
        return [Table("fleet", title, [], notes=[reason])]
    entered = entrants(options.peers or (QUICK if options.quick else USUAL))
    progress.begin(sum(one.runs_on for one in entered))
    rows = []
    for one in entered:
        if one.runs_on:
            progress.step(one.peer.name)
            row = core_percent(one, Schedule(connections, rate=1, seconds=seconds))
            rows += [row] if row else []
    told = notes(entered)
    return [Table("fleet", title, rows, notes=told, broken=any(one.failed for one in entered))]
