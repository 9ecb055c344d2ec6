"""The application's coroutine functions, which are asyncio's, as the runtime calls them: in tasks of its own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import trio

import actors.receipts
import actors.runs.run
from actors.aio.bridge import Bridge
from actors.aio.frozen import frozen_value
from actors.aio.receipt import Fate, fate_from
from actors.aio.run import Run
from actors.aio.visit import HostCancelled
from actors.checks import awaitable, check_coroutine
from actors.limits import Limits
from actors.runs.run import Message
from actors.server.authentication import Authenticate, Credentials, trust
from actors.server.messages import Authorize, Claim, claim_new, deny

OURS = frozenset({trust, deny, claim_new})
"""Functions of this package, which wait for nothing of the host's."""


class Hosted:
    """Makes functions of the runtime's loop from those of the host's. Raises TypeError for what is no function."""

    def __init__(self, bridge: Bridge, limits: Limits) -> None:
        self._bridge = bridge
        self._limits = limits

    def authenticate(self, function: Authenticate) -> Authenticate:
        """Adapt ``authenticate``."""
        check_coroutine("authenticate", function, "credentials")
        if function in OURS:
            return function
        bridge = self._bridge

        async def act(credentials: Credentials) -> str | None:
            with _inside(bridge):
                found: str | None = await awaitable("authenticate", function(credentials))
                return found

        async def authenticate(credentials: Credentials) -> str | None:
            return await bridge.visit(act, credentials)

        return authenticate

    def authorize(self, function: Authorize) -> Authorize:
        """Adapt ``authorize``."""
        check_coroutine("authorize", function, "user_id", "thread_id")
        if function in OURS:
            return function
        bridge = self._bridge

        async def act(user_id: str, thread_id: str) -> Claim:
            with _inside(bridge):
                found: Claim = await awaitable("authorize", function(user_id, thread_id))
                return found

        async def authorize(user_id: str, thread_id: str) -> Claim:
            return await bridge.visit(act, user_id, thread_id)

        return authorize

    def on_undelivered(
        self, function: Callable[[Fate], Awaitable[None]] | None
    ) -> Callable[[actors.receipts.Fate], Awaitable[None]] | None:
        """Adapt ``on_undelivered``."""
        if function is None:
            return None
        check_coroutine("on_undelivered", function, "fate")
        bridge = self._bridge

        async def act(fate: Fate) -> None:
            await awaitable("on_undelivered", function(fate))

        async def on_undelivered(fate: actors.receipts.Fate) -> None:
            await bridge.visit(act, fate_from(bridge, fate))

        return on_undelivered

    def on_message(
        self, function: Callable[[Run, Message], Awaitable[Any]] | None
    ) -> Callable[[actors.runs.run.Run, Message], Awaitable[Any]] | None:
        """Adapt ``on_message``; the agent keeps its name."""
        if function is None:
            return None
        check_coroutine("on_message", function, "run", "message")
        bridge, limits = self._bridge, self._limits

        async def act(run: Run, message: Message) -> msgspec.Raw | None:
            with _inside(bridge), run.inner.span.current():
                try:
                    result = await awaitable("on_message", function(run, message))
                    return frozen_value("result", run.result if result is None else result, limits)
                finally:
                    run.conclude()

        async def answer(inner: actors.runs.run.Run, message: Message) -> msgspec.Raw | None:
            run = Run(bridge, inner, limits=limits)
            try:
                result = await bridge.visit(act, run, message)
            except HostCancelled:
                inner.cancel("host")
                await trio.lowlevel.checkpoint()
                raise
            await run.drained()
            return result

        answer.__name__ = getattr(function, "__name__", None) or type(function).__name__
        return answer


@contextmanager
def _inside(bridge: Bridge) -> Iterator[None]:
    """Note that the task is inside of what a drain ends, during the block."""
    task = asyncio.current_task()
    assert task is not None, "a visit is a task"
    bridge.go_inside(task)
    try:
        yield
    finally:
        bridge.go_outside(task)
