"""Asyncio programs under test, and what they find."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from actors import aio
from actors.client import Event, Item

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""No test waits longer for anything: a safety net against hangs, not a measurement."""


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run an asyncio program to its end; it must leave no thread of the runtime's behind."""

    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await main()

    found = asyncio.run(bounded())
    assert not [one.name for one in threading.enumerate() if one.name.startswith("actors")]
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    while not condition():  # noqa: ASYNC110 - the condition is another thread's
        await asyncio.sleep(0.001)


async def events_of(runtime: aio.Runtime, thread_id: str = "t1") -> list[Event]:
    """All events that a thread retains, in order."""
    found: list[Event] = []
    more = True
    while more:
        page = await runtime.read(thread_id, after_seq=found[-1].seq if found else 0)
        found += page.events
        more = page.more
    return found


async def types_of(runtime: aio.Runtime, thread_id: str = "t1") -> list[str]:
    """The types of a thread's events, in order."""
    return [event.type for event in await events_of(runtime, thread_id)]


async def payloads_of(runtime: aio.Runtime, thread_id: str, type_: str) -> list[dict[str, Any]]:
    """The payloads of a thread's events of one type, in order."""
    return [event.payload for event in await events_of(runtime, thread_id) if event.type == type_]


class Device:
    """A device of a user, and what it has been sent."""

    def __init__(self, session: aio.Session) -> None:
        self.session = session
        self.items: list[Item] = []

    async def follow(self) -> None:
        """Take items until the session ends."""
        async for item in self.session:
            self.items.append(item)

    async def send(self, payload: dict[str, Any], thread_id: str | None = None) -> str:
        """Send a message; returns the run that answers it."""
        sent = await self.session.send(payload, thread_id=thread_id)
        assert sent.run_id is not None
        return sent.run_id

    def events(self, *types: str) -> list[Event]:
        """The events so far, of these types if some are named."""
        return [one for one in self.items if isinstance(one, Event) and (not types or one.type in types)]

    @property
    def types(self) -> list[str]:
        """The types of the events so far."""
        return [one.type for one in self.events()]

    async def saw(self, type_: str, count: int = 1) -> dict[str, Any]:
        """Wait for an event of a type; returns its payload."""
        await until(lambda: len(self.events(type_)) >= count)
        return self.events(type_)[count - 1].payload


@asynccontextmanager
async def device(address: tuple[str, int], user_id: str = "alice", **options: Any) -> AsyncIterator[Device]:
    """Connect a device of a user, while the block runs."""
    async with aio.connect(f"ws://{address[0]}:{address[1]}/ws", token=user_id, **options) as session:
        found = Device(session)
        following = asyncio.create_task(found.follow())
        try:
            yield found
        finally:
            following.cancel()
            await asyncio.wait([following])


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[tuple[aio.Runtime, Device]]:
    """Open a runtime that is served, with a device of alice's; nothing of ours may fail meanwhile."""
    async with aio.open_runtime(**options) as runtime:
        await runtime.bind("t1", "alice")
        address = await runtime.serve()
        async with device(address) as found:
            yield runtime, found
