"""The claim: an emit is cheap, and stays so in place.

Processor time of ``emit_nowait`` in its caller's step: check, encode, number, log, books, receipt, and the mark of an
idle device; the write is not part of it. *Hot*: 50 users, so that all they have is in the processor's caches. *In
place*: 1,000 users in turn, as in a server. Of a process's batches the least is quoted, because whatever else the
machine does only adds to it; of processes the median, in turn with those of ``--against``, an earlier commit of this
repository.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from actors.tools.arguments import count
from benchmarks.builds import builds
from benchmarks.children import child, cores
from benchmarks.figures import Cell, Table, ratios, spread
from benchmarks.progress import Progress

PLACES = {"hot": 50, "in place": 1_000}
EMITS = 40_000
QUICK_PLACES = {"hot": 50, "in place": 200}
QUICK_EMITS = 2_000


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    parser.add_argument("--rounds", type=count, help="processes of each kind; the median is quoted (5; with --quick 1)")
    parser.add_argument("--against", metavar="COMMIT", help="an earlier commit, which takes turns")


def one_emit(users: int, emits: int, package: Path | None) -> float:
    """Measure one process; returns its µs for an emit."""
    core, _ = cores()
    arguments = ["--users", users, "--batches", max(emits // users, 3), *core[:2]]
    with child("benchmarks.solo.emitting", *arguments, package=package) as process:
        return float(min(json.loads(process.wait_for("report"))))


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure both places, and those of the earlier commit, in turn."""
    rounds = options.rounds or (1 if options.quick else 5)
    with builds(options.against) as packages:
        progress.begin(rounds * len(PLACES) * len(packages))
        return [_table(options, rounds, packages, progress)]


def _table(options: argparse.Namespace, rounds: int, packages: dict[str, Path | None], progress: Progress) -> Table:
    places, emits = (QUICK_PLACES, QUICK_EMITS) if options.quick else (PLACES, EMITS)
    figures: dict[tuple[str, str], list[float]] = {(place, name): [] for place in places for name in packages}
    for number in range(1, rounds + 1):
        for (place, name), found in figures.items():
            progress.step(f"{place}, {name}, round {number}")
            found.append(one_emit(places[place], emits, packages[name]))
    rows: list[dict[str, Cell]] = []
    for place, users in places.items():
        ours = figures[place, "ours"]
        row: dict[str, Cell] = {"emit": place, "users": users, "CPU µs": spread(ours, 2)}
        for name in list(packages)[1:]:
            row[name] = spread(figures[place, name], 2)
            row[f"ours / {name}"] = ratios(ours, figures[place, name])
        rows.append(row)
    return Table("emit", "emit: bound, an idle device marked, nothing written", rows)
