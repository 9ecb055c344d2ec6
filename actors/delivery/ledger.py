"""A ledger: the fate of every offset of one log, in pages of 64 offsets, a bit for each fact.

A receipt needs an answer for its offset even after the log has let go of it,
while a record per event would cost too much. So the ledger is cut into *pages*
of 64 offsets. A page is four integers (placed, written, acked, gone) and one for each cause
for which offsets left the log. The ledger keeps the pages of the offsets still
in the log; a receipt keeps its own page. When the log moves on, the ledger
forgets the page and the last receipt in it takes it along: settled facts stay
readable for exactly as long as a receipt is there to read them.

Set operations on 64 offsets are one machine-size integer operation in
CPython, and the counts for the accounts are ``int.bit_count``. Interval sets
answer the same questions, but a receipt cannot outlive them without a registry
of weak references: 0.6 µs for every event, where a bit in a page takes 0.2.

A log that goes on under another epoch has a ledger for each of them, and each
keeps the pages of its own events: the present one passes on what is said of an
offset below its own first one to the *former* one. So a page may stand twice,
with the bits up to the fork in one and those after it in the other, and what
is said of a new event never touches the receipt of a lost one at its offset.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import chain

from actors.delivery.bounds import Spans
from actors.delivery.lineage import MOST_FORKS
from actors.delivery.tally import Tally
from actors.events.delivered import Position
from actors.events.states import QUEUED, Safety, Watchers
from actors.receipts import Receipt
from actors.stages import Cause, Promise, Stage

PAGE_BITS = 6
PAGE_SIZE = 1 << PAGE_BITS

ALL = (1 << PAGE_SIZE) - 1

_NOTHING = Promise.NOTHING
"""Looked up once, because to look a member up on its class takes a tenth of :meth:`Ledger.place`."""


class Page(Watchers):
    """64 offsets of one log; the :class:`~actors.receipts.EventState` of the events there.

    Invariant: an offset's bit in ``gone`` is set once and for one cause; from
    then on its other facts do not change. An offset may be written, acked and
    gone before it is ``placed``: a device can be faster than the store's answer.
    """

    __slots__ = ("_epoch", "_left", "_probed", "_probes", "_safety", "_user_id", "_written", "acked", "gone", "placed")

    def __init__(self, user_id: str, epoch: str, *, safety: Safety) -> None:
        super().__init__()
        self._safety = safety
        self._user_id = user_id
        self._epoch = epoch
        self.placed: int = 0
        self.acked: int = 0
        self.gone: int = 0
        self._written = 0
        self._left: dict[Cause, int] = {}
        self._probes: dict[int, Callable[[Stage], object]] | None = None
        """The functions that take the stages of single offsets, by their bits; none, most of the time."""
        self._probed = 0
        """Their bits: an offset without one costs a comparison."""

    def stage(self, number: int) -> Stage:
        """Return one offset's stage, from its bits."""
        bit = 1 << (number & (PAGE_SIZE - 1))
        if self.acked & bit:
            return Stage.ACKED
        if self._written & bit:
            return Stage.UNCONFIRMED if self.gone & bit else Stage.WRITTEN
        return Stage.DROPPED if self.gone & bit else Stage.STORED

    def cause(self, number: int) -> Cause | None:
        """Return the cause for which an offset left the log before a device acked it."""
        if self.stage(number) < Stage.UNCONFIRMED:
            return None
        bit = 1 << (number & (PAGE_SIZE - 1))
        return next(cause for cause, bits in self._left.items() if bits & bit)

    def promise(self, number: int) -> Promise:
        """Return the promise of the store for one offset."""
        return self._safety.of(number)

    def position(self, number: int) -> Position:
        """Return the offset with its log."""
        return Position(self._user_id, self._epoch, number)

    def write(self, bits: int) -> None:
        """Mark offsets as written to a socket; those that left the log stay as they were."""
        fresh = bits & ~(self._written | self.gone)
        if not fresh:  # another device's socket took them before
            return
        self._written |= fresh
        if fresh & self._probed:
            self._tell_probes(fresh)
        self.notify()

    def ack(self, bits: int) -> int:
        """Mark offsets as acked, and so written; returns how many placed ones were not before."""
        fresh = bits & ~self.gone & ~self.acked
        self.acked |= fresh
        self._written |= fresh
        if bits & self._probed:
            self._tell_probes(bits)
        self.notify()
        return (fresh & self.placed).bit_count()

    def leave(self, bits: int, cause: Cause) -> tuple[int, int]:
        """Settle offsets that leave the log; returns how many placed ones are unconfirmed, and dropped."""
        self.gone |= bits
        if bits & self._probed:
            self._tell_probes(bits)
        if self._callbacks:
            self.notify()
        if not bits & ~self.acked:  # as nearly always; an acked one has no cause
            return 0, 0
        self._left[cause] = self._left.get(cause, 0) | bits
        unacked = self.unacked(bits)
        unconfirmed = (unacked & self._written).bit_count()
        return unconfirmed, unacked.bit_count() - unconfirmed

    def probe(self, number: int, told: Callable[[Stage], object]) -> None:
        """Have a function take one offset's stage after each write, up to the first ack or the end.

        Unlike a watch it costs what happens to the other offsets a comparison.
        """
        if self._probes is None:
            self._probes = {}
        bit = 1 << (number & (PAGE_SIZE - 1))
        self._probes[bit] = told
        self._probed |= bit

    def _tell_probes(self, bits: int) -> None:
        assert self._probes is not None, "there are probes"
        for bit in [bit for bit in self._probes if bit & bits]:
            stage = self.stage(bit.bit_length() - 1)
            told = self._probes[bit]
            if stage.final:
                del self._probes[bit]
                self._probed &= ~bit
            told(stage)
        if not self._probes:
            self._probes = None

    @property
    def open(self) -> int:
        """The offsets that were placed, are not acked, and have not left."""
        return self.placed & ~self.acked & ~self.gone

    def unwritten(self, bits: int) -> int:
        """Select the offsets that were placed, and that no socket took."""
        return bits & self.placed & ~self._written

    def unacked(self, bits: int) -> int:
        """Select the offsets that were placed, and that no device acked."""
        return bits & self.placed & ~self.acked

    def awaited(self, bits: int) -> int:
        """Select the offsets that no device acked, whether the store's reply for them was noted or not."""
        return bits & ~self.acked & ~self.gone

    def unsent(self, bits: int) -> int:
        """Select the offsets that no socket took, whether the store's reply for them was noted or not."""
        return bits & ~self._written & ~self.gone

    def __repr__(self) -> str:
        counts = f"placed={self.placed.bit_count()} written={self._written.bit_count()} acked={self.acked.bit_count()}"
        return f"<Page {self._user_id} {self._epoch} {counts} gone={self.gone.bit_count()}>"


class Ledger:
    """The facts about one epoch of a log, from ``low`` to ``head``, and the totals of the offsets that left it.

    Invariant: the offsets placed here are ``open + acked + unconfirmed +
    dropped``, where ``open`` is counted from the pages and the others as they
    happened.
    """

    __slots__ = (
        "_base",
        "_floor",
        "_former",
        "_newest",
        "_newest_index",
        "_pages",
        "_trims",
        "_writes",
        "accepted",
        "acked",
        "dropped",
        "end",
        "epoch",
        "head",
        "low",
        "present",
        "safety",
        "tally",
        "unconfirmed",
        "user_id",
    )

    def __init__(
        self, user_id: str, epoch: str, *, tally: Tally | None = None, low: int = 1, former: Ledger | None = None
    ) -> None:
        self.user_id: str = user_id
        self.epoch: str = epoch
        self.tally: Tally = Tally() if tally is None else tally
        """The tally in which it counts."""
        self.safety: Safety = Safety() if former is None else former.safety
        """The safety of its events."""
        self._former = former
        """The ledger of the epoch that this one continues, which :meth:`lose` has cut."""
        self._base: int = low if former is None else former.end + 1
        """The first offset whose event is of this epoch."""
        self.low: int = low if former is None else min(former.low, self._base)
        """The first offset of the log."""
        self._floor = max(self.low, self._base)
        """The first offset of the log whose event is of this epoch."""
        self.head: int = self._base - 1
        self.end: int = sys.maxsize
        """The last offset that the log has kept of this epoch, once another one has followed."""
        self.present: str = epoch
        """Its epoch while it has the log's new events, and then nothing: one comparison tells a thread that kept it
        whether the store placed an event here."""
        self.accepted: int = 0
        """Events accepted in this life that were placed in this epoch at once, and not by a bind."""
        self.acked: int = 0
        self.unconfirmed: int = 0
        self.dropped: int = 0
        self._pages: dict[int, Page] = {}
        self._writes: list[tuple[int, int]] = []
        """Runs of offsets that sockets have begun to take; the outcome is not known yet."""
        self._trims: list[tuple[int, Cause]] = []
        """Offsets and causes: all below the offset left for the cause. One entry per change of cause, of which there
        are few."""
        page = self.page(self._floor)
        page.placed = page.gone
        self._newest, self._newest_index = page, self._floor >> PAGE_BITS
        """The page in which :meth:`place` was last."""

    def __repr__(self) -> str:
        writes = f" writes={len(self._writes)}" if self._writes else ""
        counts = f"low={self.low} head={self.head} acked={self.acked} retained={self.retained}{writes}"
        return f"<Ledger {self.user_id} {self.epoch} {counts}>"

    def page(self, offset: int) -> Page:
        """Find or make the page of an offset of this epoch; in a new one, offsets that are not in the log have left."""
        index = offset >> PAGE_BITS
        page = self._pages.get(index)
        if page is None:
            page = self._pages[index] = Page(self.user_id, self.epoch, safety=self.safety)
            left = min(max(self._floor - (index << PAGE_BITS), 0), PAGE_SIZE)
            kept = min(max(self.end + 1 - (index << PAGE_BITS), 0), PAGE_SIZE)
            page.gone = ((1 << left) - 1 | ALL & ~((1 << kept) - 1)) & ~self._in_writing(page)
        return page

    def of(self, epoch: str) -> Ledger | None:
        """Find the ledger of an epoch among this one and those before it, ``None`` if this log does not continue it."""
        ledger: Ledger | None = self
        while ledger is not None and ledger.epoch != epoch:
            ledger = ledger._former
        return ledger

    def place(self, receipt: Receipt, epoch: str, offset: int, promise: Promise) -> bool:
        """Note that the store placed an accepted event at the next offset, as nearly always; false, and nothing noted,
        for any other, which :meth:`~actors.delivery.accounts.Accounts.note_placed` notes."""
        if epoch != self.present or offset != self.head + 1 or offset < self._floor:
            return False
        if offset >> PAGE_BITS != self._newest_index:
            self._newest, self._newest_index = self.page(offset), offset >> PAGE_BITS
        page, bit = self._newest, 1 << (offset & (PAGE_SIZE - 1))
        if page.acked >= bit or page.gone >= bit:  # a device was faster with this one, or with a later one
            return False
        page.placed |= bit
        self.head = offset
        self.accepted += 1
        tally = self.tally
        tally.accepted += 1
        tally.placed += 1
        if promise is not _NOTHING or self.safety.promises:
            self.safety.note(offset, promise)
        if receipt.state is QUEUED:
            receipt.state, receipt.number = page, offset
        else:
            receipt.move(page, offset)
        return True

    def add(self, offset: int) -> Page:
        """Add an offset at which the store placed an event; returns its page.

        Replies of one commit may be noted in any order, and after a device has
        acked the event.
        """
        page = self._pages.get(offset >> PAGE_BITS) or self.page(offset)
        bit = 1 << (offset & (PAGE_SIZE - 1))
        page.placed |= bit
        if offset > self.head:  # noqa: PLR1730 - max() takes as long as the rest of this method
            self.head = offset
        if offset < self._floor or (page.acked | page.gone) & bit:
            return self._note_late(offset, page, bit)
        self.tally.placed += 1
        return page

    def knows(self, offset: int) -> bool:
        """True if an offset was placed here, or has left and was forgotten."""
        if offset < self._base and self._former is not None:
            return self._former.knows(offset)
        page = self._pages.get(offset >> PAGE_BITS)
        return offset < self._floor if page is None else bool(page.placed & 1 << (offset & (PAGE_SIZE - 1)))

    def write(self, first: int, last: int) -> None:
        """Note that offsets ``first`` to ``last`` were written to a socket."""
        if first == last >= self._floor:
            self.page(first).write(1 << (first & (PAGE_SIZE - 1)))
            return
        if first < self._base and self._former is not None:
            self._former.write(first, min(last, self._base - 1))
        for page, bits in self.spans(first, last):
            page.write(bits)

    def ack(self, first: int, last: int) -> int:
        """Note that a device acked offsets ``first`` to ``last``; returns how many of them were not acked before."""
        before = 0
        if first < self._base and self._former is not None:
            before, first = self._former.ack(first, min(last, self._base - 1)), self._base
        leaving = _present(self._pages, first, min(last, self._floor - 1))
        fresh = sum(page.ack(bits) for page, bits in chain(leaving, self.spans(first, last)))
        self.acked += fresh
        self.tally.acked += fresh
        return before + fresh

    def trim(self, low: int, cause: Cause) -> int:
        """Note that all below ``low`` left the log; returns how many events were dropped unwritten."""
        if low <= self.low:
            return 0
        dropped = 0 if self._former is None else self._former.trim(min(low, self._base), cause)
        first, self.low = self._floor, low
        if low <= first:
            return dropped
        self._floor = low
        if self._trims and self._trims[-1][1] is cause:
            self._trims[-1] = low, cause
        else:
            self._trims.append((low, cause))
        return dropped + self._leave(first, low - 1, cause)

    def lose(self, offset: int) -> int:
        """Note that this epoch has ended, and that the log lost all beyond an offset; returns how many events were
        dropped unwritten.

        What is at most at the offset stays as it is, for the ledger that has this one as its former.
        """
        dropped = 0 if self._former is None else self._former.lose(min(offset, self._former.end))
        self.end = self.head = offset
        _cut(self)
        last = (max(self._pages, default=0) + 1 << PAGE_BITS) - 1
        return dropped + self._leave(max(offset + 1, self._base), last, Cause.LOST)

    def begin_write(self, first: int, last: int) -> None:
        """Note that a socket has begun to take offsets ``first`` to ``last``, which are neither written nor unwritten
        yet. Should they leave the log meanwhile, :meth:`finish_write` settles them."""
        if first < self._base and self._former is not None:
            self._former.begin_write(first, min(last, self._base - 1))
        if last >= self._base:
            self._writes.append((max(first, self._base), last))

    def finish_write(self, first: int, last: int, *, written: bool) -> None:
        """Note that a write is over: the socket took everything, or is gone."""
        if first < self._base and self._former is not None:
            self._former.finish_write(first, min(last, self._base - 1), written=written)
        first = max(first, self._base)
        if last < first:
            return
        self._writes.remove((first, last))
        if written:
            for page, bits in _present(self._pages, first, last):
                page.write(bits)
        if first < self._floor:
            self._leave(first, min(last, self._floor - 1), _cause_of(self, first))
        if last > self.end:
            self._leave(max(first, self.end + 1), last, Cause.LOST)

    @property
    def open(self) -> int:
        """Events of this epoch that are placed, not acked and not settled: in the log, or in an unfinished write."""
        return sum(page.open.bit_count() for page in self._pages.values())

    @property
    def retained(self) -> int:
        """Open events of the log, under its former epochs as well."""
        return self.open + (0 if self._former is None else self._former.retained)

    @property
    def stored(self) -> int:
        """Retained events that no socket took."""
        own = sum(page.unwritten(page.open).bit_count() for page in self._pages.values())
        return own + (0 if self._former is None else self._former.stored)

    def first_unacked(self) -> int:
        """Return the first offset in the log that no device acked, or ``head + 1``."""
        return self._first(Page.awaited)

    def first_unwritten(self) -> int:
        """Return the first offset in the log that no socket took, or ``head + 1``."""
        return self._first(Page.unsent)

    def _first(self, missing: Callable[[Page, int], int]) -> int:
        if self._former is not None and self.low < self._base:
            before = self._former._first(missing)
            if before < self._base:
                return before
        index = self._floor >> PAGE_BITS
        for page, bits in self.spans(self._floor, self.head):
            holes = missing(page, bits)
            if holes:
                return (index << PAGE_BITS) + (holes & -holes).bit_length() - 1
            index += 1
        return self.head + 1

    def _leave(self, first: int, last: int, cause: Cause) -> int:
        """Settle offsets that are not in the log any more, but for unfinished writes; returns how many were dropped
        unwritten."""
        dropped = 0
        if first == last and not self._writes:  # as for each event of a log that is full: a third of the time
            page = self._pages.get(first >> PAGE_BITS)
            if page is None:
                return 0
            unconfirmed, dropped = page.leave((1 << (first & (PAGE_SIZE - 1))) & ~page.gone, cause)
            if unconfirmed or dropped:
                _settle(self, unconfirmed, dropped)
            if page.gone == ALL:
                self._forget(first >> PAGE_BITS)
            return dropped
        for page, bits in _present(self._pages, first, last):
            unconfirmed, lost = page.leave(bits & ~self._in_writing(page) & ~page.gone, cause)
            _settle(self, unconfirmed, lost)
            dropped += lost
        for index in range(first >> PAGE_BITS, (last >> PAGE_BITS) + 1):
            self._forget(index)
        return dropped

    def _in_writing(self, page: Page) -> int:
        """Select the offsets of a page that an unfinished write has begun to send."""
        writing = 0
        for first, last in self._writes:
            for other, bits in _present(self._pages, first, last):
                writing |= bits if other is page else 0
        return writing

    def _note_late(self, offset: int, page: Page, bit: int) -> Page:
        """Count an event that was acked, or left the log, before the store's reply came; returns its page."""
        if offset < self._base and self._former is not None:
            return self._former.add(offset)
        self.tally.placed += 1
        self.head = min(self.head, self.end)
        if not self._floor <= offset <= self.end and not self._in_writing(page) & bit:
            page.leave(bit, _cause_of(self, offset))
        stage = page.stage(offset)
        self.acked += stage is Stage.ACKED
        self.tally.acked += stage is Stage.ACKED
        _settle(self, stage is Stage.UNCONFIRMED, stage is Stage.DROPPED)
        if offset >> PAGE_BITS < self._floor >> PAGE_BITS:
            self._forget(offset >> PAGE_BITS)
        return page

    def _forget(self, index: int) -> None:
        """Let go of a page of which nothing is in the log, unless a late reply or an unfinished write may still ask
        for it."""
        page = self._pages.get(index)
        if page is not None and page.placed == ALL and page.gone == ALL:
            del self._pages[index]

    def spans(self, first: int, last: int) -> Iterator[tuple[Page, int]]:
        """Yield the pages of this epoch that ``first`` to ``last`` touch in the log, with the bits touched."""
        first = max(first, self._floor)
        while first <= last:
            start = first & (PAGE_SIZE - 1)
            size = min(PAGE_SIZE - start, last - first + 1)
            yield self.page(first), ((1 << size) - 1) << start
            first += size


def _settle(ledger: Ledger, unconfirmed: int, dropped: int) -> None:
    """Count events that no device will ack any more."""
    ledger.unconfirmed += unconfirmed
    ledger.dropped += dropped
    ledger.tally.unconfirmed += unconfirmed
    ledger.tally.dropped += dropped


def _present(pages: dict[int, Page], first: int, last: int) -> Iterator[tuple[Page, int]]:
    """Yield the pages that ``first`` to ``last`` touch and that are still here, with the bits touched."""
    for index in range(first >> PAGE_BITS, (last >> PAGE_BITS) + 1):
        page = pages.get(index)
        if page is not None:
            start = max(first - (index << PAGE_BITS), 0)
            end = min(last + 1 - (index << PAGE_BITS), PAGE_SIZE)
            if start < end:
                yield page, (1 << end) - (1 << start)


def _cause_of(ledger: Ledger, offset: int) -> Cause:
    """Find the cause for which an offset left."""
    if offset > ledger.end:
        return Cause.LOST
    # An offset that left before this ledger began left for its age, or for its number.
    return next((cause for low, cause in ledger._trims if offset < low), Cause.RETENTION)


def _cut(ledger: Ledger) -> None:
    """Forget the oldest of more former ledgers than a log has forks: no device can come from there."""
    for _ in range(MOST_FORKS):
        if ledger._former is None:
            return
        ledger = ledger._former
    ledger._former = None


def count_in(ledger: Ledger, tally: Tally) -> None:
    """Have a ledger count in a tally from now on, and those of the epochs before it."""
    one: Ledger | None = ledger
    while one is not None:
        one.tally = tally
        one = one._former


def restore(ledger: Ledger, first: int, last: int, acked: Spans, written: int) -> None:
    """Add the offsets at which an earlier life of the store placed events, and what became of them there."""
    for page, bits in ledger.spans(first, last):
        ledger.tally.placed += (bits & ~page.placed).bit_count()
        page.placed |= bits
    ledger.head = max(ledger.head, last)
    if written >= first:
        ledger.write(first, min(written, last))
    for begin, end in acked:
        ledger.ack(max(begin, first), min(end, last))


def acked_spans(ledger: Ledger) -> Spans:
    """Return the offsets in the log that devices acked, whether the store's reply for them was noted or not."""
    found: list[tuple[int, int]] = []
    base = ledger._floor & ~(PAGE_SIZE - 1)
    for page, bits in ledger.spans(ledger._floor, ledger.head):
        for first, last in _runs(page.acked & bits & ~page.gone, base):
            joined = found and found[-1][1] == first - 1
            found.append((found.pop()[0] if joined else first, last))
        base += PAGE_SIZE
    return tuple(found)


def open_spans(ledger: Ledger) -> Iterator[tuple[int, int, bool]]:
    """Yield the runs of offsets in the log that no device has acked, ascending, each with true if sockets took it.

    A run ends with its page at the latest.
    """
    if ledger._former is not None and ledger.low < ledger._base:
        yield from open_spans(ledger._former)
    base = ledger._floor & ~(PAGE_SIZE - 1)
    for page, bits in ledger.spans(ledger._floor, ledger.head):
        unwritten = page.unwritten(page.open & bits)
        found = [(first, last, False) for first, last in _runs(unwritten, base)]
        found += [(first, last, True) for first, last in _runs(page.open & bits & ~unwritten, base)]
        yield from sorted(found)
        base += PAGE_SIZE


def damage(ledger: Ledger, first: int, last: int) -> int:
    """Note that offsets in the log cannot be read any more; returns how many events were dropped unwritten."""
    return ledger._leave(max(first, ledger.low), last, Cause.DAMAGED)


def _runs(bits: int, base: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of set bits, as the offsets of their first and last ones."""
    while bits:
        first = (bits & -bits).bit_length() - 1
        size = (~(bits >> first) & ((bits >> first) + 1)).bit_length() - 1
        yield base + first, base + first + size - 1
        bits &= ~(((1 << size) - 1) << first)
