"""The signals that stop a server: what waits for them, and what puts a drain before a handler that is there."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import trio

_STOPS = signal.SIGTERM, signal.SIGINT


async def wait_for_signal() -> None:
    """Wait for SIGTERM or SIGINT, on Trio or on asyncio; the next one is not held up."""
    if trio.lowlevel.in_trio_task():
        with trio.open_signal_receiver(*_STOPS) as signals:
            await anext(signals)
        return
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    for number in _STOPS:
        loop.add_signal_handler(number, came.set)
    try:
        await came.wait()
    finally:
        for number in _STOPS:
            loop.remove_signal_handler(number)


@contextmanager
def drain_first(drain: Callable[[], Awaitable[object]]) -> Iterator[None]:
    """Have SIGTERM drain before the handler that is there now gets it; a second one goes to that at once.

    For asyncio. Without effect outside of the main thread, and where no handler
    of Python's is there: the signal is another's business then.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    chain = _Chain(asyncio.get_running_loop(), drain=drain, before=before)
    signal.signal(signal.SIGTERM, chain.take)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) == chain.take:
            signal.signal(signal.SIGTERM, before)


class _Chain:
    """The handlers of one signal, ours first."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        drain: Callable[[], Awaitable[object]],
        before: Callable[[int, FrameType | None], Any],
    ) -> None:
        self._loop = loop
        self._drain = drain
        self._before = before
        self._task: asyncio.Task[None] | None = None
        self._has_come = False

    def take(self, number: int, frame: FrameType | None) -> None:
        """Take the signal, between any two steps of the program."""
        if self._has_come:
            self._before(number, frame)
        else:
            self._has_come = True
            self._loop.call_soon_threadsafe(self._begin, number)

    def _begin(self, number: int) -> None:
        self._task = self._loop.create_task(self._run(number))

    async def _run(self, number: int) -> None:
        try:
            await self._drain()
        finally:
            self._before(number, None)
