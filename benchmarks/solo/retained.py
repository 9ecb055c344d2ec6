"""Threads and retained events in memory: the growth of resident memory, and the time of full collections beside them.

Binds threads, one to each user or all to few, emits to them, reports, and ends. Events are retained as long as the
process runs, and without devices.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import time

import attrs
import trio

import actors
from benchmarks import process
from benchmarks.gauges import resident_kib_of
from benchmarks.schedule import TEXT

COLLECTIONS = 5
LIMITS = actors.Limits(retained_events=10**6, retained_bytes=2**30, retained_seconds=86_400.0, vacant_threads=10**6)
"""Nothing leaves a log, or the threads, because that is what is counted."""


@attrs.frozen
class Held:
    """One reading: kibibytes of resident memory, and milliseconds of the shortest full collection."""

    resident_kib: float
    collection_ms: float


def held() -> Held:
    """Measure; the shortest collection is the one that the machine disturbed the least."""
    found = []
    for _ in range(COLLECTIONS):
        began = time.perf_counter()
        gc.collect()
        found.append(time.perf_counter() - began)
    return Held(resident_kib_of(os.getpid()), 1000 * min(found))


async def run(users: int, threads: int, events: int) -> list[Held]:
    """Measure the empty runtime, then with the threads bound, then with so many events in each."""
    found = []
    async with actors.open_runtime(limits=LIMITS) as runtime:
        found.append(held())
        handles = []
        for number in range(threads):
            await runtime.bind(f"thread-{number}", f"user-{number % users}")
            handles.append(runtime.thread(f"thread-{number}"))
        found.append(held())
        for number in range(events):
            for handle in handles:
                await handle.emit("agent_delta", {"n": number, "due": 0.0, "text": TEXT})
        found.append(held())
    return found


def main() -> None:
    """Measure, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--events", type=int, required=True, help="in each thread")
    parser.add_argument("--cpu", type=int)
    options = parser.parse_args()
    process.pin(options.cpu)
    logging.getLogger("actors").setLevel(logging.ERROR)  # no device is there, and each thread would say so
    found = trio.run(run, options.users, options.threads, options.events)
    process.write_line("report", json.dumps([attrs.asdict(one) for one in found]))


if __name__ == "__main__":
    main()
