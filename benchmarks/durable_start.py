"""The start of a file with many events: how long until the first is read, and what of memory that takes.

    python -m benchmarks.durable_start PATH

Each start is a process of its own, which says ``SECONDS BYTES``, and ends without closing the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import trio

import actors
from actors.events.event import encode, placed
from actors.limits import Limits
from actors.stores.journal import Effect, LogRecord, Placed, ThreadRecord
from actors.stores.sqlite.journal import SQLiteJournal

USERS, BATCH = 2_000, 4_000
LIMITS = Limits(retained_seconds=86_400.0)


async def write(path: Path, events: int) -> None:
    """Write so many events of all users in turn, and close the file in order."""
    journal = SQLiteJournal(path, "normal")
    await journal.open(LIMITS, bytes(32))
    beginning: list[Effect] = []
    for user in range(USERS):
        beginning += LogRecord(f"user{user}", f"ep_{user}"), ThreadRecord(f"thread{user}", f"user{user}", "1", 0)
    await journal.commit(1, beginning)
    at = time.time()
    for batch, first in enumerate(range(0, events, BATCH), 2):
        numbers = range(first, min(first + BATCH, events))
        await journal.commit(batch, [_placed(number % USERS, number // USERS + 1, at) for number in numbers])
    await journal.aclose(clean=True)


def _placed(user: int, offset: int, at: float) -> Placed:
    thread_id = f"thread{user}"
    body = encode("agent_delta", {"text": "x" * 120}, thread_id, None, f"e_{user}_{offset}", at, LIMITS)
    return Placed(f"user{user}", offset, thread_id, offset, at, placed(body, offset, offset))


async def start() -> None:
    """Open the file of the command line, read one event, and say what that took."""
    store = actors.SQLiteStore(sys.argv[1])
    before, began = _resident_bytes(), time.perf_counter()
    async with actors.open_runtime(store=store, limits=LIMITS) as runtime:
        history = await runtime.read("thread7", limit=1)
        seconds = time.perf_counter() - began
        assert history.events, "there is one"
        sys.stdout.write(f"{seconds} {_resident_bytes() - before}\n")
        sys.stdout.flush()
        os._exit(0)  # as a kill ends it


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_start(path: Path, events: int) -> Iterator[tuple[str, float, float]]:
    """Start with a file that was closed in order, and once more, because that start was killed.

    Yields for each which it was, the seconds to the first event, and the bytes that the process grew by.
    """
    trio.run(write, path, events)
    for kind in ("closed in order", "killed"):
        words = [sys.executable, "-m", "benchmarks.durable_start", str(path)]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ourselves
        seconds, grown = map(float, said.split())
        yield kind, seconds, grown


if __name__ == "__main__":
    trio.run(start)
