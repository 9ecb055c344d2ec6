"""The feeder of the peers on asyncio, on the loop of their server, as an application's own tasks would be."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import attrs

from benchmarks import process
from benchmarks.schedule import Due, Feed, Schedule

ConnectionT = TypeVar("ConnectionT")


@attrs.define
class Users(Generic[ConnectionT]):
    """Each user's connections, by the path that a plain device asks for."""

    connections: dict[str, list[ConnectionT]] = attrs.field(factory=lambda: defaultdict(list))

    def add(self, path: str, connection: ConnectionT) -> None:
        """Add a connection that was opened."""
        self.connections[path.removeprefix("/")].append(connection)

    def remove(self, path: str, connection: ConnectionT) -> None:
        """Remove a connection that has ended."""
        self.connections[path.removeprefix("/")].remove(connection)

    def by_number(self, schedule: Schedule) -> list[list[ConnectionT]]:
        """Return the connections of each user of a schedule."""
        return [self.connections[f"user-{user}"] for user in range(schedule.users)]


async def play(schedule: Schedule, port: int, sender: Callable[[], Callable[[Due], Awaitable[None] | None]]) -> None:
    """Say that the server is ready, send each event when it is due, and return when the parent says stop.

    ``sender`` is called once the devices are connected, and returns what sends one event.
    """
    process.write_line("ready", port, os.getpid())
    start = await asyncio.to_thread(process.wait_for_start)
    if start is None:
        return
    send = sender()
    events = Feed(schedule, start)
    while not events.finished:
        await _send_all(events.due(), send)
        await asyncio.sleep(events.pause_seconds)
    await asyncio.to_thread(process.wait_for_line)


async def _send_all(due: Iterable[Due], send: Callable[[Due], Awaitable[None] | None]) -> None:
    for one in due:
        waiting = send(one)
        if waiting is not None:
            await waiting
