"""Readiness: one task that knows of all idle sockets which of them has bytes to read.

A task for each socket costs 4 KiB of memory, and 30 to 40 µs of the scheduler
whenever a device says something. Here all sockets are in one selector of the
system (epoll on Linux, kqueue on macOS), and one task waits for the descriptor
of that selector, which Trio's own watches like a socket: an epoll in an epoll.
What arrived meanwhile is read in that task's step, 1 to 7 µs a socket beyond
the system calls.

An endpoint without a descriptor (a host's stream, a simulated network), and
every one on a system whose selector has none, gets a task of its own.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable
from contextlib import suppress

import attrs
import trio

from actors.kernel.failures import Barrier
from actors.wire.endpoint import Endpoint

_TURN = 64
"""Sockets that are read in a row; then other tasks have a turn, because a storm must not hold them up: 1 ms."""


@attrs.define(eq=False, kw_only=True)
class _Watch:
    """An endpoint that is watched."""

    endpoint: Endpoint
    on_readable: Callable[[], None]
    on_failed: Callable[[BaseException], object]
    descriptor: int
    scope: trio.CancelScope | None = None
    """The scope of its task, where it needs one."""
    over: bool = False


class Readiness:
    """The endpoints that are watched. ``on_readable`` must not wait, and not raise."""

    def __init__(self) -> None:
        self._watches: dict[Endpoint, _Watch] = {}
        self._selector: selectors.BaseSelector | None = None
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Readiness watches={len(self._watches)}>"

    def watch(
        self, endpoint: Endpoint, on_readable: Callable[[], None], on_failed: Callable[[BaseException], object]
    ) -> None:
        """Call ``on_readable`` whenever an endpoint can be read, until :meth:`forget`, which must come before it is
        closed. Bytes that it has read ahead are not noticed.

        ``on_failed`` gets the exception of an endpoint that cannot be watched: a host's may raise anything, and the
        system may have no room. It must not raise, and costs no other its watch.
        """
        assert endpoint not in self._watches, "an endpoint is watched once"
        watch = self._watches[endpoint] = _Watch(
            endpoint=endpoint, on_readable=on_readable, on_failed=on_failed, descriptor=endpoint.fileno()
        )
        if self._nursery is not None:
            self._begin(watch)

    def forget(self, endpoint: Endpoint) -> None:
        """Watch an endpoint no more. Idempotent."""
        watch = self._watches.pop(endpoint, None)
        if watch is None:
            return
        watch.over = True
        if watch.scope is not None:
            watch.scope.cancel()
        elif self._selector is not None:
            with suppress(KeyError):  # a forked child's is closed
                self._selector.unregister(watch.descriptor)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled; those that are watched stay so for the next run."""
        self._selector = selector = _selector()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for watch in tuple(self._watches.values()):
                    self._begin(watch)
                task_status.started()
                if selector is None:
                    await trio.sleep_forever()
                else:
                    await self._run(selector)
        finally:
            self._nursery = self._selector = None
            if selector is not None:
                selector.close()

    def _begin(self, watch: _Watch) -> None:
        assert self._nursery is not None, "it runs"
        if self._selector is not None and watch.descriptor >= 0:
            with Barrier(watch.on_failed):
                self._selector.register(watch.descriptor, selectors.EVENT_READ, watch)
        else:
            watch.scope = trio.CancelScope()
            self._nursery.start_soon(_watch_alone, watch, watch.scope)

    async def _run(self, selector: selectors.BaseSelector) -> None:
        descriptor: int = selector.fileno()  # type: ignore[attr-defined]  # the base class does not promise it
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            # In a call of its own, because what it holds would stay for the wait: each connection of a storm.
            await _read_in_turns(selector.select(0))


def _selector() -> selectors.BaseSelector | None:
    """Make the system's selector, if it has a descriptor that can be waited for."""
    selector = selectors.DefaultSelector()
    if hasattr(selector, "fileno"):
        return selector
    selector.close()
    return None


async def _read_in_turns(ready: list[tuple[selectors.SelectorKey, int]]) -> None:
    for at, (key, _) in enumerate(ready, 1):
        watch: _Watch = key.data
        if not watch.over:  # one before it in this turn may have ended it
            watch.on_readable()
        if at % _TURN == 0 and at < len(ready):
            await trio.lowlevel.checkpoint()


async def _watch_alone(watch: _Watch, scope: trio.CancelScope) -> None:
    with Barrier(watch.on_failed), scope, suppress(trio.ClosedResourceError):
        while True:
            await watch.endpoint.wait_readable()
            if not watch.over:  # it was woken already when another task forgot it
                watch.on_readable()
