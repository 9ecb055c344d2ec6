"""A block of the runtime's loop, entered and left from asyncio: a run, above all.

Over there a task enters the context manager and waits in it; here the body
runs. Each side can end it:

    the body ends, or raises     the other side's block ends so, too, and may raise itself
    the body is cancelled        the run over there is cancelled, and the cancellation goes on here
    the run is cancelled         the body is cancelled, as ``asyncio.timeout()`` does it, and its unwinding waited for

As with a timeout, the counts of the task decide what a cancellation was: one
that was asked for here is taken back with ``uncancel()``, and is over with the
block unless others came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Generic, TypeVar

import trio

from actors.aio.bridge import Bridge, closed_meanwhile
from actors.errors import RuntimeClosed
from actors.kernel.failures import is_cancellation

T = TypeVar("T")


def _leave_be(_: object) -> None:
    """Tell the target of no cancellation, because to be left is all that it needs."""


class Block(Generic[T]):
    """One block; entered and left once, by one task."""

    def __init__(
        self,
        bridge: Bridge,
        manager: Callable[[], AbstractAsyncContextManager[T]],
        *,
        cancel: Callable[[T], None] = _leave_be,
    ) -> None:
        """Take the manager to enter over there, and how its target hears that the host has cancelled the body."""
        self._bridge = bridge
        self._cancel = cancel
        self._manager = manager
        self._entered = bridge.passage()
        self._left = bridge.passage()
        self._scope = trio.CancelScope()
        self._go = trio.Event()
        """Set, over there, when the body has ended."""
        self._ending: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        self._error: BaseException | None = None
        """The body's own exception."""
        self._unwound = False
        """True if the body was cancelled, by either side, and has ended with that."""
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self._asked = False
        """True once the task was cancelled for the other side."""

    async def enter(self) -> T:
        """Enter the other side. Raises what the other side raises. Cancelled, the other side has been left again."""
        task = asyncio.current_task()
        assert task is not None, "async with runs in a task"
        self._before = task.cancelling()
        self._bridge.soon(self._begin)
        try:
            inner: T = await self._entered.wait()
        except asyncio.CancelledError:
            self._unwound = True
            with suppress(RuntimeClosed):
                self._bridge.soon(self._go.set)
                self._bridge.soon(self._scope.cancel)
            await self._left.wait_out()
            raise
        self._task = task
        self._bridge.go_inside(task)
        return inner

    async def leave(
        self, error: BaseException | None, ending: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    ) -> bool:
        """Leave with the body's exception, after ``ending`` over there; True if the exception ends with the block.

        Raises what the other side raises on its own account.
        """
        task, self._task = self._task, None
        assert task is not None, "a block is left after it was entered"
        self._bridge.go_outside(task)
        frames = None if error is None else error.__traceback__
        self._unwound = isinstance(error, asyncio.CancelledError | GeneratorExit)
        self._error = None if self._unwound else error
        self._ending = ending
        with suppress(RuntimeClosed):
            self._bridge.soon(self._go.set)
        outstanding = await self._end(task)
        if self._error is not None:
            self._error.__traceback__ = frames  # without the way through the other thread
            return False
        if self._unwound and (outstanding or not self._asked):
            return False
        self._left.take()
        return self._unwound

    async def _end(self, task: asyncio.Task[object]) -> bool:
        """Wait for the other side, and settle the counts; True if the host has cancelled the task, and it is not over.

        Raises CancelledError if that came while this waited, and the body has no exception of its own.
        """
        interrupted = await self._left.wait_out()
        if self._asked:
            # Python before 3.13 delivers a cancellation that was taken back all the same, at the next await.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                interrupted = True
        outstanding = (task.uncancel() if self._asked else task.cancelling()) > self._before
        if interrupted and outstanding and self._error is None and not self._unwound:
            raise asyncio.CancelledError
        return outstanding

    def _cancel_body(self) -> None:
        """Cancel the task in the body, once."""
        if self._task is not None and not self._asked:
            self._asked = True
            self._task.cancel("the run was cancelled")

    # --- in the runtime's loop ------------------------------------------------------

    def _begin(self) -> None:
        try:
            self._bridge.nursery.start_soon(self._live)
        except RuntimeClosed as error:
            self._settle(error)

    async def _live(self) -> None:
        error: BaseException | None = None
        try:
            with self._scope:
                async with self._manager() as inner:
                    self._bridge.host(self._entered.settle, inner)
                    await self._stay(inner)
        except BaseException as caught:
            error = closed_meanwhile() if is_cancellation(caught) else caught
            if is_cancellation(caught):
                raise
        finally:
            self._settle(error)

    async def _stay(self, inner: T) -> None:
        """Wait for the body, and end as it did."""
        try:
            await self._go.wait()
        except trio.Cancelled:
            if self._bridge.host(self._cancel_body):
                with self._bridge.patience():
                    await self._go.wait()
            if self._unwound or not self._go.is_set():
                raise
        if self._unwound:
            self._cancel(inner)
            return
        await self._ending()
        if self._error is not None:
            raise self._error

    def _settle(self, error: BaseException | None) -> None:
        self._bridge.host(self._entered.settle, None, error or RuntimeClosed("expected a block that is entered"))
        self._bridge.host(self._left.settle, None, None if error is self._error else error)
