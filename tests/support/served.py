"""A runtime that is served on loopback while a test runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import trio

import actors
from actors.context import Context
from actors.environment import Environment
from actors.kernel.failures import Failures
from actors.observability.instrument import Instruments
from tests.support.raw import Message, Peer, connected

PATIENCE_SECONDS = 60.0
"""No test waits longer for anything: a safety net against hangs, not a measurement."""


@attrs.define
class Served:
    """A runtime and where it listens."""

    runtime: actors.Runtime
    address: tuple[str, int] | str
    nursery: trio.Nursery

    def peer(self) -> AbstractAsyncContextManager[Peer]:
        """A new connection, nothing said yet."""
        return connected(self.address)

    async def emit(self, count: int, user_id: str = "alice", size: int = 0) -> list[actors.Receipt]:
        """Emit numbered events into the user's one thread."""
        thread = self.runtime.thread(f"thread-of-{user_id}")
        return [await thread.emit("tick", {"n": n, "x": "x" * size}, user_id=user_id) for n in range(count)]

    async def gone(self, user_id: str = "alice") -> None:
        """Until the user has no device any more; the server notices when it next runs."""
        while self.runtime.devices(user_id):
            await trio.lowlevel.checkpoint()

    async def all_gone(self) -> None:
        """Until no connection is known."""
        while self.runtime.tree.server.connections:
            await trio.lowlevel.checkpoint()

    def failures(self) -> list[str]:
        """Return the failures, as text."""
        return [str(failure) for failure in self.runtime.failures]


@asynccontextmanager
async def served(serve: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Served]:
    """Open a runtime with ``options`` and serve it as ``serve`` says; nothing of ours may fail meanwhile."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            async with actors.open_runtime(**options) as runtime:

                async def listen(task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
                    await runtime.serve(**(serve or {}), task_status=task_status)

                address = await nursery.start(listen)
                server = Served(runtime, address, nursery)
                yield server
            nursery.cancel_scope.cancel()


async def ask(server: Served, request: bytes) -> tuple[int, str]:
    """Send a request on a connection of its own; the status and the body of the answer."""
    async with server.peer() as peer:
        answer = await peer.ask(request)
        return answer.status, answer.body


async def deliver(server: Served, peer: Peer) -> None:
    """One event goes out to the peer, the peer acks it, and leaves."""
    await peer.attach("alice")
    (receipt,) = await server.emit(1)
    event = await peer.next_event()
    assert event["payload"]["n"] == 0
    await peer.ack(event["offset"])
    await receipt.reached(actors.Stage.ACKED)
    assert await peer.leave() == (1000, "")


def context_of(clock: Callable[[], float] = trio.current_time, **limits: Any) -> Context:
    """A context for one part alone, with limits of its own, and perhaps a clock."""
    environment = Environment(clock=clock)
    failures = Failures(10, environment.wall_clock)
    instruments = Instruments(failures)
    return Context(limits=actors.Limits(**limits), environment=environment, failures=failures, instruments=instruments)


def offsets(events: list[Message]) -> list[int]:
    """The offsets of events."""
    return [event["offset"] for event in events]
