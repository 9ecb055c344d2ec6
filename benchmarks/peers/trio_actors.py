"""Our server: the runtime as an application uses it, threads bound to each user, everything retained.

The feeder calls ``emit_nowait``, as an agent that must not wait would; where the
runtime has no room it waits in ``emit``, so nothing is skipped. Its clients ack
every second, or every 128 events, and the cost of that is part of the figures.
"""

from __future__ import annotations

import os

import trio

import actors
from benchmarks import process
from benchmarks.schedule import Feed, Schedule

SPARE_CONNECTIONS = 5_000
"""Room for connections that a benchmark has beside those of its schedule."""


async def authenticate(credentials: actors.Credentials) -> str | None:
    """Return the token as the user's name, because this benchmark has no secrets."""
    return credentials.token


async def feed(threads: list[actors.Thread], schedule: Schedule, start: float) -> None:
    """Emit each event when it is due."""
    events = Feed(schedule, start)
    while not events.finished:
        for due in events.due():
            thread = threads[due.user * schedule.threads + due.thread]
            try:
                thread.emit_nowait("agent_delta", due.payload)
            except trio.WouldBlock:
                await thread.emit("agent_delta", due.payload)
        await trio.sleep(events.pause_seconds)


async def bound(runtime: actors.Runtime, schedule: Schedule) -> list[actors.Thread]:
    """Bind all threads, and return them in the order of users."""
    threads = []
    for user in range(schedule.users):
        for number in range(schedule.threads):
            thread_id = f"thread-{user}-{number}"
            await runtime.bind(thread_id, f"user-{user}")
            threads.append(runtime.thread(thread_id))
    return threads


def limits_for(schedule: Schedule) -> actors.Limits:
    """Return the limits of production, but for what the schedule asks for by its size."""
    usual = actors.Limits()
    return actors.Limits(
        connections=max(usual.connections, SPARE_CONNECTIONS + schedule.connections),
        connections_per_user=max(usual.connections_per_user, schedule.devices),
        sessions_per_user=max(usual.sessions_per_user, schedule.devices),
    )


async def run(schedule: Schedule) -> None:
    """Serve, and feed from the parent's START on."""
    limits = limits_for(schedule)
    async with actors.open_runtime(authenticate=authenticate, limits=limits) as runtime, trio.open_nursery() as nursery:
        threads = await bound(runtime, schedule)
        _, port, *_ = await nursery.start(runtime.serve, "127.0.0.1", 0)
        process.write_line("ready", port, os.getpid())
        start = await trio.to_thread.run_sync(process.wait_for_start)
        if start is not None:
            await feed(threads, schedule, start)
            await trio.to_thread.run_sync(process.wait_for_line)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(run, process.begin(process.parser(__doc__).parse_args()))
