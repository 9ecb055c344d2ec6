"""A line: calls that wait for room, one behind the other, in the order in which the host made them.

Trio starts the tasks of one step in any order. So a call takes its place in the
step in which it comes over, and each waits for its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class Line:
    """The calls of one run or thread that wait; used in the runtime's loop."""

    __slots__ = ("__weakref__", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[trio.Event] = deque()

    def __repr__(self) -> str:
        return f"<Line of {len(self._waiting)}>"

    @property
    def empty(self) -> bool:
        """True if no call waits, so that one that needs not wait may go at once."""
        return not self._waiting

    def join(self, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """Take a place now; returns the function that awaits ``function`` in its turn, and must be awaited once."""
        place = trio.Event()
        self._waiting.append(place)
        self._call()

        async def act() -> T:
            try:
                await place.wait()
                return await function()
            finally:
                self._waiting.remove(place)
                self._call()

        return act

    def join_passing(self, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """Take a place as :meth:`join` does, for a call that lets the next one go when it begins."""
        turn = self.join(trio.lowlevel.checkpoint)

        async def act() -> T:
            await turn()
            return await function()

        return act

    def _call(self) -> None:
        if self._waiting:
            self._waiting[0].set()
