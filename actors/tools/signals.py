"""Leaving on a signal: the first one ends serving in good order, the next one ends that."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager

import trio

from actors.runtime import Runtime
from actors.tools.terminal import complain


def open_signals() -> AbstractContextManager[AsyncIterator[int]]:
    """Receive the signals that ask a command to end, from a person or from a supervisor of processes."""
    return trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM)


async def until_signal(signals: AsyncIterator[int], work: Callable[[], Awaitable[None]]) -> int | None:
    """Work to the end, or to the next signal; that signal, ``None`` when it was the end."""
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
    """Wait for a signal, then drain, until another one: then nothing is waited for. How it went is said either way."""
    await anext(signals)

    async def drain() -> None:
        complain(str(await runtime.drain(drain_seconds)))

    if await until_signal(signals, drain) is not None:
        complain(str(await runtime.drain(0, runs="cancel")))
