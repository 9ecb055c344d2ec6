"""A visit: one call from the runtime's loop to a coroutine function of the host's."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import trio

from actors.checks import awaitable

T = TypeVar("T")


class HostCancelled(Exception):
    """The host has cancelled the task of a visit itself."""


class Visit(Generic[T]):
    """A task of the host's loop, as the runtime sees it. All but ``over``, and what is read after it, is the host's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
        *,
        function: Callable[..., Awaitable[T]],
        args: tuple[Any, ...],
    ) -> None:
        self.over: trio.Event = trio.Event()
        """Set, in the runtime's loop, once the task has ended."""
        self._loop = loop
        self._context = context
        self._function = function
        self._args = args
        self._task: asyncio.Task[None] | None = None
        self._value: Any = None
        self._error: BaseException | None = None

    @property
    def has_result(self) -> bool:
        """True if it has ended with a value, or with an error that is no cancellation."""
        return self.over.is_set() and not isinstance(self._error, HostCancelled)

    def begin(self, token: trio.lowlevel.TrioToken) -> None:
        """Start the task, in the host's loop."""

        def end() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self.over.set)

        def end_of(task: asyncio.Task[None]) -> None:
            if task.cancelled():  # before its first step, of which nothing else would tell
                self._error = HostCancelled("the host has cancelled the task")
            end()

        act = self._act()
        try:
            # In the context and not with it as an argument, which the task factories of some hosts do not take.
            self._task = self._context.run(self._loop.create_task, act)
        except BaseException as error:  # noqa: BLE001 - a factory is the host's, and the runtime waits for an end
            act.close()
            self._error = error
            end()
        else:
            self._task.add_done_callback(end_of)

    def cancel(self) -> None:
        """Cancel the task, in the host's loop, after it has begun."""
        if self._task is not None:
            self._task.cancel("the runtime has cancelled it")

    def result(self) -> T:
        """Return the value of a visit that is over, or raise its error."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        value: T = self._value
        return value

    async def _act(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine of asyncio's runs in a task"
        try:
            self._value = await awaitable(getattr(self._function, "__name__", "function"), self._function(*self._args))
        except asyncio.CancelledError as error:
            # One that no one asked for is an error of the code: it awaited what some other code had cancelled.
            self._error = HostCancelled("the host has cancelled the task") if task.cancelling() else error
        except KeyboardInterrupt:
            self._error = HostCancelled("the host was interrupted")
            raise
        except BaseException as error:  # noqa: BLE001 - it goes to the runtime; SystemExit, too, ends its run and no loop
            self._error = error
