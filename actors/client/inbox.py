"""The inbox of a session: contiguity, each item once, a bounded queue for the application, and the acks.

Three cursors, in this order or equal:

- *taken*: the application came back for more after this one. A connection
  resumes here, and nothing beyond it is acked.
- *given*: the last one handed to the application, which may still process it.
- *received*: the last one that is queued.

And one of the connection: its *position*, the last offset that came on it. A
connection begins at *taken*, so that items received beyond it come again, and
are dropped.

The queue is bounded. When the bound is reached the connection is *overrun*: its
items are counted and not queued, and it is good for requests only, until the
application has taken everything and another connection resumes.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.client.acks import Acks
from actors.client.item_queue import Entry, ItemQueue, renamed
from actors.events.delivered import Event
from actors.events.event import Lifecycle
from actors.events.items import CaughtUp, Cursor, Gap, Item, Reset
from actors.protocol import server_messages

_LAST_WORDS = frozenset({Lifecycle.AGENT_COMPLETED, Lifecycle.AGENT_FAILED, Lifecycle.AGENT_CANCELLED})
"""Events that end a run, which are acked without delay."""


_GOING_ON = frozenset({"replayed", "renamed", "gap"})
"""Answers to a cursor that is still worth something."""


class OutOfOrder(Exception):
    """A message from the server that cannot come next, so that no cursor can be trusted any more."""


class Inbox:
    """The offsets of a session, and the queue of items for the application."""

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
        self.overrun: bool = False
        self.received = cursor
        self.acks: Acks = Acks()
        self._queue = ItemQueue(most_items, most_bytes)
        self._in_hand: Entry | None = None
        self._is_news = is_news
        """Called with each item when it is its turn to be handed out; returns false to drop it."""
        self._epoch = ""
        self._renamed_to = ""
        """The epoch of a welcome that is not the cursor's, until the server has said where the one continues the
        other."""
        self._position: int | None = None
        """``None`` until it is known: before the welcome, and after one that announces a reset."""
        self._resume: Cursor | None = None
        self._defect = ""
        self._unseen_reset: Reset | None = None

    # --- the application ------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of queued items."""
        return len(self._queue)

    @property
    def drained(self) -> bool:
        """True if the application has taken everything that was queued."""
        return not len(self._queue) and self._in_hand is None

    def mark_taken(self) -> None:
        """Count the item in hand as taken, because the application came back for the next."""
        entry, self._in_hand = self._in_hand, None
        if entry is not None and entry.cursor is not None:
            self.taken = entry.cursor
            if entry.item is self._unseen_reset:
                self._unseen_reset = None
                self._defect = ""
            if isinstance(entry.item, Event) and entry.item.type in _LAST_WORDS:
                self.acks.urge(entry.cursor.offset)

    def give(self) -> Item | None:
        """Hand the next item that is news to the application; ``None`` when there is none."""
        while len(self._queue):
            entry = self._queue.pop()
            self.given = entry.cursor or self.given
            if self._is_news(entry.item):
                self._in_hand = entry
                return entry.item
        return None

    # --- connections ----------------------------------------------------------

    def begin(self) -> Cursor | None:
        """Begin a connection; returns the cursor to resume with."""
        self.overrun = False
        self._position = None
        self._renamed_to = ""
        self._resume = None if self._defect else self.taken
        return self._resume

    @property
    def starting_over(self) -> bool:
        """True if the server has contradicted itself, so that the client asks for the whole log."""
        return bool(self._defect)

    def distrust(self, why: str) -> None:
        """Trust no cursor from now on; the application gets a Reset when the log begins anew."""
        self._defect = why

    def welcome(self, said: server_messages.Welcome) -> None:
        """Begin where the server's welcome says. Raises :class:`OutOfOrder` when that is impossible."""
        resume = self._resume
        self.acks.begin_connection()
        if said.resume == "fresh" and resume is None:
            self._start_fresh(Cursor(said.epoch, said.start - 1))
        elif said.resume == "reset" and resume is not None:
            self._position = None
        elif resume is None or said.resume not in _GOING_ON or not _names(resume, said):
            raise OutOfOrder(f"welcome: expected an answer to the cursor {resume}, got {said.resume} in {said.epoch}")
        elif said.resume != "gap" and said.start != resume.offset + 1:
            raise OutOfOrder(f"welcome: expected to start at {resume.offset + 1}, got {said.start}")
        else:
            self._go_on(resume)
            self._renamed_to = "" if resume.epoch == said.epoch else said.epoch

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
        self.acks.note_acked(cursor.offset)

    # --- messages -------------------------------------------------------------

    def event(self, event: Event, size: int) -> None:
        """Take a single event."""
        if _is_next(self._position, self._renamed_to, event.offset, event.offset):
            self._arrive(event, event.offset, event.offset, size)

    def batch(self, batch: server_messages.Batch[Event], size: int) -> None:
        """Take events that stand for a range; each stands for the offsets from the one before it up to its own."""
        if not _is_next(self._position, self._renamed_to, batch.first, batch.last):
            return
        offsets = [event.offset for event in batch.events]
        before = [batch.first - 1, *offsets]
        if before[-1] != batch.last or any(a >= b for a, b in zip(before, offsets, strict=False)):
            raise OutOfOrder(f"batch: expected events up to {batch.last} after {batch.first - 1}, got {offsets}")
        for last_before, event in zip(before, batch.events, strict=False):
            self._arrive(event, last_before + 1, event.offset, size // len(offsets))

    def gap(self, gap: server_messages.Gap) -> None:
        """Take a gap, without the part of it that was received earlier."""
        if _is_next(self._position, self._renamed_to, gap.first, gap.last):
            first = gap.first if self.received is None else max(gap.first, self.received.offset + 1)
            self._arrive(Gap(first, gap.last, gap.cause), first, gap.last, 0)

    def reset(self, reset: server_messages.Reset) -> None:
        """Begin anew, in another epoch."""
        self._renamed_to = ""
        self._place(Cursor(reset.epoch, reset.low - 1))
        self._begin_anew(Reset(reset.epoch, reset.low))

    def rename(self, said: server_messages.Renamed) -> None:
        """Go on under another name. What waits for the application beyond the fork is lost, and will not be given.

        Raises :class:`OutOfOrder` where something was given already that is
        lost, so that the application has to begin anew.
        """
        position = self._position
        if position is None or said.offset < position or self._renamed_to not in {"", said.epoch}:
            where = f"expected {self._renamed_to or 'an epoch'} from {position} on"
            raise OutOfOrder(f"epoch: {where}, got {said.epoch} from {said.offset} on")
        before, self._epoch, self._renamed_to = self._epoch, said.epoch, ""
        given = self.given
        if given is not None and given.epoch == before and given.offset > said.offset:
            self._queue.rename(before, before, said.offset)
            raise OutOfOrder(f"epoch: offset {given.offset} was given out, and what is beyond {said.offset} is lost")
        last = self._queue.rename(before, said.epoch, said.offset)
        if self._in_hand is not None:
            self._in_hand = self._in_hand.renamed(before, said.epoch)
        self.taken, self.given = renamed(self.taken, before, said.epoch), renamed(given, before, said.epoch)
        self.received = last or self.given

    def caught_up(self, said: server_messages.CaughtUp) -> None:
        """Take the end of the replay."""
        if self._position is None or self._renamed_to or said.offset > self._position:
            raise OutOfOrder(f"caught_up: expected an offset of at most {self._position}, got {said.offset}")
        if self.has_room():
            self.add(CaughtUp(said.offset))

    def add(self, item: Item, size: int = 0) -> None:
        """Queue an item that is not in the log."""
        self._queue.keep(Entry(item=item, first=0, cursor=None, size=size))

    def has_room(self) -> bool:
        """Return true if another item can be queued; if not, the connection is overrun from now on."""
        self.overrun = self.overrun or self._queue.is_full
        return not self.overrun

    def _arrive(self, item: Item, first: int, last: int, size: int) -> None:
        """Queue an item that continues the log, unless it was received before, or there is no room for it."""
        self._position = last
        received = self.received
        assert received is not None, "a connection that has a position has a cursor"
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
        """Queue a Reset. Items of the log before stay; a Reset that the application has not seen is replaced."""
        self._queue.forget_reset()
        self._unseen_reset = reset
        self.received = Cursor(reset.epoch, reset.low - 1)
        self._queue.keep(Entry(item=reset, first=reset.low, cursor=self.received, size=0))

    # --- acks -------------------------------------------------------------------

    def ack(self, now: float, asked: server_messages.ServerLimits, *, everything: bool = False) -> int | None:
        """Return the offset to ack at ``now``, if an ack is due; with ``everything``, if there is any."""
        taken, ackable = self.taken, 0
        if self._position is not None and taken is not None and taken.epoch == self._epoch and not self._unseen_reset:
            ackable = min(taken.offset, self._position)  # what came on this connection: the server refuses acks beyond
        return self.acks.due(ackable, now, asked, everything=everything)


def _names(resume: Cursor, said: server_messages.Welcome) -> bool:
    """True if the answer to a cursor fits to whether the welcome names the cursor's epoch, or another one."""
    return said.resume == "gap" or (said.resume == "renamed") == (resume.epoch != said.epoch)


def _is_next(position: int | None, renamed_to: str, first: int, last: int) -> bool:
    """Return true if a range continues the log, false if it has been seen. Raises :class:`OutOfOrder`."""
    if position is None or renamed_to:
        raise OutOfOrder(f"expected {'an epoch' if renamed_to else 'a reset'}, got {first} to {last}")
    if first <= last <= position:
        return False
    if first != position + 1 or last < first:
        raise OutOfOrder(f"expected offset {position + 1}, got {first} to {last}")
    return True
