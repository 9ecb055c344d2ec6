"""The claim: many connections, one thread each, and the highest rate at which every event is still in time."""

from __future__ import annotations

import argparse

import attrs

from benchmarks import ladder
from benchmarks.comparison import FEW, Scale, complete
from benchmarks.figures import Table
from benchmarks.progress import Progress

FULL = Scale(connections=1_000, rate=10_000, seconds=3.0, rounds=3)
QUICK = Scale(connections=50, rate=10_000, seconds=0.5, rounds=1, warmup=0.2, peers=FEW)

RATES = (
    5_000, 10_000, 15_000, 20_000, 25_000, 30_000, 40_000, 50_000, 60_000, 70_000, 85_000, 100_000, 120_000, 140_000,
    165_000, 200_000,
)  # fmt: skip
QUICK_RATES = (10_000,)


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    FULL.options_into(parser, QUICK)
    ladder.options_into(parser, RATES, QUICK_RATES)


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Climb with all peers."""
    schedule = complete(options)
    rates, seconds, rounds = ladder.rungs(options)
    schedule = attrs.evolve(schedule, seconds=seconds)
    title = f"held: {schedule.connections:,} connections, one event at a time"
    table = ladder.climb("held", title, options.peers, schedule, rates, rounds, progress)
    return [attrs.evolve(table, plotted="holds events/s")]
