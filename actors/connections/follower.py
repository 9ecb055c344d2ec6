"""The follower: a device in the process of the server, which reads its user's log where its consumer comes to it.

It is to the user's actor and the flusher what a connection is, and is told what
a connection is told. But where a connection writes, a follower only rings: its
consumer comes back for the next item, and that is when the log is read, one
event at a time. So a consumer that is slow is a cursor that stands still, and
what it has not come for it can still miss as any device does, by retention.

An event counts as written in the step that hands it out, and as acked when the
consumer comes back. Of the threads that it does not follow it takes no event:
those are passed over, and neither written nor acked here.

Nothing in it waits. :class:`~actors.connections.following.Following` does.
"""

from __future__ import annotations

from collections import deque

import attrs

from actors.connections.context import ConnectionContext
from actors.connections.current import Current, read
from actors.delivery.bounds import Bounds, Start
from actors.delivery.frames import texts_of
from actors.delivery.ledger import Ledger
from actors.delivery.log import NotAtHand
from actors.delivery.outgoing import Outgoing
from actors.delivery.subscription import EpochEnded, Subscription
from actors.events.delivered import Event
from actors.events.event import decode
from actors.events.items import CaughtUp, Cursor, Gap, Item, Reset
from actors.kernel.signals import Doorbell
from actors.observability.connection_state import ConnectionState, compose
from actors.protocol import server_messages
from actors.protocol.codes import CLOSINGS
from actors.stores.store import View
from actors.users.presence import Acked, Presence


@attrs.frozen
class _Handed:
    """An item on its way to the consumer, and the cursor of one that has taken it; ``None`` where it is not in the
    log."""

    item: Item
    cursor: Cursor | None


class Follower:
    """One device of a user in this process: its subscription, and the items that are not in the log."""

    __slots__ = (
        "_context",
        "_current",
        "_first",
        "_in_hand",
        "_presence",
        "bell",
        "label",
        "plain",
        "position",
        "reason",
        "renames",
        "since",
        "subscription",
        "taken",
        "user_id",
    )

    def __init__(self, label: str, user_id: str, *, thread_id: str | None, context: ConnectionContext) -> None:
        self.label: str = label
        self.user_id: str | None = user_id
        self.plain: bool = False
        self.renames: bool = True
        self.subscription: Subscription | None = None
        """Its subscription to the user's log, from attach on."""
        self.bell: Doorbell = Doorbell()
        """Rung when there may be something to take."""
        self.reason: tuple[str, str] | None = None
        """The row of the closing table by which it has ended, and the reason in words."""
        self.position: Cursor
        """The place in the log where it began."""
        self.taken: Cursor
        """The place in the log up to which its consumer has come back."""
        self.since: float = context.environment.wall_clock()
        """The time at which it came."""
        self._context = context
        self._presence: Presence
        self._current = Current(thread_id)
        self._first: deque[_Handed] = deque()
        """Items that come before the log is read again: a gap and the event behind it, or a reset."""
        self._in_hand: Cursor | None = None
        """The cursor of the item that the consumer has and has not come back from."""

    @property
    def path(self) -> str:
        """The path in the tree: ``users/alice/connections/f3``."""
        return f"users/{self.user_id}/connections/{self.label}"

    def __repr__(self) -> str:
        state = "attaching" if self.subscription is None else repr(self.subscription)
        return f"<Follower {self.path} {state}{'' if self.reason is None else f' ended={self.reason[0]}'}>"

    @property
    def caught_up(self) -> bool:
        """True if nothing is left to catch up with; see :attr:`Subscription.caught_up`."""
        return self.subscription is not None and self.subscription.caught_up

    @property
    def is_awaited(self) -> bool:
        """True if its consumer may still take, or ack, an event that no device has acked."""
        subscription = self.subscription
        if subscription is None or self.reason is not None:
            return False
        return subscription.cursor.position < subscription.ledger.head or subscription.awaits_ack

    # --- its consumer ---------------------------------------------------------------

    def come_back(self) -> Acked | None:
        """Count the item in hand as taken; returns the acks for the user's actor."""
        cursor, self._in_hand = self._in_hand, None
        if cursor is None or self.reason is not None or self.subscription is None:
            return None
        self.taken = cursor
        spans = self.subscription.ack(cursor.offset)
        return Acked(self.subscription.ledger, spans) if spans else None

    def take(self) -> Item | None:
        """Hand out the next item; ``None`` if there is none yet, or will be none any more.

        Raises NotAtHand, and hands nothing out, while the log has to be loaded
        from after :attr:`offset` on.
        """
        subscription = self.subscription
        while self.reason is None and subscription is not None:
            handed = self._next(subscription)
            if handed is None:
                return None
            if self._current.is_news(handed.item):
                self._in_hand = handed.cursor
                return handed.item
        return None

    @property
    def view(self) -> View:
        """The user's log."""
        view = self._presence.view
        assert view is not None, "a log is followed while it has devices"
        return view

    @property
    def offset(self) -> int:
        """The last offset that was read of the log."""
        assert self.subscription is not None, "what is read has a subscription"
        return self.subscription.cursor.position

    def _next(self, subscription: Subscription) -> _Handed | None:
        """Take the next item: of the log, or one that belongs where the log has been read to."""
        while True:
            handed = self._take_first(subscription) or self._take_current(subscription)
            if handed is not None:
                return handed
            try:
                outgoing = subscription.pull(1)
            except EpochEnded:
                self._presence.rewind()
                return None
            if outgoing is None:
                self.taken = Cursor(subscription.ledger.epoch, subscription.cursor.position)
                return None
            handed = self._read(outgoing, subscription)
            if handed is not None:
                return handed

    def _take_first(self, subscription: Subscription) -> _Handed | None:
        if not self._first:
            return None
        handed = self._first.popleft()
        if isinstance(handed.item, Event):
            subscription.finish_write(written=True)
        return handed

    def _take_current(self, subscription: Subscription) -> _Handed | None:
        """Take an item that belongs where the log was read to: that it has caught up, a run, a question."""
        item = self._current.take(subscription.cursor.position, lambda: self.view.bounds.head)
        if item is None and subscription.catch_up_is_due and not self._current.in_round:
            subscription.catch_up()
            pending = self._context.pending(subscription.user_id, self._current.thread_id)
            self._current.begin(pending, self.view.bounds.head)
            item = CaughtUp(subscription.cursor.position)
        return None if item is None else _Handed(item, None)

    def _read(self, outgoing: Outgoing, subscription: Subscription) -> _Handed | None:
        """Take what was read of the log: an event, perhaps behind a gap; ``None`` for one of another thread."""
        epoch, events = subscription.ledger.epoch, [decode(text) for text in texts_of(outgoing.frames)]
        assert len(events) <= 1, "the log is read event by event"
        gaps = [server_messages.decode(text.decode()) for text in outgoing.before]
        for gap in gaps:
            assert isinstance(gap, server_messages.Gap), f"before an event of one log comes a gap, not {gap!r}"
            self._first.append(_Handed(Gap(gap.first, gap.last, gap.cause), Cursor(epoch, gap.last)))
        event = events[0] if events else None
        if event is not None and not self._current.follows(event.thread_id):
            subscription.pass_over(outgoing)
            event = None
        if event is not None:
            self._current.event(event)
            handed = _Handed(event, Cursor(epoch, event.offset))
            if not gaps:
                subscription.wrote(outgoing)
                return handed
            subscription.begin_write(outgoing)
            self._first.append(handed)
        return self._first.popleft() if self._first else None

    # --- called from other actors' steps ----------------------------------------------

    def ended_by(self) -> str | None:
        """Return the row of the closing table by which it has ended."""
        return None if self.reason is None else self.reason[0]

    def begin(self, subscription: Subscription, start: Start, bounds: Bounds, session: str, presence: Presence) -> None:
        """Take a subscription to the user's log."""
        self._presence = presence
        self.subscription = subscription
        first = start.offset if start.gap is None else start.gap[0]
        self.position = self.taken = Cursor(bounds.epoch, first - 1)
        self._context.note_resume(self.path, start.kind)
        if start.gap is not None:
            self._first.append(_Handed(Gap(*start.gap, "retention"), Cursor(bounds.epoch, start.offset - 1)))
        elif start.kind == "reset":
            self._first.append(_Handed(Reset(bounds.epoch, bounds.low), self.position))

    def reset(self, bounds: Bounds, ledger: Ledger) -> None:
        """Go on in another epoch of the log; what was not handed out of the one before is not any more."""
        assert self.subscription is not None, "only a device with a subscription is reset"
        self.subscription.finish_write(written=False)
        self.subscription.reset(bounds, ledger)
        self._context.note_resume(self.path, "reset")
        self._current.forget()
        self._in_hand = None
        self._first = deque(one for one in self._first if one.cursor is None)
        self._first.append(_Handed(Reset(bounds.epoch, bounds.low), Cursor(bounds.epoch, bounds.low - 1)))
        self.bell.ring()

    def rename(self, bounds: Bounds, ledger: Ledger, fork: int) -> None:
        """Go on in an epoch that shares all up to ``fork`` with the present one."""
        assert self.subscription is not None, "only a device with a subscription is renamed"
        self.subscription.rename(bounds, ledger, fork)
        self._context.note_resume(self.path, "renamed")
        epoch = bounds.epoch
        self._current.forget()
        self._first = deque(_Handed(one.item, _renamed(one.cursor, epoch)) for one in self._first)
        self._in_hand = _renamed(self._in_hand, epoch)
        self.taken = Cursor(epoch, self.taken.offset)
        self.bell.ring()

    def flush(self) -> None:
        """Ring: the consumer reads the log, when it comes."""
        self.bell.ring()

    def tell(self, text: bytes) -> bool:
        """Have a message about a run or a question taken after the events that the log has now; where there are too
        many of them, announce all that is active and open later."""
        subscription = self.subscription
        if subscription is None or self.reason is not None:
            return False
        told = read(text)
        if not self._current.concerns(told):
            return False
        if not self._current.put(told, self.view.bounds.head):
            subscription.catch_up_again()
        self.bell.ring()
        return True

    def end(self, name: str, text: str) -> None:
        """End for a reason of the closing table: nothing more is handed out. The first reason counts."""
        if self.reason is None:
            self.reason = name, text or CLOSINGS[name].text
            self.bell.ring()

    def fail(self, error: BaseException) -> None:
        """End for a failure of ours, and report it."""
        self._context.failures.report(self.path, "its consumer", error)
        self.end("failed", "")

    def close(self) -> None:
        """Read no more; an event behind a gap that was not handed out stays unwritten."""
        if self.subscription is not None:
            self.subscription.end(written=False)

    def describe(self, offset: int, now: float) -> str:
        """Say how this device stands to one offset: ``f3 acked``, ``f4 12 behind``."""
        if self.subscription is None:
            return f"{self.label} is attaching"
        if not self._is_of_its_thread(offset):
            return f"{self.label} follows thread {self._current.thread_id} alone"
        return f"{self.label} {self.subscription.describe(offset)}"

    def _is_of_its_thread(self, offset: int) -> bool:
        """Return true unless an event can be read, and is of a thread that is not followed."""
        if self._current.thread_id is None:
            return True
        try:
            chunk = self.view.read(offset, 1)
        except NotAtHand:
            return True
        if chunk.first != offset:
            return True
        return all(self._current.follows(decode(text).thread_id) for text in texts_of(chunk.frames))


def state_of(follower: Follower) -> ConnectionState:
    """Look at a follower, for operators."""
    return compose(
        follower.subscription,
        label=follower.label,
        user_id=follower.user_id,
        kind="follower",
        is_ending=follower.reason is not None,
        backlog_bytes=None,
        since=follower.since,
    )


def _renamed(cursor: Cursor | None, epoch: str) -> Cursor | None:
    return None if cursor is None else Cursor(epoch, cursor.offset)
