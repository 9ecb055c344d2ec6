"""The claim: a crash costs its report and a new child, and nothing around it.

A supervisor's only child raises as soon as it serves, fifty times, without a pause before its restarts; the time of
one crash and restart, with the failure formatted, traceback included, and recorded. Beside it Erlang's own supervisor,
where that is installed, of a child that is killed, with its log off; it formats nothing then.
"""

from __future__ import annotations

import argparse
import logging
import time

import trio

from actors.environment import Environment
from actors.kernel.failures import Failures
from actors.kernel.restarts import Backoff, Intensity, Restart, Strategy
from actors.kernel.supervisor import Child, Supervisor
from benchmarks.erlang import erlang
from benchmarks.figures import Cell, Table, ratios, spread
from benchmarks.progress import Progress

RESTARTS = 50
SUPERVISORS, QUICK_SUPERVISORS = 40, 5
ROUNDS, QUICK_ROUNDS = 15, 3


class Crash(Exception):
    """The child's crash."""


async def microseconds() -> float:
    """Run one supervisor until its child has been restarted often enough; returns the µs of one restart."""
    lives = 0

    async def start(task_status: trio.TaskStatus[None]) -> None:
        nonlocal lives
        lives += 1
        task_status.started()
        if lives <= RESTARTS:
            raise Crash

    environment = Environment()
    failures = Failures(RESTARTS, environment.wall_clock)
    supervisor = Supervisor(
        path="benchmark",
        children=[Child(name="child", start=start, restart=Restart.TRANSIENT)],
        strategy=Strategy.ONE_FOR_ONE,
        intensity=Intensity(RESTARTS, period_seconds=60.0),
        backoff=Backoff(first_seconds=0.0, factor=1.0, longest_seconds=0.0),
        environment=environment,
        failures=failures,
    )
    began = time.perf_counter()
    await supervisor.run()
    took = time.perf_counter() - began
    if failures.total != RESTARTS:
        raise SystemExit(f"expected {RESTARTS} crashes, got {failures.total}")
    return 1e6 * took / RESTARTS


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add no option."""


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure ours in all rounds, and Erlang's."""
    logging.getLogger("actors").setLevel(logging.CRITICAL)  # each crash would be shown, and Erlang's are not
    supervisors, rounds = (QUICK_SUPERVISORS, QUICK_ROUNDS) if options.quick else (SUPERVISORS, ROUNDS)
    progress.begin(rounds)
    ours = []
    for number in range(1, rounds + 1):
        progress.step(f"round {number}")
        ours.append(min(trio.run(microseconds) for _ in range(supervisors)))
    theirs, note = erlang("restart", supervisors * RESTARTS, rounds)
    rows: list[dict[str, Cell]] = [{"supervisor": "actors", "µs": spread(ours), "actors / it": None}]
    if theirs:
        micro = [ns / 1000 for ns in theirs]
        rows.append({"supervisor": "Erlang", "µs": spread(micro), "actors / it": ratios(ours, micro)})
    return [Table("restarts", "restarts: one crash, its report, and a new child", rows, notes=[note])]
