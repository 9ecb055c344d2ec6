"""The claim: retained events are out of the cyclic collector's sight.

The time of a full collection beside no event and beside a million, in one process; the shortest of five each.
"""

from __future__ import annotations

import argparse

from actors.tools.arguments import count
from benchmarks.figures import Table, spread
from benchmarks.progress import Progress
from benchmarks.retention import retained

USERS = 1_000


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    parser.add_argument("--events", type=count, help="in all (1,000,000; with --quick 50,000)")
    parser.add_argument("--rounds", type=count, help="processes; the median is quoted (3; with --quick 1)")


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure."""
    events = options.events or (50_000 if options.quick else 1_000_000)
    rounds = options.rounds or (1 if options.quick else 3)
    progress.begin(rounds)
    found = []
    for number in range(1, rounds + 1):
        progress.step(f"round {number}")
        found.append(retained(USERS, USERS, max(1, events // USERS)))
    columns = ("nothing", f"{USERS:,} bound threads", f"{events:,} retained events")
    return [
        Table(
            "collector",
            f"collector: a full collection beside {events:,} retained events",
            [
                {
                    "beside": name,
                    "ms": spread([held[place].collection_ms for held in found], 2),
                    "ms more than empty": spread(
                        [held[place].collection_ms - held[0].collection_ms for held in found], 2
                    ),
                }
                for place, name in enumerate(columns)
            ],
        )
    ]
