"""The claim: many connections, one thread each, and what an event costs the server at a rate that all servers hold.

Each run is a fresh server on one core and a fresh load client on another. Events are due on a fixed schedule, and
their latency counts from the due time. The figure is the server's processor time for each event, because the
highest rate that holds depends on the machine's mood, and this does not. What the events take to be made is part of
it where the server makes them; a broker takes them from a publisher over TCP.
"""

from __future__ import annotations

import argparse

from benchmarks.comparison import Scale, complete, cpu_claim
from benchmarks.figures import Table
from benchmarks.progress import Progress

FULL = Scale(connections=1_000, rate=10_000, seconds=5.0, rounds=5)
QUICK = Scale(connections=100, rate=5_000, seconds=0.6, rounds=1, warmup=0.2)


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    FULL.options_into(parser, QUICK)


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure all peers in turn."""
    schedule = complete(options)
    title = (
        f"spread: {schedule.connections:,} connections, one event of 230 bytes at a time, {schedule.rate:,} events/s"
    )
    return cpu_claim("spread", title, options, schedule, progress)
