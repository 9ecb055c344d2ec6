"""Following: the items of a user's log, and what is active and open, for code in the process of the server."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import trio

from actors.connections.context import ConnectionContext
from actors.connections.follower import Follower
from actors.delivery.log import NotAtHand
from actors.errors import ActorsError, Busy, PeerError, Quarantined, RuntimeClosed
from actors.events.items import Item
from actors.kernel.affinity import Affinity
from actors.kernel.mailbox import Mailbox
from actors.kernel.nesting import Block
from actors.kernel.signals import Reply
from actors.protocol.client_messages import Origin
from actors.users.presence import Acked, Attach, Departure, Detach, Session, UserMessage

_LEFT = "left", "the block that followed was left"

_REFUSALS: dict[str, type[ActorsError]] = {
    "too_many_devices": Busy,
    "quarantined": Quarantined,
    "shutting_down": RuntimeClosed,
}
"""The errors of a call that the user's actor refuses for a row of the closing table."""


class Following:
    """A device in this process; :meth:`actors.runtime.Runtime.follow` makes it.

    Iterate over it in one task. An event counts as written when it was handed
    out, and as acked when the loop comes back for the next item. The loop ends
    when the runtime goes away or the user is revoked; :attr:`ended` says why.
    """

    def __init__(
        self,
        follower: Follower,
        address: Mailbox[UserMessage],
        *,
        affinity: Affinity,
        wall_clock: Callable[[], float],
    ) -> None:
        self._follower = follower
        self._address = address
        self._affinity = affinity
        self._wall_clock = wall_clock
        self._iterating = False
        self._owed: list[Acked] = []
        """Acks that the user's actor has not taken."""

    def __repr__(self) -> str:
        return f"<Following {self._follower!r}>"

    @property
    def position(self) -> tuple[str, int]:
        """The place in the log where it began: an epoch, and the offset before the first event."""
        return self._follower.position.epoch, self._follower.position.offset

    @property
    def taken(self) -> tuple[str, int]:
        """The place in the log up to which everything was taken, for ``after=`` of another one: epoch and offset."""
        return self._follower.taken.epoch, self._follower.taken.offset

    @property
    def ended(self) -> tuple[str, str] | None:
        """The reason for which it has ended: a name of the table of close codes, and words; ``None`` while it has
        not."""
        return self._follower.reason

    def __aiter__(self) -> AsyncIterator[Item]:
        """Return the device itself."""
        return self

    async def __anext__(self) -> Item:
        """Return the next item; a checkpoint. Cancelled, it stays the next item.

        Raises StoreError when the store cannot load the log now (ask again),
        and :class:`trio.BusyResourceError` when another task is iterating.
        """
        self._affinity.check_task("the next item")
        if self._iterating:
            raise trio.BusyResourceError("another task is iterating over this device")
        self._iterating = True
        try:
            await self._come_back()
            while self._follower.reason is None:
                try:
                    item = self._follower.take()
                except NotAtHand:
                    await self._load()
                    continue
                if item is not None:
                    return item
                await self._follower.bell.wait()
            raise StopAsyncIteration
        finally:
            self._iterating = False

    async def _come_back(self) -> None:
        """Pass on the acks for the item in hand. A checkpoint."""
        acked = self._follower.come_back()
        if acked is not None:
            self._owed.append(acked)
        with suppress(ActorsError):  # a user that takes no acks has ended its devices
            while self._owed:
                try:
                    self._address.tell(self._owed[0])
                except trio.WouldBlock:
                    await self._address.send(self._owed[0])
                self._owed.pop(0)
        await trio.lowlevel.checkpoint()

    async def _load(self) -> None:
        await self._follower.view.fill(self._follower.offset + 1)

    async def leave(self) -> None:
        """Leave the user's devices. Shielded, because nothing else removes a device that left by itself."""
        follower = self._follower
        follower.end(*_LEFT)
        name, text = follower.reason or _LEFT
        departure = Departure(label=follower.label, name=name, text=text, at=self._wall_clock())
        with trio.CancelScope(shield=True), suppress(ActorsError):
            for acked in self._owed:
                await self._address.send(acked)
            await self._address.send(Detach(follower, departure))


class Followers:
    """The devices of one runtime that are in its process."""

    def __init__(self, context: ConnectionContext, affinity: Affinity) -> None:
        self._context = context
        self._affinity = affinity
        self._labels = itertools.count(1)
        self._members: dict[Follower, Block] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<Followers {len(self._members)}{' closed' if self._closed else ''}>"

    @asynccontextmanager
    async def open(
        self, user_id: str, thread_id: str | None, *, after: tuple[str, int] | None, origin: Origin
    ) -> AsyncIterator[Following]:
        """Attach a device in the block; see :meth:`actors.runtime.Runtime.follow`."""
        if self._closed:
            raise RuntimeClosed("expected an open runtime, it is closed")
        follower = Follower(f"f{next(self._labels)}", user_id, thread_id=thread_id, context=self._context)
        self._members[follower] = Block.begin()
        following: Following | None = None
        try:
            address = await self._context.follow(user_id)
            following = Following(
                follower, address, affinity=self._affinity, wall_clock=self._context.environment.wall_clock
            )
            reply: Reply[Session] = Reply()
            await address.send(Attach(follower, None, after, origin, reply, keeps_session=False))
            try:
                await reply.wait()
            except PeerError as error:
                raise _REFUSALS.get(error.name, ActorsError)(str(error)) from None
            yield following
        finally:
            del self._members[follower]
            if following is not None:
                await following.leave()
            follower.close()

    def __iter__(self) -> Iterator[Follower]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def are_awaited(self) -> bool:
        """True if a consumer may still take an event, or ack one, but for those that the current task is inside of."""
        return any(follower.is_awaited and not block.is_around for follower, block in self._members.items())

    def revoke(self, user_id: str) -> int:
        """End a user's devices with ``revoked``; returns how many there were."""
        theirs = [follower for follower in self._members if follower.user_id == user_id]
        for follower in theirs:
            follower.end("revoked", "")
        return len(theirs)

    def close(self) -> None:
        """Take no more devices, and end those that are here with ``shutting_down``."""
        self._closed = True
        for follower in self._members:
            follower.end("shutting_down", "")

    def refuse(self) -> None:
        """Take no more devices."""
        self._closed = True
