"""The claim: a connection takes little to open, and little memory while nothing happens.

Processor time of the server from a connection's first byte until events can come (for ours from the request over the
hello to caught up, for a broker with its session and subscription), and the growth of its resident memory, both
divided by the connections.
"""

from __future__ import annotations

import argparse

from actors.tools.arguments import count
from benchmarks.children import ProcessFailed
from benchmarks.comparison import Entrant, entrants, notes
from benchmarks.figures import Cell, Table, ratios, spread
from benchmarks.measurement import Opened, connected, served
from benchmarks.peers.roster import OURS, PEERS
from benchmarks.progress import Progress
from benchmarks.schedule import Schedule


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    parser.add_argument("--connections", type=count, help="(2,000; with --quick 200)")
    parser.add_argument("--rounds", type=count, help="of each server; the median is quoted (3; with --quick 1)")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="PEER")


def open_once(entrant: Entrant, schedule: Schedule) -> Opened | None:
    """Open the connections of one server, and close them; nothing where it failed, which is noted."""
    try:
        with served(entrant.peer, schedule) as server, connected(server, entrant.peer, schedule) as (loading, opened):
            loading.write_line("stop")
    except ProcessFailed as error:
        entrant.failed = str(error)
        return None
    return opened


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Open the connections of all peers, in turn."""
    connections = options.connections or (200 if options.quick else 2_000)
    rounds = options.rounds or (1 if options.quick else 3)
    schedule = Schedule(connections, rate=1, seconds=1.0)
    entered = entrants(options.peers)
    found: dict[str, list[Opened]] = {one.peer.name: [] for one in entered}
    progress.begin(rounds * sum(one.runs_on for one in entered))
    for number in range(1, rounds + 1):
        for one in entered:
            if one.runs_on:
                progress.step(f"{one.peer.name}, round {number}")
                opened = open_once(one, schedule)
                found[one.peer.name] += [opened] if opened else []
    rows = [_row(one, found) for one in entered if found[one.peer.name]]
    told = notes(entered)
    title = f"idle: {connections:,} connections"
    broken = any(one.failed for one in entered)
    return [Table("idle", title, rows, notes=told, plotted="KiB each", broken=broken)]


def _row(entrant: Entrant, found: dict[str, list[Opened]]) -> dict[str, Cell]:
    theirs, ours = found[entrant.peer.name], found.get(OURS, [])
    other = entrant.peer.name != OURS
    cpu, kib = [one.connect_ms for one in theirs], [one.resident_kib for one in theirs]
    return {
        "server": entrant.peer.name,
        "KiB each": spread(kib),
        "KiB, actors / it": ratios([one.resident_kib for one in ours], kib) if other else None,
        "ms CPU to open": spread(cpu, 2),
        "ms, actors / it": ratios([one.connect_ms for one in ours], cpu) if other else None,
    }
