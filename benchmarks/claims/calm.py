"""The claim: a calm server takes little, and is as quick as one that promises nothing.

At such a rate a server pays for being woken, and hardly for events, so this says what :mod:`benchmarks.claims.spread`
does not. Everything else is as there.
"""

from __future__ import annotations

import argparse

from benchmarks.comparison import FEW, Scale, compare, complete, cpu_table, entrants, ours_to
from benchmarks.figures import Table
from benchmarks.progress import Progress

FULL = Scale(connections=1_000, rate=500, seconds=8.0, rounds=5)
QUICK = Scale(connections=100, rate=500, seconds=0.7, rounds=1, warmup=0.3, peers=FEW)


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    FULL.options_into(parser, QUICK)


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure all peers in turn."""
    schedule = complete(options)
    entered = entrants(options.peers)
    progress.begin(options.rounds * sum(one.runs_on for one in entered))
    compare(entered, schedule, options.rounds, progress)
    title = f"calm: {schedule.connections:,} connections, {schedule.rate:,} events/s"
    table = cpu_table("calm", title, entered)
    for row, one in zip(table.rows, (one for one in entered if one.runs), strict=True):
        row["p50 ours / its"] = ours_to(entered, one, lambda run: run.load.p50_ms)
        row["p99 ours / its"] = ours_to(entered, one, lambda run: run.load.p99_ms)
    return [table]
