"""A passage: one call from asyncio into the runtime's loop, as the task sees it that waits for its end."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Passage(Generic[T]):
    """The end of a call over there, for the one task here that waits for it.

    No future is awaited twice, and none is shielded: a task that is cancelled
    leaves its own waiter behind, and may come back with another one for the
    end that is still to come.
    """

    __slots__ = ("_error", "_loop", "_value", "_waiter", "settled", "taken", "withdrawn")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self.settled: bool = False
        """True once it has ended."""
        self.taken: bool = False
        """True once its caller has the value, or the error."""
        self.withdrawn: bool = False
        """True once its caller was cancelled. The other side looks before it begins."""

    def settle(self, value: T | None, error: BaseException | None = None) -> None:
        """End it, in this loop; the first end counts."""
        if self.settled:
            return
        self.settled, self._value, self._error = True, value, error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> T:
        """Wait for its end; returns the value, or raises the error. Cancelled, it goes on."""
        while not self.settled:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self.take()

    async def wait_out(self) -> bool:
        """Wait for its end, however often the task is cancelled meanwhile; True if it was."""
        cancelled = False
        while not self.settled:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                cancelled = True
        return cancelled

    def take(self) -> T:
        """Return the value of a call that has ended, or raise its error."""
        self.taken = True
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback has this frame
        value: T = self._value
        return value
