"""The cost of a scrape: the same for any number of users, connections and events."""

from __future__ import annotations

import gc
import sys
import tracemalloc

from prometheus_client import CollectorRegistry, generate_latest

import actors
from actors.metrics import Collector


def calls(registry: CollectorRegistry) -> int:
    """The calls that a scrape makes."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        generate_latest(registry)
    finally:
        sys.setprofile(None)
    return count


def peak(registry: CollectorRegistry) -> int:
    """The most bytes that are allocated at once in a scrape."""
    gc.collect()
    tracemalloc.start()
    try:
        generate_latest(registry)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def populate(runtime: actors.Runtime, users: range) -> None:
    """Have users with a log, and a thread without an owner each."""
    for number in users:
        await runtime.thread(f"t{number}").emit("step", {}, user_id=f"user-{number}")
        await runtime.thread(f"held-{number}").emit("step", {})


async def test_it_does_not_grow() -> None:
    """A scrape beside 1,500 users makes the same calls as one beside ten, and allocates as much."""
    async with actors.open_runtime() as runtime:
        registry = CollectorRegistry()
        registry.register(Collector(runtime))
        await populate(runtime, range(10))
        generate_latest(registry)
        few_calls, few_bytes = calls(registry), peak(registry)
        await populate(runtime, range(10, 1_500))
        generate_latest(registry)
        many_calls, many_bytes = calls(registry), peak(registry)
    assert many_calls == few_calls
    assert abs(many_bytes - few_bytes) < 4_096, "a user would take at least a pointer: 12 KB"


async def test_nothing_is_kept() -> None:
    """A scrape leaves no object behind, so that a year of them takes no memory."""
    async with actors.open_runtime() as runtime:
        registry = CollectorRegistry()
        registry.register(Collector(runtime))
        for _ in range(3):
            generate_latest(registry)
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(50):
            generate_latest(registry)
        gc.collect()
        assert len(gc.get_objects()) - before < 50
