"""Our server: the runtime as an application uses it, one thread bound to each user, everything retained.

The feeder calls ``emit_nowait``, as an agent that must not wait would; where the
runtime has no room it waits in ``emit``, so nothing is skipped. Its clients ack
every second, or every 128 events, and the cost of that is part of the figures.
"""

from __future__ import annotations

import trio

import actors
from benchmarks import process
from benchmarks.schedule import TICK_SECONDS, Feed, Schedule


async def authenticate(credentials: actors.Credentials) -> str | None:
    """Return the token as the user's name, because this benchmark has no secrets."""
    return credentials.token


async def feed(runtime: actors.Runtime, schedule: Schedule, start: float) -> None:
    """Emit each event when it is due."""
    threads = [runtime.thread(f"thread-{number}") for number in range(schedule.connections)]
    events = Feed(schedule, start)
    while not events.finished:
        for number, payload in events.due():
            try:
                threads[number].emit_nowait("agent_delta", payload)
            except trio.WouldBlock:
                await threads[number].emit("agent_delta", payload)
        await trio.sleep(TICK_SECONDS)


async def run(schedule: Schedule) -> None:
    """Serve, feed from the parent's START on, and report the processor time."""
    async with actors.open_runtime(authenticate=authenticate) as runtime, trio.open_nursery() as nursery:
        for number in range(schedule.connections):
            await runtime.bind(f"thread-{number}", f"user-{number}")
        _, port, *_ = await nursery.start(runtime.serve, "127.0.0.1", 0)
        process.write_line("ready", port)
        _, start = await trio.to_thread.run_sync(process.wait_for_line)
        cpu_before = process.cpu_seconds()
        await feed(runtime, schedule, float(start))
        await trio.to_thread.run_sync(process.wait_for_line)
        process.write_line("report", process.cpu_seconds() - cpu_before)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(run, process.begin(process.parser(__doc__).parse_args()))
