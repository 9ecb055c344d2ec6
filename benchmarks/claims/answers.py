"""The claim: an acknowledgement or a pong costs the server little more than to read it.

Connections to which nothing is sent answer in turn, at a rate; the figure is the server's processor time for each
frame, without what it takes while nothing comes. Reading a frame by itself, a ``recv`` and its part of an
``epoll_wait``, is in it. ``--against`` names an earlier commit of this repository, which takes turns.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import attrs

from actors.tools.arguments import count, patience
from benchmarks.builds import builds
from benchmarks.children import child, cores
from benchmarks.figures import Cell, Table, ratios, spread
from benchmarks.load.answering import MESSAGES
from benchmarks.measurement import LEAD_SECONDS, SETTLE_SECONDS, cpu_between, served
from benchmarks.peers.roster import OURS, PEERS
from benchmarks.process import arguments_of
from benchmarks.progress import Progress
from benchmarks.schedule import Schedule

IDLE_SECONDS = 1.0


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the claim's options to a parser."""
    parser.add_argument("--connections", type=count, help="(1,000; with --quick 50)")
    parser.add_argument("--rate", type=count, help="frames a second over all of them (2,000; with --quick 500)")
    parser.add_argument("--seconds", type=patience, help="measured, after the warm-up (4; with --quick 0.5)")
    parser.add_argument("--rounds", type=count, help="servers of each kind; the median is quoted (5; with --quick 1)")
    parser.add_argument("--against", metavar="COMMIT", help="an earlier commit, which takes turns")


def one_frame(message: str, schedule: Schedule, package: Path | None) -> float:
    """Measure one server; returns its µs for a frame. Raises ProcessFailed."""
    _, core = cores()
    peer = attrs.evolve(PEERS[OURS], folder=package)
    with served(peer, schedule) as server:
        arguments = [*arguments_of(schedule), "--port", server.port, "--message", message, *core]
        with child("benchmarks.load.answering", *arguments) as devices:
            devices.wait_for("connected")
            time.sleep(SETTLE_SECONDS)
            now = time.monotonic()
            idle = cpu_between(server, now, now + IDLE_SECONDS) / IDLE_SECONDS
            start = time.monotonic() + LEAD_SECONDS
            devices.write_line("go", start)
            first = start + schedule.warmup
            busy = cpu_between(server, first, first + schedule.seconds) / schedule.seconds
            sent = int(json.loads(devices.wait_for("report")))
    if sent != schedule.turns:
        raise SystemExit(f"expected {schedule.turns:,} frames, got {sent:,}")
    return 1e6 * max(0.0, busy - idle) / schedule.rate


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure both messages on all builds, in turn."""
    quick = options.quick
    schedule = Schedule(
        options.connections or (50 if quick else 1_000),
        options.rate or (500 if quick else 2_000),
        options.seconds or (0.5 if quick else 4.0),
        warmup=0.3 if quick else 1.0,
    )
    rounds = options.rounds or (1 if quick else 5)
    with builds(options.against) as packages:
        figures = {(message, name): list[float]() for message in MESSAGES for name in packages}
        progress.begin(rounds * len(figures))
        for number in range(1, rounds + 1):
            for (message, name), found in figures.items():
                progress.step(f"{message}, {name}, round {number}")
                found.append(one_frame(message, schedule, packages[name]))
    rows: list[dict[str, Cell]] = []
    for message in MESSAGES:
        ours = figures[message, "ours"]
        row: dict[str, Cell] = {"frame": message, "CPU µs": spread(ours)}
        for name in list(packages)[1:]:
            row[name] = spread(figures[message, name])
            row[f"ours / {name}"] = ratios(ours, figures[message, name])
        rows.append(row)
    title = f"answers: {schedule.rate:,} frames/s in, over {schedule.connections:,} connections"
    return [Table("answers", title, rows)]
