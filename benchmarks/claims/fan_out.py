"""The claim: an event to a hundred devices of one user costs each of them what a bare broadcast does.

All devices are one user's, so that every event goes to all; figures are for each event and device.
"""

from __future__ import annotations

import argparse

import attrs

from benchmarks import ladder
from benchmarks.comparison import FEW, Scale, compare, complete, cpu_table, entrants
from benchmarks.figures import Table
from benchmarks.peers.roster import PEERS as ALL
from benchmarks.progress import Progress

PEERS = tuple(name for name in ALL if name != "python-socketio")
FULL = Scale(connections=100, rate=100, seconds=5.0, rounds=5, peers=PEERS)
QUICK = Scale(connections=50, rate=100, seconds=0.6, rounds=1, warmup=0.3, peers=FEW)
RATES = (50, 100, 150, 200, 300, 400, 500, 600, 800, 1_000, 1_300, 1_600, 2_000)


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    FULL.options_into(parser, QUICK)
    ladder.options_into(parser, RATES, quick_rates=())


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure the cost of an event at one rate, and then, but in a look, the rate held."""
    schedule = complete(options)
    schedule = attrs.evolve(schedule, devices=schedule.connections)
    entered = entrants(options.peers)
    progress.begin(options.rounds * sum(one.runs_on for one in entered))
    compare(entered, schedule, options.rounds, progress)
    title = f"fan-out: one user, {schedule.devices:,} devices"
    rates, seconds, rounds = ladder.rungs(options)
    tables = [cpu_table("fan-out", f"{title}, {schedule.rate:,} events/s", entered)]
    if rates:
        held = attrs.evolve(schedule, seconds=seconds)
        tables.append(ladder.climb("fan-out", title, options.peers, held, rates, rounds, progress))
    return tables
