"""The claim: devices that read slowly, or not at all, cost the others nothing.

The same schedule runs alone, beside devices that read 4 KiB a second, and beside devices that
read nothing, in turn, round after round; each bad device belongs to one of the measured users, and is
sent that user's events as well. Quoted are medians, and the ratio to the figures of the run alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from statistics import median

from actors.tools.arguments import count, patience
from actors.tools.terminal import say
from benchmarks.schedule import Schedule
from benchmarks.spread import Run, child, measure

KINDS = "alone", "slow", "stalled"


@contextmanager
def neighbours(kind: str, count: int, port: str) -> Iterator[None]:
    """Run bad devices beside the block."""
    with child("benchmarks.neighbours", "--port", port, "--kind", kind, "--count", count) as devices:
        devices.wait_for("connected")
        yield
        devices.write_line("stop")


def measured(kind: str, schedule: Schedule, count: int) -> Run:
    """Run the schedule once, beside such devices."""
    return measure("actors", schedule, lambda port: nullcontext() if kind == "alone" else neighbours(kind, count, port))


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options to a parser."""
    parser.add_argument("--connections", type=count, default=200)
    parser.add_argument("--rate", type=count, default=20_000, help="events a second over all connections")
    parser.add_argument("--seconds", type=patience, default=5.0, help="measured, after a second of warm-up")
    parser.add_argument("--count", type=count, default=50, help="bad devices, each of another user")
    parser.add_argument("--rounds", type=count, help="runs of each kind; the median is quoted (5; with --quick 1)")


def main(options: argparse.Namespace) -> None:
    """Measure all kinds in turn; exit with 1 if an event was lost, doubled or swapped on a good connection."""
    schedule = Schedule(options.connections, options.rate, options.seconds)
    runs: dict[str, list[Run]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds or (1 if options.quick else 5)):
        for kind, done in runs.items():
            done.append(measured(kind, schedule, options.count))
    alone = median(run.load.p99_ms for run in runs["alone"])
    for kind, done in runs.items():
        p50, p99 = median(run.load.p50_ms for run in done), median(run.load.p99_ms for run in done)
        cpu = median(run.server_cpu_seconds for run in done)
        text = (
            f"{kind:>8}: p50 {p50:5.1f} ms, p99 {p99:5.1f} ms ({p99 / alone:.2f} of alone), server {cpu:.2f} s of CPU"
        )
        say(f"{text}, lost {sum(run.load.lost for run in done)}\n")
    if any(run.broken for done in runs.values() for run in done):
        raise SystemExit(1)
