"""The claim: events of one user that come together are written together.

Eight events of one user are due at one moment, as from a model that answers in tokens; each of our events still has
its number, its place in the log and its receipt.
"""

from __future__ import annotations

import argparse

import attrs

from benchmarks import ladder
from benchmarks.comparison import FEW, Scale, compare, complete, cpu_table, entrants
from benchmarks.figures import Table
from benchmarks.progress import Progress

BURST = 8
PEERS = ("actors", "actors-compiled", "mosquitto", "websockets", "picows", "limit")
FULL = Scale(connections=1_000, rate=20_000, seconds=5.0, rounds=5, peers=PEERS)
QUICK = Scale(connections=100, rate=8_000, seconds=0.6, rounds=1, warmup=0.3, peers=FEW)
RATES = (20_000, 30_000, 40_000, 60_000, 80_000, 100_000, 120_000, 140_000, 160_000, 200_000, 240_000)


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    FULL.options_into(parser, QUICK)
    ladder.options_into(parser, RATES, quick_rates=())


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure the cost of an event at one rate, and then, but in a look, the rate held."""
    schedule = attrs.evolve(complete(options), burst=BURST)
    entered = entrants(options.peers)
    progress.begin(options.rounds * sum(one.runs_on for one in entered))
    compare(entered, schedule, options.rounds, progress)
    title = f"bursts: {schedule.connections:,} connections, {BURST} events in a burst"
    rates, seconds, rounds = ladder.rungs(options)
    tables = [cpu_table("bursts", f"{title}, {schedule.rate:,} events/s", entered)]
    if rates:
        held = attrs.evolve(schedule, seconds=seconds)
        tables.append(ladder.climb("bursts", title, options.peers, held, rates, rounds, progress))
    return tables
