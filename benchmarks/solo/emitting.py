"""Emits alone: processor time of ``emit_nowait`` to bound threads, of which each marks an idle device.

The devices are connected by real sockets. Each batch is one event to each user, timed, without a chance for anything
else to run; then, not timed, the runtime writes and the devices read and ack. So a batch finds all devices caught up,
as in an application at a calm rate, and with many users it finds their logs and books *in place*, cold, as a server
of many conversations does; with few users they are *hot*.

Nothing of the package but its public names is imported, so that an earlier commit can be measured as well.
"""

from __future__ import annotations

import argparse
import gc
import json
import time

import attrs
import trio
import trio.lowlevel

import actors
from benchmarks import process
from benchmarks.load.loop import AT_ONCE, Loop
from benchmarks.load.totals import Totals
from benchmarks.load.websocket import Actors
from benchmarks.schedule import TEXT

WARMUP_BATCHES = 3


@attrs.define
class Emitting:
    """A runtime with connected users, and the devices of all of them, in one process."""

    runtime: actors.Runtime
    users: int
    loop: Loop = attrs.field(factory=lambda: Loop(Totals()))
    sent: int = 0

    async def connect(self, port: int) -> None:
        """Connect the devices, in another thread, because the runtime has to answer them."""
        totals = self.loop.totals
        devices = (Actors(port, user, user, totals) for user in range(self.users))
        await trio.to_thread.run_sync(self.loop.connect, devices, AT_ONCE)

    async def batch(self, threads: list[actors.Thread]) -> float:
        """Emit one event to each user; returns the processor seconds, and leaves every device caught up."""
        number = self.sent // self.users + 1
        payloads = [{"n": number, "due": 0.0, "text": TEXT} for _ in threads]
        began = time.thread_time()
        for thread, payload in zip(threads, payloads, strict=True):
            thread.emit_nowait("agent_delta", payload)
        took = time.thread_time() - began
        self.sent += self.users
        await self._deliver()
        return took

    def disconnect(self) -> None:
        """End the devices before the runtime, which else waits for each to answer its goodbye."""
        for connection in self.loop.connections:
            self.loop.drop(connection)

    async def _deliver(self) -> None:
        loop = self.loop
        with memoryview(loop.inbox) as window:
            while loop.totals.received < self.sent:
                await trio.lowlevel.checkpoint()
                loop.poll(window)
                if loop.totals.lost_connections or loop.totals.out_of_order:
                    raise ConnectionError(f"expected every event in order, got {loop.totals.notes}")
        for connection in loop.connections:
            connection.ack()


async def authenticate(credentials: actors.Credentials) -> str | None:
    """Return the token as the user's name."""
    return credentials.token


async def run(users: int, batches: int) -> list[float]:
    """Measure the batches; returns the µs of an emit in each."""
    found = []
    async with actors.open_runtime(authenticate=authenticate) as runtime, trio.open_nursery() as nursery:
        threads = [runtime.thread(f"thread-{user}") for user in range(users)]
        for user in range(users):
            await runtime.bind(f"thread-{user}", f"user-{user}")
        _, port, *_ = await nursery.start(runtime.serve, "127.0.0.1", 0)
        emitting = Emitting(runtime, users)
        await emitting.connect(port)
        gc.collect()
        gc.disable()  # because a collection would fall into some batches and not into others
        for number in range(WARMUP_BATCHES + batches):
            took = await emitting.batch(threads)
            if number >= WARMUP_BATCHES:
                found.append(1e6 * took / users)
        emitting.disconnect()
        nursery.cancel_scope.cancel()
    return found


def main() -> None:
    """Measure, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--batches", type=int, required=True)
    parser.add_argument("--cpu", type=int)
    options = parser.parse_args()
    process.pin(options.cpu)
    process.write_line("report", json.dumps(trio.run(run, options.users, options.batches)))


if __name__ == "__main__":
    main()
