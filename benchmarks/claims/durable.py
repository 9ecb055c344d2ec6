"""The claim: an event safe on the disk costs little more than in SQLite's own group commit, whatever the loop does.

In one run, each against what SQLite itself does on this disk meanwhile:

- *awaited* and *pipelined*: events a second from 200 tasks, each of which waits until its event is STORED, or its ten.
  The measure is :mod:`benchmarks.bare`, a group commit with an event's work and nothing else, in turn with it.
- *latency*: at half of the awaited rate, from an event's emit until it is STORED.
- *busy*: the commits of the journal beside a loop that computes for 0.9 ms of each ms.
- *write-ahead log*: its bytes for each byte of an event.
- *start*: a process that opens a million events, and reads the first of one thread; closed in order, and killed.
"""

from __future__ import annotations

import argparse
import gc
import logging
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import attrs
import trio

import actors
from actors.stores.journal import Effect
from actors.stores.local import LocalStore
from actors.stores.sqlite.journal import SQLiteJournal
from actors.tools.arguments import count, patience
from benchmarks.bare import BareDatabase, BareLoop
from benchmarks.durable_start import measure_start
from benchmarks.figures import Cell, Spread, Table, ratios, spread
from benchmarks.progress import Progress

TASKS, USERS, DEPTH = 200, 20, 10
PAYLOAD = {"text": "x" * 120}

LIMITS = actors.Limits(retained_events=10**6, retained_bytes=2**30, retained_seconds=86_400.0)
"""Nothing leaves a log, because the bare loop has none that anything could leave."""

BUSY_SECONDS, IDLE_SECONDS = 0.0009, 0.0001
BUSY_BATCH = 100
"""Events of one commit beside a busy loop."""


Row = dict[str, Cell]


def row(measured: str, found: Cell, beside: Cell = None, ratio: Spread | None = None) -> Row:
    """Make a row of the table."""
    return {"what": measured, "found": found, "SQLite itself": beside, "ratio": ratio}


def ratio_of(one: float, other: float) -> Spread | None:
    """Return the ratio of two figures of one run."""
    return ratios([one], [other])


def percentile(values: list[float], share: float) -> float:
    """Return the value that such a share of them is not above."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """Have the path of a file of which nothing is left afterwards."""
    inside = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield inside / "events.db"
    finally:
        shutil.rmtree(inside)


# --- events a second --------------------------------------------------------------

Emit = Callable[[str, int], Awaitable[Callable[[], Awaitable[None]]]]
"""Emits one event of a thread and a user; returns the wait for it to be stored."""


async def rate(emit: Emit, seconds: float, depth: int) -> float:
    """Count the events a second that are stored, of tasks that each wait for their last ``depth``."""
    stored, until = 0, trio.current_time() + seconds

    async def task(number: int) -> None:
        nonlocal stored
        while trio.current_time() < until:
            for _ in range(depth - 1):
                await emit(f"thread{number}", number % USERS)
            wait = await emit(f"thread{number}", number % USERS)
            await wait()
            stored += depth

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(TASKS):
            nursery.start_soon(task, number)
    return stored / (time.perf_counter() - began)


async def bare(folder: Path, seconds: float, depth: int) -> float:
    """Measure the bare loop."""
    with fresh(folder) as path:
        database = BareDatabase(path)
        loop = BareLoop(database, USERS)

        async def emit(thread_id: str, user: int) -> Callable[[], Awaitable[None]]:
            wait = loop.emit(thread_id, user, PAYLOAD).wait
            await trio.lowlevel.checkpoint()
            return wait

        async with trio.open_nursery() as nursery:
            nursery.start_soon(loop.run)
            found = await rate(emit, seconds, depth)
            nursery.cancel_scope.cancel()
        database.close()
    return found


@asynccontextmanager
async def opened(path: Path, **journal: Any) -> AsyncIterator[tuple[actors.Runtime, SQLiteJournal]]:
    """Open a runtime over a journal, with all threads bound."""
    kept = SQLiteJournal(path, **journal)
    async with actors.open_runtime(store=LocalStore(kept), limits=LIMITS) as runtime:
        for number in range(TASKS):
            await runtime.bind(f"thread{number}", f"user{number % USERS}")
        yield runtime, kept


async def durable(folder: Path, seconds: float, depth: int) -> float:
    """Measure the runtime."""
    with fresh(folder) as path:
        async with opened(path) as (runtime, _):
            threads = {f"thread{number}": runtime.thread(f"thread{number}") for number in range(TASKS)}

            async def emit(thread_id: str, user: int) -> Callable[[], Awaitable[None]]:
                receipt = await threads[thread_id].emit("agent_delta", PAYLOAD)
                return lambda: receipt.reached(actors.Stage.STORED)

            return await rate(emit, seconds, depth)


async def measure_rates(folder: Path, seconds: float, rounds: int) -> tuple[float, list[Row]]:
    """Measure both in turn; returns the rate of events that are each awaited, and the rows."""
    awaited, rows = 0.0, []
    for name, depth in (("awaited", 1), (f"pipelined by {DEPTH}", DEPTH)):
        ours, theirs = [], []
        for _ in range(rounds):
            theirs.append(await bare(folder, seconds, depth))
            ours.append(await durable(folder, seconds, depth))
        rows.append(row(f"events/s, {name}", spread(ours, 0), spread(theirs, 0), ratios(ours, theirs)))
        awaited = awaited or median(ours)
    return awaited, rows


# --- latency ----------------------------------------------------------------------


@attrs.define
class Stopwatch(actors.Instrument):
    """Times each event from its emit until it is STORED."""

    emitted: dict[str, float] = attrs.field(factory=dict)
    seconds: list[float] = attrs.field(factory=list)

    def placed(self, receipt: actors.Receipt, user_id: str, epoch: str, offset: int) -> None:
        """Stop."""
        self.seconds.append(time.perf_counter() - self.emitted.pop(receipt.event_id))


async def measure_latency(folder: Path, rate_: float, seconds: float, rounds: int) -> list[Row]:
    """Emit at a rate, in turn with the disk's own commits at that rate; returns how long events took in both."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        ours += await event_seconds(folder, rate_, seconds)
        theirs += await trio.to_thread.run_sync(disk_seconds, folder, rate_, seconds)
    shares = {"p50": 0.5, "p99": 0.99}
    found = {name: (1e3 * percentile(ours, share), 1e3 * percentile(theirs, share)) for name, share in shares.items()}
    return [
        row(f"{name} ms to STORED, {rate_:,.0f} events/s", Spread((one,), 2), Spread((other,), 2), ratio_of(one, other))
        for name, (one, other) in found.items()
    ]


async def event_seconds(folder: Path, rate_: float, seconds: float) -> list[float]:
    """Emit at a rate; returns how long each event took until it was STORED."""
    watch, number, events = Stopwatch(), 0, int(rate_ * seconds)
    with fresh(folder) as path:
        async with opened(path) as (runtime, _):
            runtime.instruments.add(watch)
            began = time.perf_counter()
            while number < events:
                while number < events and began + number / rate_ <= (now := time.perf_counter()):
                    receipt = runtime.thread(f"thread{number % TASKS}").emit_nowait("agent_delta", PAYLOAD)
                    watch.emitted[receipt.event_id] = now
                    number += 1
                await trio.sleep(0.0005)
            await runtime.tree.store.settled()
    return watch.seconds


def disk_seconds(folder: Path, rate_: float, seconds: float) -> list[float]:
    """Commit what such a rate brings during each commit; returns for each event how long that commit took.

    Once for each event, because a disk that stands still for a moment does so
    to every event of that moment, and for one commit.
    """
    met: list[float] = []
    with fresh(folder) as path:
        database, until, rows = BareDatabase(path), time.perf_counter() + seconds, 1
        while time.perf_counter() < until:
            database.commit([(0, 0, "thread0", 0, 0.0, bytes(300))] * rows)
            took = database.seconds[-1]
            rows = max(int(rate_ * took), 1)
            met += [took] * rows
        database.close()
    return met


# --- beside a busy loop -------------------------------------------------------------


async def measure_busy(folder: Path, seconds: float) -> list[Row]:
    """Return what commits take while the loop computes."""
    with fresh(folder) as path:
        async with opened(path) as (runtime, journal), trio.open_nursery() as nursery:
            took = _timed(journal)
            nursery.start_soon(_compute)
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                receipts = [runtime.thread(f"thread{n}").emit_nowait("agent_delta", PAYLOAD) for n in range(BUSY_BATCH)]
                await receipts[-1].reached(actors.Stage.STORED)
            nursery.cancel_scope.cancel()
    told = f"of {len(took):,} commits beside a loop that is 90 % busy"
    return [row(f"{name} ms {told}", 1e3 * percentile(took, share)) for name, share in (("p50", 0.5), ("p99", 0.99))]


def _timed(journal: SQLiteJournal) -> list[float]:
    """Time a journal's commits from now on, in its own thread."""
    seconds: list[float] = []
    commit = journal._writer.commit

    def timed(number: int, effects: Sequence[Effect]) -> None:
        began = time.perf_counter()
        commit(number, effects)
        seconds.append(time.perf_counter() - began)

    journal._writer.commit = timed  # type: ignore[method-assign]
    return seconds


async def _compute() -> None:
    while True:
        until = time.perf_counter() + BUSY_SECONDS
        while time.perf_counter() < until:
            pass
        await trio.sleep(IDLE_SECONDS)


# --- the write-ahead log ------------------------------------------------------------


class Growing(sqlite3.Connection):
    """A connection that never brings its write-ahead log in, so that the file has all that was written."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Execute, but for the option that has it brought in."""
        return super().execute("PRAGMA wal_autocheckpoint = 0" if "wal_autocheckpoint" in sql else sql, *parameters)


def connect_growing(*arguments: Any, **options: Any) -> sqlite3.Connection:
    """Connect so."""
    return sqlite3.connect(*arguments, factory=Growing, **options)


async def measure_wal(folder: Path, seconds: float) -> list[Row]:
    """Return the bytes of the write-ahead log for each byte of an event, with events that are each awaited."""
    with fresh(folder) as path:
        async with opened(path, connect=connect_growing) as (runtime, _):
            wal = path.with_name("events.db-wal")
            before = wal.stat().st_size
            threads = {f"thread{number}": runtime.thread(f"thread{number}") for number in range(TASKS)}

            async def emit(thread_id: str, user: int) -> Callable[[], Awaitable[None]]:
                receipt = await threads[thread_id].emit("agent_delta", PAYLOAD)
                return lambda: receipt.reached(actors.Stage.STORED)

            await rate(emit, seconds, 1)
            written = wal.stat().st_size - before
            logs = [runtime.tree.store.state.logs[f"user{number}"] for number in range(USERS)]  # type: ignore[attr-defined]
            texts = sum(log.size_bytes for log in logs)
            events = sum(len(log) for log in logs)
    return [
        row("bytes of the write-ahead log for an event", written / events, texts / events, ratio_of(written, texts))
    ]


# --- the command line -----------------------------------------------------------------


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options to a parser."""
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    parser.add_argument("--seconds", type=patience, help="of each round (3; with --quick 0.5)")
    parser.add_argument("--rounds", type=count, help="of each kind; the median is quoted (7; with --quick 2)")
    parser.add_argument("--events", type=count, help="of the file that is started with (1000000; with --quick 100000)")
    parser.add_argument("--only", choices=("rates", "latency", "busy", "wal", "start"), help="one part")


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure every part."""
    gc.set_threshold(50_000, 20, 100)  # those of a server in production
    logging.getLogger("actors").setLevel(logging.ERROR)  # no device is there, and each thread would say so
    quick = options.quick
    seconds = options.seconds or (0.5 if quick else 3.0)
    rounds = options.rounds or (2 if quick else 7)
    progress.begin(5)
    rows = trio.run(_measured, options.folder, seconds, rounds, options.only, progress)
    if options.only in (None, "start"):
        progress.step("start")
        events = options.events or (100_000 if quick else 1_000_000)
        with fresh(options.folder) as path:
            for kind, took, grown in measure_start(path, events):
                rows.append(row(f"s to start with {events:,} events, {kind}", Spread((took,), 2)))
                rows.append(row(f"MiB of that start, {kind}", grown / 2**20))
    return [Table("durable", 'durable: SQLiteStore, synchronous="full"', rows)]


async def _measured(folder: Path, seconds: float, rounds: int, only: str | None, progress: Progress) -> list[Row]:
    awaited, rows = 10_000.0, list[Row]()
    if only in (None, "rates"):
        progress.step("rates")
        awaited, rows = await measure_rates(folder, seconds, rounds)
    if only in (None, "latency"):
        progress.step("latency")
        rows += await measure_latency(folder, awaited / 2, seconds, rounds)
    if only in (None, "busy"):
        progress.step("busy")
        rows += await measure_busy(folder, 3 * seconds)
    if only in (None, "wal"):
        progress.step("wal")
        rows += await measure_wal(folder, seconds)
    return rows
