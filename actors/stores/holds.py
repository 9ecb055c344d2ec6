"""The holds: the events of threads without an owner, bounded together, until a bind takes them.

A hold sheds its oldest events first, each for one cause. A heap knows which
hold is oldest, by an event that may be gone since: an entry that is outdated is
corrected when it comes to the top.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from actors.events.event import notice
from actors.limits import Limits
from actors.stages import Cause
from actors.stores.journal import HoldShed
from actors.stores.records import HeldEvent
from actors.stores.store import Shed


class ThreadHold:
    """One thread's events, and the count of those that it lost, for the notice to its owner.

    Invariant: ``events`` is one run of sequence numbers that ends at the
    thread's last one.
    """

    __slots__ = ("disowned", "events", "first_shed", "shed", "size_bytes", "thread_id")

    def __init__(self, thread_id: str, *, disowned: bool) -> None:
        self.thread_id: str = thread_id
        self.disowned: bool = disowned
        """True if the thread has had an owner, so that its numbering is kept for ever."""
        self.events: deque[HeldEvent] | None = None
        """``None`` when there are none, because an empty deque takes as much memory as three events."""
        self.size_bytes: int = 0
        self.shed: dict[Cause, int] | None = None
        self.first_shed: int = 0

    @property
    def last_shed(self) -> int:
        """The last sequence number that the hold lost."""
        return self.first_shed + sum((self.shed or {}).values()) - 1

    def notice(self, at: float) -> bytes:
        """Compose the notice of the events that the hold lost."""
        causes = {cause.value: number for cause, number in (self.shed or {}).items()}
        return notice(self.thread_id, self.first_shed, self.last_shed, causes, at)

    def __repr__(self) -> str:
        return f"<ThreadHold {self.thread_id} events={len(self.events or ())} bytes={self.size_bytes}>"


class Holds:
    """The holds of all threads, and the bounds that they keep, each and together.

    A thread that never had an owner is forgotten some time after its hold is
    empty; ``forget`` is called with its id.
    """

    def __init__(
        self, limits: Limits, forget: Callable[[str], object], *, note: Callable[[HoldShed], object] | None = None
    ) -> None:
        self._limits = limits
        self._forget = forget
        self._note = note
        """Takes each drop, for a journal, if there is one."""
        self._holding: dict[str, ThreadHold] = {}
        """Those that hold something."""
        self._size_bytes = 0
        self._aging: list[tuple[float, str]] = []
        self._shed: list[Shed] = []
        """Drops, until :meth:`report` tells them."""
        self._vacant: dict[str, None] = {}
        """Threads whose hold is empty and that never had an owner, oldest first: kept for their numbering and their
        sheds."""

    def __len__(self) -> int:
        return len(self._holding)

    def __repr__(self) -> str:
        return f"<Holds holding={len(self._holding)} bytes={self._size_bytes} vacant={len(self._vacant)}>"

    def take(self, hold: ThreadHold, event: HeldEvent) -> None:
        """Hold one more event; shed the oldest ones, of this hold and then of all, until every bound is kept."""
        events, size, limits = hold.events, len(event.body), self._limits
        if events is None:
            events = self._begin(hold, event.at)
        events.append(event)
        hold.size_bytes += size
        self._size_bytes += size
        while events and (len(events) > limits.unbound_events or hold.size_bytes > limits.unbound_bytes):
            self._shed_oldest(hold, Cause.UNBOUND_OVERFLOW)
        while self._size_bytes > limits.unbound_total_bytes and (oldest := self._oldest()):
            self._shed_oldest(oldest, Cause.UNBOUND_OVERFLOW)
        while len(self._holding) > limits.unbound_total_threads and (oldest := self._oldest()):
            self.shed(oldest, Cause.UNBOUND_OVERFLOW)

    def restore(self, hold: ThreadHold, events: Iterable[HeldEvent]) -> None:
        """Take over a hold of an earlier life."""
        for event in events:
            self.take(hold, event)
        if not hold.events and not hold.disowned:
            self._vacant[hold.thread_id] = None

    def _begin(self, hold: ThreadHold, at: float) -> deque[HeldEvent]:
        self._holding[hold.thread_id] = hold
        self._vacant.pop(hold.thread_id, None)
        heapq.heappush(self._aging, (at, hold.thread_id))
        hold.events = deque()
        return hold.events

    def end(self, hold: ThreadHold) -> Iterable[HeldEvent]:
        """End a hold, because its thread has an owner; returns its events."""
        self._vacant.pop(hold.thread_id, None)
        self._holding.pop(hold.thread_id, None)
        self._size_bytes -= hold.size_bytes
        return hold.events or ()

    def shed(self, hold: ThreadHold, cause: Cause) -> None:
        """Drop every event of a hold."""
        while hold.events:
            self._shed_oldest(hold, cause)

    def expire(self, before: float, most: int) -> bool:
        """Drop older events, at most so many; true if there are more."""
        while (oldest := self._oldest()) and oldest.events and oldest.events[0].at < before:
            if not most:
                return True
            most -= 1
            self._shed_oldest(oldest, Cause.UNBOUND_EXPIRED)
        return False

    def report(self) -> Sequence[Shed]:
        """Tell the drops since the last call."""
        if not self._shed:
            return ()
        shed, self._shed = self._shed, []
        return shed

    def _oldest(self) -> ThreadHold | None:
        """Find the hold that has been holding for longest, and correct the top of the heap until it is that one's."""
        while self._aging:
            at, thread_id = self._aging[0]
            hold = self._holding.get(thread_id)
            if hold is None or not hold.events:
                heapq.heappop(self._aging)
            elif hold.events[0].at != at:
                heapq.heapreplace(self._aging, (hold.events[0].at, thread_id))
            else:
                return hold
        return None

    def _shed_oldest(self, hold: ThreadHold, cause: Cause) -> None:
        """Shed the oldest event of a hold, and count it for the owner's notice."""
        assert hold.events, "only a held event can be shed"
        oldest = hold.events.popleft()
        hold.size_bytes -= len(oldest.body)
        self._size_bytes -= len(oldest.body)
        if self._note is not None:
            self._note(HoldShed(hold.thread_id, oldest.seq, cause, 1))
        if hold.shed is None:
            hold.shed, hold.first_shed = {}, oldest.seq
        hold.shed[cause] = hold.shed.get(cause, 0) + 1
        if not hold.events:
            self._vacate(hold)
        last = self._shed[-1] if self._shed else None
        first_seq = oldest.seq
        if last is not None and (last.thread_id, last.cause, last.last_seq + 1) == (hold.thread_id, cause, first_seq):
            first_seq = self._shed.pop().first_seq
        self._shed.append(Shed(hold.thread_id, first_seq, oldest.seq, cause))

    def _vacate(self, hold: ThreadHold) -> None:
        """Note that a hold is empty; of threads that never had an owner, remember so many."""
        hold.events = None
        del self._holding[hold.thread_id]
        if hold.disowned:
            return
        self._vacant[hold.thread_id] = None
        if len(self._vacant) > self._limits.vacant_threads:
            forgotten = next(iter(self._vacant))
            del self._vacant[forgotten]
            self._forget(forgotten)
