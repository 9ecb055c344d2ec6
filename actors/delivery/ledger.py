"""What became of every offset of one log: pages of 64 offsets, a bit for each fact.

A receipt needs an answer for its offset even after the log has let go of it,
while nobody may pay for a record per event. So the ledger is cut into *pages*
of 64 offsets. A page is two integers (written, acked) and one for each cause
for which offsets left the log. The ledger keeps the pages of the offsets still
in the log; a receipt keeps its own page. When the log moves on, the ledger
forgets the page and the last receipt in it takes it along: what was settled
stays readable for exactly as long as somebody may ask.

Set operations on 64 offsets are one machine-size integer operation in
CPython, and the counts for the accounts are ``int.bit_count``. Interval sets
answer the same questions, but a receipt cannot outlive them without a registry
of weak references: 0.6 µs for every event, where a bit in a page takes 0.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from actors.receipts import Position, Watchers
from actors.stages import Cause, Stage

PAGE_BITS = 6
PAGE_SIZE = 1 << PAGE_BITS


ALL = (1 << PAGE_SIZE) - 1


class Page(Watchers):
    """64 offsets of one log; the :class:`~actors.receipts.Place` of the events there.

    Invariant: an offset's bit in ``gone`` is set once and for one cause; from
    then on its other facts do not change. An offset may be written, acked and
    gone before it is ``placed``: a device can be faster than the store's answer.
    """

    __slots__ = ("_epoch", "_left", "_user_id", "_written", "acked", "gone", "placed")

    def __init__(self, user_id: str, epoch: str) -> None:
        super().__init__()
        self._user_id = user_id
        self._epoch = epoch
        self.placed = 0
        self.acked = 0
        self.gone = 0
        self._written = 0
        self._left: dict[Cause, int] = {}

    def stage(self, number: int) -> Stage:
        """Read one offset's stage from its bits."""
        bit = 1 << (number & (PAGE_SIZE - 1))
        if self.acked & bit:
            return Stage.ACKED
        if self._written & bit:
            return Stage.UNCONFIRMED if self.gone & bit else Stage.WRITTEN
        return Stage.DROPPED if self.gone & bit else Stage.STORED

    def cause(self, number: int) -> Cause | None:
        """Why an offset left the log before a device confirmed it."""
        if self.stage(number) < Stage.UNCONFIRMED:
            return None
        bit = 1 << (number & (PAGE_SIZE - 1))
        return next(cause for cause, bits in self._left.items() if bits & bit)

    def position(self, number: int) -> Position:
        """The offset with its log."""
        return Position(self._user_id, self._epoch, number)

    def write(self, bits: int) -> None:
        """Mark offsets as handed to a socket; those that left the log stay as they were."""
        self._written |= bits & ~self.gone
        self.notify()

    def ack(self, bits: int) -> int:
        """Mark offsets as confirmed, and so written; returns how many placed ones were not before."""
        fresh = bits & ~self.gone & ~self.acked
        self.acked |= fresh
        self._written |= fresh
        self.notify()
        return (fresh & self.placed).bit_count()

    def leave(self, bits: int, cause: Cause) -> tuple[int, int]:
        """Settle offsets that leave the log; returns how many placed ones are unconfirmed, and dropped."""
        self.gone |= bits
        self._left[cause] = self._left.get(cause, 0) | bits
        self.notify()
        unacked = self.unacked(bits)
        unconfirmed = (unacked & self._written).bit_count()
        return unconfirmed, unacked.bit_count() - unconfirmed

    def unwritten(self, bits: int) -> int:
        """Which of these offsets were placed, and no socket took them."""
        return bits & self.placed & ~self._written

    def unacked(self, bits: int) -> int:
        """Which of these offsets were placed, and no device confirmed them."""
        return bits & self.placed & ~self.acked


class Ledger:
    """The facts about one log, from ``low`` to ``head``, and the totals of what it let go.

    Invariant: the offsets placed here are ``retained + acked + unconfirmed +
    dropped``, where ``retained`` is counted from the pages and the others as
    they happened.
    """

    __slots__ = ("_pages", "acked", "dropped", "epoch", "head", "low", "unconfirmed", "user_id")

    def __init__(self, user_id: str, epoch: str, low: int = 1) -> None:
        self.user_id = user_id
        self.epoch = epoch
        self.low = low
        self.head = low - 1
        self.acked = 0
        self.unconfirmed = 0
        self.dropped = 0
        self._pages: dict[int, Page] = {}
        self.page(low).placed = (1 << (low & (PAGE_SIZE - 1))) - 1

    def page(self, offset: int) -> Page:
        """The page of an offset in the log, made when it is first needed."""
        index = offset >> PAGE_BITS
        page = self._pages.get(index)
        if page is None:
            page = self._pages[index] = Page(self.user_id, self.epoch)
        return page

    def place(self, offset: int) -> Page:
        """Take note of an offset that the store has given; returns its page.

        Answers of one commit may be noted in any order, and after a device has
        confirmed the event.
        """
        page = self._pages.get(offset >> PAGE_BITS) or self.page(offset)
        bit = 1 << (offset & (PAGE_SIZE - 1))
        page.placed |= bit
        if offset > self.head:  # noqa: PLR1730 - max() takes as long as the rest of this method
            self.head = offset
        if (page.acked | page.gone) & bit:
            self._note_late(offset, page)
        return page

    def write(self, first: int, last: int) -> None:
        """Offsets ``first`` to ``last`` were handed to a socket."""
        if first == last >= self.low:
            self.page(first).write(1 << (first & (PAGE_SIZE - 1)))
            return
        for page, bits in self._spans(first, last):
            page.write(bits)

    def ack(self, first: int, last: int) -> int:
        """Offsets ``first`` to ``last`` were confirmed; returns how many of them newly."""
        fresh = sum(page.ack(bits) for page, bits in self._spans(first, last))
        self.acked += fresh
        return fresh

    def trim(self, low: int, cause: Cause) -> int:
        """Everything below ``low`` left the log; returns how many events were dropped unwritten."""
        dropped = 0
        for page, bits in self._spans(self.low, low - 1):
            unconfirmed, lost = page.leave(bits, cause)
            self.unconfirmed += unconfirmed
            dropped += lost
        self.dropped += dropped
        for index in range(self.low >> PAGE_BITS, low >> PAGE_BITS):
            self._forget(index)
        self.low = max(self.low, low)
        return dropped

    @property
    def retained(self) -> int:
        """Events in the log that no device confirmed."""
        return sum(page.unacked(bits).bit_count() for page, bits in self._spans(self.low, self.head))

    def first_unacked(self) -> int:
        """The first offset in the log that no device confirmed, or ``head + 1``."""
        return self._first(Page.unacked)

    def first_unwritten(self) -> int:
        """The first offset in the log that no socket took, or ``head + 1``."""
        return self._first(Page.unwritten)

    def _first(self, missing: Callable[[Page, int], int]) -> int:
        index = self.low >> PAGE_BITS
        for page, bits in self._spans(self.low, self.head):
            holes = missing(page, bits)
            if holes:
                return (index << PAGE_BITS) + (holes & -holes).bit_length() - 1
            index += 1
        return self.head + 1

    def _note_late(self, offset: int, page: Page) -> None:
        stage = page.stage(offset)
        if stage is Stage.ACKED:
            self.acked += 1
        elif stage is Stage.UNCONFIRMED:
            self.unconfirmed += 1
        else:
            self.dropped += 1
        if offset >> PAGE_BITS < self.low >> PAGE_BITS:
            self._forget(offset >> PAGE_BITS)

    def _forget(self, index: int) -> None:
        """Let go of a page below ``low``, unless a late note may still ask for it."""
        page = self._pages.get(index)
        if page is not None and page.placed == ALL:
            del self._pages[index]

    def _spans(self, first: int, last: int) -> Iterator[tuple[Page, int]]:
        """The pages that ``first`` to ``last`` touch, above ``low``, with the bits touched."""
        first = max(first, self.low)
        while first <= last:
            start = first & (PAGE_SIZE - 1)
            size = min(PAGE_SIZE - start, last - first + 1)
            yield self.page(first), ((1 << size) - 1) << start
            first += size
