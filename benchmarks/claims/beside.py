"""The claim: devices that read slowly, or not at all, cost the others nothing.

The same schedule runs alone, beside devices that read 4 KiB a second, and beside devices that
read nothing, in turn, round after round; each bad device belongs to one of the measured users, and is
sent that user's events as well. Quoted are medians, and the ratio to the figures of the run alone in its round.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from actors.tools.arguments import count
from benchmarks.children import child
from benchmarks.comparison import Entrant, Scale, compare, complete, entrants
from benchmarks.figures import Cell, Table, ratios
from benchmarks.measurement import Beside, alone
from benchmarks.peers.roster import OURS
from benchmarks.progress import Progress

KINDS = {"none": "", "reads 4 KiB a second": "slow", "reads nothing at all": "stalled"}
FULL = Scale(connections=200, rate=20_000, seconds=5.0, rounds=5, peers=(OURS,))
QUICK = Scale(connections=50, rate=1_000, seconds=1.0, rounds=1, warmup=0.3, peers=(OURS,))


def neighbours(kind: str, count: int) -> Beside:
    """Make bad devices of a kind, as what runs beside a measurement."""
    if not kind:
        return alone

    @contextmanager
    def beside(port: str) -> Iterator[None]:
        with child("benchmarks.load.neighbours", "--port", port, "--kind", kind, "--count", count) as devices:
            devices.wait_for("connected")
            yield
            devices.write_line("stop")

    return beside


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    FULL.options_into(parser, QUICK)
    parser.add_argument("--count", type=count, help="bad devices, each of another user (50; with --quick 10)")


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure all kinds in turn."""
    schedule = complete(options)
    bad = options.count or (10 if options.quick else 50)
    runs = {kind: entrants([OURS])[0] for kind in KINDS}
    progress.begin(options.rounds * len(KINDS))
    for _ in range(options.rounds):
        for name, kind in KINDS.items():
            compare([runs[name]], schedule, 1, progress, beside=neighbours(kind, bad))
    title = f"beside: {schedule.connections:,} connections, {schedule.rate:,} events/s, {bad} bad devices"
    told = [note for one in runs.values() if (note := one.note())]
    rows = [_row(name, one, runs["none"]) for name, one in runs.items() if one.runs]
    return [Table("beside", title, rows, notes=told, broken=any(one.broken for one in runs.values()))]


def _row(name: str, entrant: Entrant, without: Entrant) -> dict[str, Cell]:
    latencies = [run.load.p99_ms for run in entrant.runs]
    return {
        "second device": name,
        "p50 ms": entrant.figure(lambda run: run.load.p50_ms),
        "p99 ms": entrant.figure(lambda run: run.load.p99_ms),
        "p99, of that without": ratios(latencies, [run.load.p99_ms for run in without.runs]),
        "CPU µs per event": entrant.figure(lambda run: run.cpu_us_per_delivery),
        "lost": sum(run.load.lost for run in entrant.runs),
    }
