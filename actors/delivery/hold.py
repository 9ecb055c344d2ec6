"""A hold: the events of a thread without an owner, from the first one held until the bind.

Events leave a hold in two ways only: from its old end, shed for a cause, or
all at once, when the thread is bound. The rest is therefore always one run of
sequence numbers, and a bind maps it to one run of offsets: two integers tell
every receipt of the hold where its event has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.delivery.ledger import PAGE_BITS, Ledger, Page
from actors.delivery.tally import Tally
from actors.events.delivered import Position
from actors.events.states import Safety, Watchers
from actors.stages import Cause, Promise, Stage


class Hold(Watchers):
    """The :class:`~actors.receipts.EventState` of one unbound period's events, each known by its ``seq``."""

    __slots__ = ("_first_page", "_pages", "_shed", "_shift", "high", "low", "restored_to", "safety", "tally")

    def __init__(self, first_seq: int, *, tally: Tally | None = None) -> None:
        super().__init__()
        self.tally: Tally = Tally() if tally is None else tally
        """The tally in which the accounts count what it holds."""
        self.low: int = first_seq
        """The first ``seq`` still held."""
        self.high: int = first_seq - 1
        """The last ``seq`` held."""
        # These need no bound, because the same cause merges, and the cause can
        # only alternate when the whole hold has expired in between, which
        # takes as long as a hold lasts.
        self._shed: tuple[tuple[int, Cause], ...] = ()
        self.restored_to: int = 0
        """The last ``seq`` that an earlier life of the store held; 0 without one."""
        self.safety: Safety = Safety()
        """The safety of the events while they are held."""
        self._shift: int | None = None
        self._first_page = 0
        self._pages: Sequence[Page] = ()

    @property
    def held(self) -> int:
        """The number of events held."""
        return 0 if self._shift is not None else self.high - self.low + 1

    @property
    def restored(self) -> int:
        """The number of events held that an earlier life left."""
        return 0 if self._shift is not None else max(min(self.high, self.restored_to) - self.low + 1, 0)

    def take(self, seq: int) -> None:
        """Hold one more event, the one after ``high``."""
        assert seq == self.high + 1, f"seq {seq} held after {self.high}"
        self.high = seq

    def shed(self, last_seq: int, cause: Cause) -> int:
        """Drop every event up to ``last_seq`` for a cause; returns their number."""
        count = last_seq - self.low + 1
        if count <= 0:
            return 0
        if self._shed and self._shed[-1][1] is cause:
            self._shed = self._shed[:-1]
        self._shed += ((last_seq, cause),)
        self.low = last_seq + 1
        self.notify()
        return count

    def bind(self, ledger: Ledger, first_offset: int) -> None:
        """Map the held events to a log, where the store placed them: ``low`` at ``first_offset``, and so on.

        The hold keeps their pages, because a receipt may have nothing but the
        hold, and because a ledger lets go of pages in which everything has left.
        """
        pages: dict[int, Page] = {}
        for offset in range(first_offset, first_offset + self.held):
            pages.setdefault(offset >> PAGE_BITS, ledger.add(offset))
        self._shift = first_offset - self.low
        self._first_page = first_offset >> PAGE_BITS
        self._pages = tuple(pages.values())
        self.notify()

    def stage(self, number: int) -> Stage:
        """Return BUFFERED while it is held, DROPPED once shed, and after the bind the stage in the log's page."""
        if number < self.low:
            return Stage.DROPPED
        if self._shift is None:
            return Stage.BUFFERED
        return self._page(number).stage(number + self._shift)

    def cause(self, number: int) -> Cause | None:
        """Return the cause for which an event was shed here, or later left the log."""
        if number < self.low:
            return next(cause for last, cause in self._shed if number <= last)
        if self._shift is None:
            return None
        return self._page(number).cause(number + self._shift)

    def promise(self, number: int) -> Promise:
        """Return the promise of the store for one event, here or where the bind placed it."""
        if number < self.low or self._shift is None:
            return self.safety.of(number)
        return self._page(number).promise(number + self._shift)

    def position(self, number: int) -> Position | None:
        """Return the position at which the bind placed an event."""
        if number < self.low or self._shift is None:
            return None
        return self._page(number).position(number + self._shift)

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Call back on changes of the hold, and of every page that it was bound to."""
        ends = [page.watch(callback) for page in self._pages]
        ends.append(super().watch(callback))
        return lambda: [end() for end in ends]

    def _page(self, seq: int) -> Page:
        assert self._shift is not None
        return self._pages[((seq + self._shift) >> PAGE_BITS) - self._first_page]

    def __repr__(self) -> str:
        bound = "" if self._shift is None else f" bound to offset {self.low + self._shift}"
        return f"<Hold seq={self.low}-{self.high} held={self.held}{bound}>"
