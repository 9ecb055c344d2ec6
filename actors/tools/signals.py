"""Shutdown on a signal: the first one drains, the next one ends the draining."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager

import trio

from actors.runtime import Runtime
from actors.tools.terminal import complain


def open_signals() -> AbstractContextManager[AsyncIterator[int]]:
    """Receive SIGINT and SIGTERM, by which a person or a process supervisor ends a command."""
    return trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM)


async def until_signal(signals: AsyncIterator[int], work: Callable[[], Awaitable[None]]) -> int | None:
    """Run ``work`` to its end or to the next signal; returns that signal, ``None`` at the end."""
    ended_by: int | None = None
    async with trio.open_nursery() as nursery:

        async def listen_for_one() -> None:
            nonlocal ended_by
            ended_by = await anext(signals)
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen_for_one)
        await work()
        ended_by = None
        nursery.cancel_scope.cancel()
    return ended_by


async def leave(runtime: Runtime, signals: AsyncIterator[int], drain_seconds: float) -> None:
    """Wait for a signal, then drain; another signal ends the waiting. Prints the report of the drain."""
    await anext(signals)

    async def drain() -> None:
        complain(str(await runtime.drain(drain_seconds)))

    if await until_signal(signals, drain) is not None:
        complain(str(await runtime.drain(0, runs="cancel")))
