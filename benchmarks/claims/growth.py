"""The claim: an event costs as much beside a hundred thousand threads as beside a hundred, and little more over many
connections than over few.

The same rate of events, over more and more threads of the same users, over more and more threads of one user, and
over more and more connections with a thread each. Over connections ``websockets`` is beside it, because with the
connections grow the writes and the wake-ups of any server, and of ours the acks, of which each device owes one a
second.
"""

from __future__ import annotations

import argparse

import attrs

from actors.tools.arguments import count, patience
from benchmarks.comparison import Entrant, compare, entrants
from benchmarks.figures import Cell, Table, ratios, spread
from benchmarks.progress import Progress
from benchmarks.schedule import Schedule

KINDS = ("threads", "one-user", "connections")


@attrs.frozen
class Axis:
    """One kind of growth: its sizes, and the schedule of each."""

    kind: str
    name: str
    peer: str
    schedules: tuple[tuple[int, Schedule], ...]


def axes(rate: int, seconds: float, *, quick: bool) -> list[Axis]:
    """Return what grows."""
    users = 20 if quick else 100
    warmup = 0.3 if quick else 1.0

    def schedule(connections: int, threads: int = 1) -> Schedule:
        return Schedule(connections, rate, seconds, threads=threads, warmup=warmup)

    factors = (1, 20) if quick else (1, 10, 100, 1_000)
    connections = (20, 200) if quick else (20, 100, 500, 1_000, 2_500, 5_000)
    over = tuple((size, schedule(size)) for size in connections)
    one_user = (1, 100) if quick else (1, 100, 1_000, 10_000)
    return [
        Axis(
            "threads",
            f"threads of {users} users",
            "actors",
            tuple((users * each, schedule(users, each)) for each in factors),
        ),
        Axis("one-user", "threads of one user", "actors", tuple((size, schedule(1, size)) for size in one_user)),
        Axis("connections", "connections", "actors", over),
        Axis("connections", "connections, websockets", "websockets", over),
    ]


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    parser.add_argument("--rate", type=count, help="events a second (5,000; with --quick 2,000)")
    parser.add_argument("--seconds", type=patience, help="measured, after the warm-up (4; with --quick 0.5)")
    parser.add_argument("--only", choices=KINDS, help="one of what grows")
    parser.add_argument("--rounds", type=count, help="of each size; the median is quoted (3; with --quick 1)")


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure all sizes in turn, round after round."""
    rate = options.rate or (2_000 if options.quick else 5_000)
    rounds = options.rounds or (1 if options.quick else 3)
    grown = axes(rate, options.seconds or (0.5 if options.quick else 4.0), quick=options.quick)
    grown = [axis for axis in grown if options.only in (None, axis.kind)]
    steps = [(axis, size, schedule, entrants([axis.peer])[0]) for axis in grown for size, schedule in axis.schedules]
    progress.begin(rounds * len(steps))
    for _ in range(rounds):
        for _, _, schedule, entrant in steps:
            compare([entrant], schedule, 1, progress)
    rows: list[dict[str, Cell]] = []
    for axis in grown:
        sizes = [(size, entrant) for of, size, _, entrant in steps if of is axis]
        rows += [_row(axis, size, entrant, sizes[0][1]) for size, entrant in sizes if entrant.runs]
    told = [note for _, _, _, entrant in steps if (note := entrant.note())]
    broken = any(entrant.broken for _, _, _, entrant in steps)
    return [Table("growth", f"growth: {rate:,} events/s", rows, notes=told, broken=broken)]


def _row(axis: Axis, size: int, entrant: Entrant, smallest: Entrant) -> dict[str, Cell]:
    figures = [run.cpu_us_per_delivery for run in entrant.runs]
    return {
        "what grows": f"{size:,} {axis.name}",
        "CPU µs per event": spread(figures),
        "of the smallest": ratios(figures, [run.cpu_us_per_delivery for run in smallest.runs]),
        "p99 ms": entrant.figure(lambda run: run.load.p99_ms),
        "lost": sum(run.load.lost for run in entrant.runs),
    }
