"""What has come from the log and what the application took of it: contiguity, once each, and what may be confirmed.

Three places in the log, in this order or equal:

- *taken*: the application came back for more after this one. A connection
  resumes here, and nothing beyond it is confirmed.
- *given*: the last one handed to the application; it may be working on it.
- *received*: the last one that is kept here.

And one of the connection: its *position*, the last offset that came on it. A
connection begins at *taken*, so that what was received beyond comes again, and
is dropped.

What is kept is bounded. When the bound is reached the connection is *overrun*:
what comes on it is counted and not kept, and it is good for requests only,
until the application has taken everything and another connection resumes.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.client.acks import Acks
from actors.client.item_queue import Entry, ItemQueue
from actors.client.items import CaughtUp, Cursor, Gap, Item, Reset
from actors.events.delivered import Event
from actors.events.event import Lifecycle
from actors.protocol import server_messages

_LAST_WORDS = frozenset({Lifecycle.AGENT_COMPLETED, Lifecycle.AGENT_FAILED, Lifecycle.AGENT_CANCELLED})
"""When a run has ended, its confirmation does not wait."""


class OutOfOrder(Exception):
    """What came is not what can come next; no cursor can be trusted any more."""


class Arrivals:
    """Everything about offsets on the client's side; no clock but the numbers it is given."""

    def __init__(
        self,
        cursor: Cursor | None,
        most_items: int,
        *,
        most_bytes: int,
        is_news: Callable[[Item], bool] = lambda _: True,
    ) -> None:
        self.taken = cursor
        self.given = cursor
        self.overrun = False
        self.received = cursor
        self.acks = Acks()
        self._queue = ItemQueue(most_items, most_bytes)
        self._in_hand: Entry | None = None
        self._is_news = is_news
        """Asked of each item when it is its turn to be handed out; one that is none is not."""
        self._epoch = ""
        self._position: int | None = None
        """``None`` until it is known: before the welcome, and after one that announces a reset."""
        self._resume: Cursor | None = None
        self._defect = ""
        self._unseen_reset: Reset | None = None

    # --- the application ------------------------------------------------------

    def __len__(self) -> int:
        """Items that wait for the application."""
        return len(self._queue)

    @property
    def drained(self) -> bool:
        """Whether the application has taken everything that was kept."""
        return not len(self._queue) and self._in_hand is None

    def confirm(self) -> None:
        """The application came back: what it had in hand is taken."""
        entry, self._in_hand = self._in_hand, None
        if entry is not None and entry.cursor is not None:
            self.taken = entry.cursor
            if entry.item is self._unseen_reset:
                self._unseen_reset = None
                self._defect = ""
            if isinstance(entry.item, Event) and entry.item.type in _LAST_WORDS:
                self.acks.urge(entry.cursor.offset)

    def give(self) -> Item | None:
        """The next item that is news, into the application's hand; ``None`` when there is none."""
        while len(self._queue):
            entry = self._queue.pop()
            self.given = entry.cursor or self.given
            if self._is_news(entry.item):
                self._in_hand = entry
                return entry.item
        return None

    # --- connections ----------------------------------------------------------

    def begin(self) -> Cursor | None:
        """A connection begins; the cursor to resume with."""
        self.overrun = False
        self._position = None
        self._resume = None if self._defect else self.taken
        return self._resume

    @property
    def starting_over(self) -> bool:
        """Whether the server said what cannot be, so that everything is asked for anew."""
        return bool(self._defect)

    def distrust(self, why: str) -> None:
        """From now on no cursor is trusted; the application is told when the log begins anew."""
        self._defect = why

    def welcome(self, said: server_messages.Welcome) -> None:
        """The server says where the connection begins. Raises :class:`OutOfOrder` when that cannot be."""
        resume = self._resume
        self._epoch = said.epoch
        self.acks.begin()
        if said.resume == "fresh" and resume is None:
            self._start_fresh(Cursor(said.epoch, said.start - 1))
        elif said.resume == "reset" and resume is not None:
            self._position = None
        elif said.resume not in {"replayed", "gap"} or resume is None or resume.epoch != said.epoch:
            raise OutOfOrder(f"welcome: expected an answer to the cursor {resume}, got {said.resume} in {said.epoch}")
        elif said.resume == "replayed" and said.start != resume.offset + 1:
            raise OutOfOrder(f"welcome: expected to start at {resume.offset + 1}, got {said.start}")
        else:
            self._go_on(resume)

    def _start_fresh(self, base: Cursor) -> None:
        self._place(base)
        if self._defect:
            self._begin_anew(Reset(base.epoch, base.offset + 1, self._defect))
        else:
            self.taken = self.given = self.received = base

    def _go_on(self, resume: Cursor) -> None:
        if self.received is not None and self.received.epoch != resume.epoch:
            self.received = self._queue.forget_reset() or self.given
        if self.received is None or self.received.epoch != resume.epoch:
            raise OutOfOrder(f"welcome: expected the epoch of {self.received}, got {resume.epoch}")
        self._place(resume)

    def _place(self, cursor: Cursor) -> None:
        self._epoch, self._position = cursor.epoch, cursor.offset
        self.acks.start(cursor.offset)

    # --- what comes -----------------------------------------------------------

    def event(self, event: Event, size: int) -> None:
        """An event of its own."""
        if self._is_next(event.offset, event.offset):
            self._arrive(event, event.offset, event.offset, size)

    def batch(self, batch: server_messages.Batch[Event], size: int) -> None:
        """Events that stand for a range; each stands for what is between it and the one before it."""
        if not self._is_next(batch.first, batch.last):
            return
        offsets = [event.offset for event in batch.events]
        before = [batch.first - 1, *offsets]
        if before[-1] != batch.last or any(a >= b for a, b in zip(before, offsets, strict=False)):
            raise OutOfOrder(f"batch: expected events up to {batch.last} after {batch.first - 1}, got {offsets}")
        for last_before, event in zip(before, batch.events, strict=False):
            self._arrive(event, last_before + 1, event.offset, size // len(offsets))

    def gap(self, gap: server_messages.Gap) -> None:
        """A range that is gone; of what was received all the same, nothing is said."""
        if self._is_next(gap.first, gap.last):
            first = gap.first if self.received is None else max(gap.first, self.received.offset + 1)
            self._arrive(Gap(first, gap.last, gap.cause), first, gap.last, 0)

    def reset(self, reset: server_messages.Reset) -> None:
        """Another log, from now on."""
        self._place(Cursor(reset.epoch, reset.low - 1))
        self._begin_anew(Reset(reset.epoch, reset.low))

    def caught_up(self, said: server_messages.CaughtUp) -> None:
        """What was there has come."""
        if self._position is None or said.offset > self._position:
            raise OutOfOrder(f"caught_up: expected an offset of at most {self._position}, got {said.offset}")
        if self.has_room():
            self.add(CaughtUp(said.offset))

    def add(self, item: Item, size: int = 0) -> None:
        """Something that stands outside of the log."""
        self._queue.keep(Entry(item=item, first=0, cursor=None, size=size))

    def has_room(self) -> bool:
        """Whether another item can wait for the application; if not, this connection is given up."""
        self.overrun = self.overrun or self._queue.is_full
        return not self.overrun

    def _is_next(self, first: int, last: int) -> bool:
        """Whether a range continues the log; false when it has been seen. Raises :class:`OutOfOrder`."""
        position = self._position
        if position is None:
            raise OutOfOrder(f"expected a reset, got {first} to {last}")
        if first <= last <= position:
            return False
        if first != position + 1 or last < first:
            raise OutOfOrder(f"expected offset {position + 1}, got {first} to {last}")
        return True

    def _arrive(self, item: Item, first: int, last: int, size: int) -> None:
        """Keep what continues the log, unless it was received before, or there is no room for it."""
        self._position = last
        received = self.received
        assert received is not None, "a connection that has a position has a place"
        if self.overrun or last <= received.offset:
            return
        if self._queue.is_full or (
            first <= received.offset and not self._queue.take_back(Cursor(self._epoch, first - 1), self.given)
        ):
            self.overrun = True
            return
        self.received = Cursor(self._epoch, last)
        self._queue.keep(Entry(item=item, first=first, cursor=self.received, size=size))

    def _begin_anew(self, reset: Reset) -> None:
        """What the last log had said stays; what another reset had begun and nobody saw is replaced by this one."""
        self._queue.forget_reset()
        self._unseen_reset = reset
        self.received = Cursor(reset.epoch, reset.low - 1)
        self._queue.keep(Entry(item=reset, first=reset.low, cursor=self.received, size=0))

    # --- confirming -------------------------------------------------------------

    def ack(self, now: float, asked: server_messages.ServerLimits, *, everything: bool = False) -> int | None:
        """The offset to confirm at ``now``, if one is due; with ``everything``, if there is one."""
        return self.acks.due(self._confirmable(), now, asked, everything=everything)

    def _confirmable(self) -> int:
        """What is taken and has come on this connection, too: an offset beyond what was sent on it is an error."""
        taken = self.taken
        if self._position is None or taken is None or taken.epoch != self._epoch or self._unseen_reset is not None:
            return 0
        return min(taken.offset, self._position)
