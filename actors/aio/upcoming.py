"""The next item of something that is iterated over in the other loop, which outlives a wait that is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

from actors.aio.bridge import Bridge
from actors.aio.passage import Passage

T = TypeVar("T")


class Upcoming(Generic[T]):
    """Takes items one by one, in one task. A cancelled wait leaves its item for the next one, so that none is lost."""

    def __init__(self, bridge: Bridge, take: Callable[[], Awaitable[T]]) -> None:
        self._bridge = bridge
        self._take = take
        self._next: Passage[T] | None = None
        """The next item, on its way."""
        self._waiting = False

    async def take(self) -> T:
        """Return the next item. Cancelled, it stays the next item.

        Raises what taking it raises over there, and
        :class:`trio.BusyResourceError` when another task waits for it.
        """
        if self._waiting:
            raise trio.BusyResourceError("another task is iterating")
        self._waiting = True
        try:
            if self._next is None:
                passage: Passage[T] = self._bridge.passage()
                self._bridge.soon(self._bridge.begin, passage, trio.CancelScope(), self._take, ())
                self._next = passage
            return await self._next.wait()
        finally:
            self._waiting = False
            if self._next is not None and self._next.taken:
                self._next = None
