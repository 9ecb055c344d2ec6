"""The claim: many connections, one thread each, and the highest rate at which every event is still in time.

Each run is a fresh server on one core and a fresh load client on another. Events are due
on a fixed schedule (:mod:`benchmarks.schedule`) and their latency counts from the due time. A rate *holds*
if the 99th percentile stays within 60 ms, less than four frames of a 60 Hz screen.
All servers climb the ladder of rates together, A B A B, so that a change of the machine's
speed affects all of them; quoted is the median of the rounds. A server leaves the ladder
at the second rate in a row that it does not hold. A hole, a duplicate or a swap breaks the run.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import IO, Any, cast

import attrs

from actors.tools.arguments import count, patience
from actors.tools.terminal import say
from benchmarks.load import ACTORS, Report
from benchmarks.schedule import Schedule

HOLD_MS = 60.0
FAILURES = 2
"""Rates in a row not held before a server leaves the ladder: two, because one may be the machine's fault."""

LEAD_SECONDS = 0.2
"""Time from ``go`` to the first event, in which both processes read it."""

ANSWER_SECONDS = 60.0
"""Time for a process to start, to connect, or to report, so that a server that hangs does not hang the benchmark."""

STOP_SECONDS = 30.0
"""Time for a server to close its connections."""

SERVERS = {"actors": ("benchmarks.server_actors", ACTORS), "websockets": ("benchmarks.peer_websockets", "plain")}
RATES = (20_000, 30_000, 40_000, 50_000, 60_000, 70_000, 85_000, 100_000, 120_000, 140_000, 165_000, 200_000)
QUICK_RATES = (40_000, 80_000, 120_000)


@attrs.frozen
class Run:
    """One run of one schedule on one server."""

    load: Report
    server_cpu_seconds: float

    @property
    def broken(self) -> bool:
        """True if an event was lost, doubled or swapped."""
        return bool(self.load.lost or self.load.out_of_order)


@attrs.frozen
class Rung:
    """All rounds of one server at one rate."""

    server: str
    schedule: Schedule
    runs: list[Run]

    def quoted(self, figure: str) -> float:
        """Return the median of a figure over the rounds."""
        return median(float(getattr(run.load, figure)) for run in self.runs)

    @property
    def holds(self) -> bool:
        """True if the rate was kept, in time and whole."""
        return self.quoted("p99_ms") <= HOLD_MS and not self.broken

    @property
    def broken(self) -> bool:
        """True if any of the rounds was."""
        return any(run.broken for run in self.runs)

    @property
    def notes(self) -> list[str]:
        """The problems that the load client found."""
        return [note for run in self.runs for note in run.load.notes]

    def row(self) -> dict[str, Any]:
        """Return the figures of the table."""
        wall = self.quoted("wall_seconds")
        server_cpu = median(run.server_cpu_seconds for run in self.runs)
        return {
            "connections": self.schedule.connections,
            "rate": self.schedule.rate,
            "server": self.server,
            "p50_ms": round(self.quoted("p50_ms"), 1),
            "p99_ms": round(self.quoted("p99_ms"), 1),
            "max_ms": round(self.quoted("max_ms"), 1),
            "holds": "broken" if self.broken else "yes" if self.holds else "no",
            "lost": sum(run.load.lost for run in self.runs),
            "out_of_order": sum(run.load.out_of_order for run in self.runs),
            "server_cpu_s": round(server_cpu, 2),
            "server_cpu_%": round(100 * server_cpu / wall),
            "client_cpu_%": round(100 * self.quoted("cpu_seconds") / wall),
            "bytes": round(self.quoted("bytes_per_event")),
        }


@attrs.frozen
class Child:
    """A process of this package, with the lines to it and from it."""

    module: str
    stdin: IO[str]
    stdout: IO[str]

    def write_line(self, *words: object) -> None:
        """Write one line to the process."""
        self.stdin.write(" ".join(map(str, words)) + "\n")
        self.stdin.flush()

    def wait_for(self, word: str, patience_seconds: float | None = ANSWER_SECONDS) -> str:
        """Wait for the line that begins with ``word``, and return the rest of it."""
        if not select.select([self.stdout], [], [], patience_seconds)[0]:
            raise SystemExit(f"{self.module}: expected {word!r}, got nothing for {patience_seconds} s")
        got, _, rest = self.stdout.readline().strip().partition(" ")
        if got != word:
            raise SystemExit(f"{self.module}: expected {word!r}, got {got!r}; why stands above")
        return rest


@contextmanager
def child(module: str, *arguments: object) -> Iterator[Child]:
    """Run a module of this package as a process; it never outlives the block."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    root = Path(__file__).parent.parent
    pipe = subprocess.PIPE
    # In a process group of its own, because Ctrl-C is for this process, which ends the other one.
    with subprocess.Popen(  # noqa: S603 - our modules
        command, cwd=root, text=True, stdin=pipe, stdout=pipe, process_group=0
    ) as process:
        try:
            yield Child(module, cast(IO[str], process.stdin), cast(IO[str], process.stdout))
            process.wait(STOP_SECONDS)
        finally:
            process.kill()


def cores() -> tuple[list[object], list[object]]:
    """Choose the arguments that pin server and client to a core each, where the machine has two."""
    if not hasattr(os, "sched_getaffinity"):
        return [], []
    ours = sorted(os.sched_getaffinity(0))
    return (["--cpu", ours[0]], ["--cpu", ours[1]]) if len(ours) > 1 else ([], [])


def _alone(port: str) -> AbstractContextManager[None]:
    return nullcontext()


def measure(server: str, schedule: Schedule, beside: Callable[[str], AbstractContextManager[None]] = _alone) -> Run:
    """Run the schedule once on a fresh server and load client, within the ``beside`` of the server's port."""
    module, protocol = SERVERS[server]
    arguments = [text for key, value in attrs.asdict(schedule).items() for text in (f"--{key}", value)]
    server_core, client_core = cores()
    with child(module, *arguments, *server_core) as serving:
        port = serving.wait_for("ready")
        client = ["--port", port, "--protocol", protocol, *client_core]
        with child("benchmarks.load", *arguments, *client) as loading, beside(port):
            loading.wait_for("connected")
            start = time.monotonic() + LEAD_SECONDS
            serving.write_line("go", start)
            loading.write_line("go", start)
            # Without a timeout, because the client itself gives up when its server falls silent.
            report = Report(**json.loads(loading.wait_for("report", patience_seconds=None)))
        serving.write_line("stop")
        return Run(report, float(serving.wait_for("report")))


def climb(options: argparse.Namespace, connections: int) -> Iterator[Rung]:
    """Measure rate after rate, all servers in turn, until each has left the ladder."""
    failures = dict.fromkeys(options.only or SERVERS, 0)
    for rate in options.rates:
        schedule = Schedule(connections, rate, options.seconds, options.burst)
        runs: dict[str, list[Run]] = {server: [] for server, failed in failures.items() if failed < FAILURES}
        for _ in range(options.rounds):
            for server, done in runs.items():
                done.append(measure(server, schedule))
        for server, done in runs.items():
            rung = Rung(server, schedule, done)
            failures[server] = 0 if rung.holds else failures[server] + 1
            yield rung


def highest(rungs: list[Rung]) -> dict[str, int]:
    """Return the highest rate that each server held; 0 where it held none."""
    held = {rung.server: 0 for rung in rungs}
    for rung in rungs:
        if rung.holds:
            held[rung.server] = max(held[rung.server], rung.schedule.rate)
    return held


def verdict(connections: int, rungs: list[Rung]) -> dict[str, Any]:
    """Sum up one ladder: the rate that each server held, and the ratio of ours to the peer's."""
    held = highest(rungs)
    ratio = held["actors"] / held["websockets"] if held.get("websockets") and "actors" in held else None
    return {"connections": connections, "holds": held, "actors/websockets": ratio}


def lines(row: dict[str, Any]) -> tuple[str, str]:
    """Format the head of the table and one line of it, each column as wide as its name."""
    cells = {name: f"{cell:,}" if isinstance(cell, int) else str(cell) for name, cell in row.items()}
    widths = [max(len(name), 9) + 2 for name in cells]
    head = "".join(map(str.rjust, cells.keys(), widths))
    return head + "\n", "".join(map(str.rjust, cells.values(), widths)) + "\n"


def show(rung: Rung, first: bool) -> None:
    """Print a rung as soon as it is measured."""
    row = rung.row()
    head, line = lines(row)
    if first:
        say("\n" + head)
    say(line)
    if rung.broken:
        say("".join(f"    {note}\n" for note in rung.notes))


def sentence(summary: dict[str, Any]) -> str:
    """Format a ladder's outcome as a sentence."""
    held = ", ".join(f"{server} {rate:,} events/s" for server, rate in summary["holds"].items())
    ratio = summary["actors/websockets"]
    compared = "" if ratio is None else f"; actors/websockets {ratio:.2f}"
    return f"{summary['connections']:,} connections, held with p99 <= {HOLD_MS:.0f} ms: {held}{compared}\n"


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options to a parser."""
    parser.add_argument("--connections", type=count, nargs="+", default=[200, 1000])
    parser.add_argument("--rates", type=count, nargs="+", help="events a second over all connections, rising")
    parser.add_argument("--seconds", type=patience, help="measured, after a second of warm-up")
    parser.add_argument("--burst", type=count, default=1, help="events to one connection at once")
    parser.add_argument("--rounds", type=count, help="runs at each rate; the median is quoted")
    parser.add_argument("--only", choices=SERVERS, action="append", help="leave the other server out")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def main(options: argparse.Namespace) -> None:
    """Climb one ladder for each number of connections; exit with 1 if any run was broken."""
    options.rates = options.rates or (QUICK_RATES if options.quick else RATES)
    options.seconds = options.seconds or (2.0 if options.quick else 3.0)
    options.rounds = options.rounds or (1 if options.quick else 3)
    rows, summaries, broken = [], [], False
    for connections in options.connections:
        rungs: list[Rung] = []
        for rung in climb(options, connections):
            rungs.append(rung)
            if not options.json:
                show(rung, first=len(rungs) == 1)
        rows += [rung.row() for rung in rungs]
        summaries.append(verdict(connections, rungs))
        broken = broken or any(rung.broken for rung in rungs)
        if not options.json:
            say(sentence(summaries[-1]))
    if options.json:
        say(json.dumps({"rows": rows, "summaries": summaries}, indent=2) + "\n")
    if broken:
        raise SystemExit(1)
