"""A device in the process of the runtime, from asyncio: what a user's devices are sent, item by item."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import actors.connections.following
from actors.aio.block import Block
from actors.aio.bridge import Bridge
from actors.aio.upcoming import Upcoming
from actors.events.items import Item


class Following:
    """A device in this process; :meth:`actors.aio.Runtime.follow` makes it.

    Iterate over it in one task. An event counts as written when it was handed
    out, and as acked when the loop comes back for the next item. The loop ends
    when the runtime goes away or the user is revoked; :attr:`ended` says why.
    """

    def __init__(self, bridge: Bridge, inner: actors.connections.following.Following) -> None:
        self.position: tuple[str, int] = inner.position
        """The place in the log where it began: an epoch, and the offset before the first event."""
        self.taken: tuple[str, int] = inner.taken
        """The place in the log up to which everything was taken, for ``after=`` of another one: epoch and offset."""
        self.ended: tuple[str, str] | None = None
        """The reason for which it has ended: a name of the table of close codes, and words; ``None`` while it has
        not."""
        self._inner = inner
        self._upcoming = Upcoming(bridge, self._take)

    def __aiter__(self) -> AsyncIterator[Item]:
        """Return the device itself."""
        return self

    async def __anext__(self) -> Item:
        """Return the next item. Cancelled, it stays the next item.

        Raises StoreError when the store cannot load the log now (ask again),
        :class:`~actors.errors.RuntimeClosed` when the runtime has ended, and
        :class:`trio.BusyResourceError` when another task is iterating.
        """
        return await self._upcoming.take()

    async def _take(self) -> Item:
        try:
            return await anext(self._inner)
        finally:
            self.taken, self.ended = self._inner.taken, self._inner.ended


@asynccontextmanager
async def followed(
    bridge: Bridge, manager: Callable[[], AbstractAsyncContextManager[actors.connections.following.Following]]
) -> AsyncIterator[Following]:
    """Be a device of a user in the block."""
    block = Block(bridge, manager)
    found = Following(bridge, await block.enter())
    try:
        yield found
    except BaseException as error:
        if not await block.leave(error):
            raise
    else:
        await block.leave(None)
