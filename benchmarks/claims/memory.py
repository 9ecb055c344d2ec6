"""The claim: a thread and a retained event take little memory.

The growth of resident memory, divided by what was added: threads of a user each, bound and silent; then events of 230
bytes on the wire, retained, with their receipts as long as the runtime can explain them.
"""

from __future__ import annotations

import argparse

from actors.tools.arguments import count
from benchmarks.figures import Table, spread
from benchmarks.progress import Progress
from benchmarks.retention import retained


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    parser.add_argument("--threads", type=count, help="of a user each (10,000; with --quick 1,000)")
    parser.add_argument("--events", type=count, help="in each thread (20; with --quick 10)")
    parser.add_argument("--rounds", type=count, help="processes; the median is quoted (3; with --quick 1)")


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure."""
    threads = options.threads or (1_000 if options.quick else 10_000)
    events = options.events or (10 if options.quick else 20)
    rounds = options.rounds or (1 if options.quick else 3)
    progress.begin(rounds)
    per_thread, per_event = [], []
    for number in range(1, rounds + 1):
        progress.step(f"round {number}")
        empty, bound, full = retained(threads, threads, events)
        per_thread.append(1024 * (bound.resident_kib - empty.resident_kib) / threads)
        per_event.append(1024 * (full.resident_kib - bound.resident_kib) / (threads * events))
    return [
        Table(
            "memory",
            f"memory: {threads:,} threads of a user each, {events} events in each",
            [
                {"what": "a bound, silent thread and its user", "bytes": spread(per_thread, 0)},
                {"what": "a retained event", "bytes": spread(per_event, 0)},
            ],
        )
    ]
