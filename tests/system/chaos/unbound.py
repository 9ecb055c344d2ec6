"""A process that emits into threads that never have an owner, beside a device that must not notice.

    python -m tests.system.chaos.unbound THREADS

Twice the same flood, each until all of it has expired; the first fills every memory that is bounded. What was found is
one JSON object on standard output. Only time is not real, so that nobody waits for a minute to pass.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio
from trio.testing import MockClock, memory_stream_pair

import actors
from tests.support.raw import Peer
from tests.support.stores import timed_environment

EVENTS = 3
"""In each thread."""

SLICE = 100
"""Threads between two turns of all other work."""

SLICE_SECONDS = 0.3
"""A thousand of them take five minutes: longer than anything is kept."""

LIMITS = actors.Limits(unbound_total_bytes=16 * 1024 * 1024)
"""Less than comes within the time that a hold lasts, so that both bounds are reached."""

SAMPLE = 50
"""Of so many threads one has its receipts kept."""

PAYLOAD = {"text": "x" * 250}
"""The payload of an event of 400 bytes, which is a block of Python's allocator like everything else that an event
costs."""


class Measure(msgspec.Struct):
    """The measurements at one moment."""

    blocks: int
    """Of Python's allocator, in use: all that is smaller than half a KiB."""
    resident_bytes: int
    held: int
    """Events that the store holds."""


class Found(msgspec.Struct):
    """The outcome of a flood."""

    before: Measure
    halfway: Measure
    flooded: Measure
    after: Measure
    accepted: int
    dropped: int
    balanced: bool
    fates: dict[str, int]
    """Of kept receipts: stage and cause."""
    explained: dict[str, int]
    """The answers of ``explain``: a cause, or that the event is forgotten; or something else, which is wrong."""
    bystander_offsets: list[int]
    """The events that another user's device got."""


def measure(runtime: actors.Runtime) -> Measure:
    """Look at what is left after the collector."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Measure(sys.getallocatedblocks(), pages * os.sysconf("SC_PAGE_SIZE"), runtime.audit().total.held)


async def flood(runtime: actors.Runtime, name: str, threads: range, kept: list[actors.Receipt]) -> None:
    """Emit into these threads, and one event for the bystander in each slice."""
    for number in threads:
        thread = runtime.thread(f"{name}-{number}")
        receipts = [thread.emit_nowait("agent_thinking", PAYLOAD) for _ in range(EVENTS)]
        if number % SAMPLE == 0:
            kept += receipts
        if number % SLICE == 0:
            await runtime.thread("t1").emit("tick", {}, user_id="alice")
            await trio.sleep(SLICE_SECONDS)


async def expire(limits: actors.Limits) -> None:
    """Let a hold's time pass, and what is idle retire."""
    await trio.sleep(limits.unbound_seconds + 2 * limits.retire_seconds + 2 * limits.sweep_seconds)


@asynccontextmanager
async def bystander(runtime: actors.Runtime) -> AsyncIterator[list[int]]:
    """A device of a user that has nothing to do with it; the offsets that it gets."""
    offsets: list[int] = []

    async def live(peer: Peer) -> None:
        while True:
            message = await peer.next_message()
            if "offset" in message and "op" not in message:
                offsets.append(message["offset"])
                await peer.ack(offsets[-1])
            elif message.get("op") == "ping":
                await peer.say({"op": "pong"})
            peer.frames.clear()

    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runtime.handle, theirs)
        peer = Peer(ours)
        await peer.attach("alice")
        nursery.start_soon(live, peer)
        yield offsets
        nursery.cancel_scope.cancel()


def explained(runtime: actors.Runtime, receipt: actors.Receipt) -> str:
    """True if ``explain`` knows what the receipt does, or says that it does not know."""
    fate = runtime.explain(receipt.event_id)
    if not fate.known:
        return "forgotten" if "forgotten" in str(fate) else str(fate)
    return str(receipt.cause) if f"dropped ({receipt.cause})" in str(fate) else str(fate)


async def main(threads: int) -> None:
    """Flood twice, and say what the second time has come to."""
    gc.set_threshold(50_000, 20, 100)
    logging.getLogger("actors").setLevel(logging.ERROR)  # it would say of each thread that it has no owner
    environment = timed_environment()
    async with actors.open_runtime(limits=LIMITS, environment=environment) as runtime, bystander(runtime) as offsets:
        await flood(runtime, "first", range(threads), [])
        await expire(LIMITS)
        kept: list[actors.Receipt] = []
        books, before = runtime.audit().unowned, measure(runtime)
        await flood(runtime, "second", range(threads // 2), kept)
        halfway = measure(runtime)
        await flood(runtime, "second", range(threads // 2, threads), kept)
        flooded = measure(runtime)
        await expire(LIMITS)
        fates = Counter(f"{receipt.stage.name} {receipt.cause}" for receipt in kept)
        said = Counter(explained(runtime, receipt) for receipt in kept)
        kept.clear()
        after, audit = measure(runtime), runtime.audit()
        accepted, dropped = audit.unowned.accepted - books.accepted, audit.unowned.dropped - books.dropped
    found = Found(before, halfway, flooded, after, accepted, dropped, audit.balanced, fates, said, offsets)
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), clock=MockClock(autojump_threshold=0))
