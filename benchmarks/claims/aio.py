"""The claim: from asyncio an awaited emit costs at most 200 µs, and a token at most 15 µs.

Wall time in the host's loop, of a runtime in its thread with one device-less user. *One at a time*: each emit is
awaited before the next, two crossings between the threads. *Gathered*: a hundred of them at once share the wake-ups.
*A token a turn*: the loop runs after each ``delta``, as with a model that streams; *ten a turn* cross together.
Of the rounds the median is quoted, beside its budget.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

from actors import Limits, aio
from benchmarks.figures import Cell, Table, spread
from benchmarks.progress import Progress

EMITS, QUICK_EMITS = 5_000, 1_000
ROUNDS, QUICK_ROUNDS = 9, 3
AT_ONCE = 100
TOKENS_A_TURN = 10

BUDGETS = {
    "emit, one at a time": 200.0,
    "emit, gathered": 200.0,
    "delta, a token a turn": 15.0,
    "delta, ten a turn": 15.0,
}
"""µs for each way."""

PAYLOAD = {"n": 1, "due": 0.0, "text": "x" * 32}


async def one_at_a_time(thread: aio.Thread, count: int) -> None:
    """Await each emit."""
    for _ in range(count):
        await thread.emit("tick", PAYLOAD)


async def gathered(thread: aio.Thread, count: int) -> None:
    """Await a hundred emits at once, repeatedly."""
    for _ in range(count // AT_ONCE):
        await asyncio.gather(*(thread.emit("tick", PAYLOAD) for _ in range(AT_ONCE)))


async def a_token_a_turn(thread: aio.Thread, count: int) -> None:
    """Let the loop run after each token."""
    async with thread.run("writer") as run:
        for _ in range(count):
            run.delta("token ")
            await asyncio.sleep(0)
        await run.flushed()


async def ten_a_turn(thread: aio.Thread, count: int) -> None:
    """Let the loop run after each ten tokens."""
    async with thread.run("writer") as run:
        for number in range(count):
            run.delta("token ")
            if number % TOKENS_A_TURN == 0:
                await asyncio.sleep(0)
        await run.flushed()


WAYS: dict[str, Callable[[aio.Thread, int], Awaitable[None]]] = {
    "emit, one at a time": one_at_a_time,
    "emit, gathered": gathered,
    "delta, a token a turn": a_token_a_turn,
    "delta, ten a turn": ten_a_turn,
}


async def microseconds(way: Callable[[aio.Thread, int], Awaitable[None]], count: int) -> float:
    """Measure one way once, in a runtime of its own; returns the time of one."""
    async with aio.open_runtime(limits=Limits(retained_events=1_000)) as runtime:
        await runtime.bind("t1", "alice")
        thread = runtime.thread("t1")
        await way(thread, AT_ONCE)
        gc.collect()
        gc.disable()
        try:
            began = time.perf_counter()
            await way(thread, count)
            return (time.perf_counter() - began) / count * 1e6
        finally:
            gc.enable()


def options_into(parser: argparse.ArgumentParser) -> None:
    """Add no option."""


def measure(options: argparse.Namespace, progress: Progress) -> list[Table]:
    """Measure all ways in turn, in rounds."""
    count, rounds = (QUICK_EMITS, QUICK_ROUNDS) if options.quick else (EMITS, ROUNDS)
    progress.begin(rounds)
    figures: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(1, rounds + 1):
        progress.step(f"round {number}")
        for name, way in WAYS.items():
            figures[name].append(asyncio.run(microseconds(way, count)))
    rows: list[dict[str, Cell]] = [
        {"from asyncio": name, "µs": spread(found), "budget µs": f"{BUDGETS[name]:g}"}
        for name, found in figures.items()
    ]
    return [Table("aio", "aio: one call from asyncio, until it returns", rows)]
