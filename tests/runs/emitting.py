"""A runtime in which runs emit, over a store that can be full, and the events that devices get."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
import trio
import trio.testing

import actors
from tests.stores.held import FullStore

Emitted = list[tuple[str, dict[str, Any]]]
STARTED = ("agent_started", {"agent_name": "bot"})
LIMITS = actors.Limits()
TEXT_LIMIT = LIMITS.delta_bytes


async def emitted(runtime: actors.Runtime, run_id: str | None = None, thread_id: str = "t1") -> Emitted:
    """Return the types and payloads in a thread, of one run or of all."""
    if runtime.owner(thread_id) is None:
        await runtime.bind(thread_id, "alice")
    events = (await runtime.read(thread_id)).events
    return [(event.type, event.payload) for event in events if run_id in (None, event.run_id)]


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[actors.Runtime]:
    """A runtime whose thread ``t1`` is alice's."""
    async with actors.open_runtime(**options) as runtime:
        await runtime.bind("t1", "alice")
        yield runtime


@asynccontextmanager
async def stalled(most_messages: int = 4, **limits: Any) -> AsyncIterator[tuple[actors.Runtime, FullStore]]:
    """A runtime over a store that has no room for events until it is opened, or until the block ends."""
    bounds = actors.Limits(mailbox_messages=most_messages, **limits)
    store = FullStore()
    async with opened(limits=bounds, store=store) as runtime:
        try:
            yield runtime, store
        finally:
            store.gate.set()


async def fill(runtime: actors.Runtime) -> int:
    """Fill the thread's mailbox; how many events that took."""
    count = 0
    with suppress(trio.WouldBlock):
        while True:
            runtime.thread("t1").emit_nowait("filling", {})
            count += 1
            await trio.testing.wait_all_tasks_blocked()
    return count


async def settled(runtime: actors.Runtime, store: FullStore) -> Emitted:
    """Let the store have room; returns the events then, without those that filled the mailbox."""
    store.gate.set()
    await trio.sleep(5)
    assert runtime.audit().total.queued == 0
    return [event for event in await emitted(runtime) if event[0] != "filling"]


def failed(type_: str, message: str) -> tuple[str, dict[str, Any]]:
    return "agent_failed", {"error": {"type": type_, "message": message}}


def cancelled(reason: str) -> tuple[str, dict[str, Any]]:
    return "agent_cancelled", {"reason": reason}


@contextmanager
def raises_inside(kind: type[BaseException]) -> Iterator[list[BaseException]]:
    """Expect an exception, which may be alone in groups; it is in the list afterwards."""
    raised: list[BaseException] = []
    try:
        yield raised
    except BaseException as error:
        found = error
        while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
            found = found.exceptions[0]
        if not isinstance(found, kind):
            raise
        raised.append(found)
    else:
        pytest.fail(f"{kind.__name__} was not raised")
