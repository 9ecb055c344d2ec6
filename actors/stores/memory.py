"""A store in memory: answers at once, forgets at the end of the process.

A thread or a log holds its events in structures that the cyclic collector does
not walk. Two heaps, one for logs and one for holds, know which of them is
oldest, so that a sweep costs as much as it finds and not as much as there is;
a sweep corrects an outdated entry when it comes to the top.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

import msgspec
import trio

from actors.delivery.cursor import Bounds
from actors.delivery.frames import header
from actors.delivery.history import Excerpt, excerpt
from actors.delivery.log import Chunk, Log
from actors.environment import Environment
from actors.errors import IdempotencyConflict, NotTheOwner
from actors.events.event import notice, placed
from actors.limits import Limits
from actors.stages import Cause
from actors.stores.idempotency import FirstAppend, IdempotencyWindow
from actors.stores.store import Append, Binding, Expiry, Placement, Shed, StaleGeneration


class _Held(msgspec.Struct, gc=False, frozen=True):
    """An event of a thread without an owner."""

    body: bytes
    seq: int
    at: float
    first_append: FirstAppend | None


class _Thread:
    """One thread: its numbering, its owner, and what it holds while it has none.

    Invariant: ``held`` is one run of sequence numbers that ends at ``seq``,
    and is empty while there is an owner.
    """

    __slots__ = ("binding", "generation", "held", "held_bytes", "seq", "shed", "shed_first", "user_id")

    def __init__(self) -> None:
        self.seq = 0
        self.user_id: str | None = None
        self.generation = 0
        self.binding: Binding | None = None
        """The reply to the last change of owner, until :meth:`MemoryStore.ack_binding`."""
        self.held: deque[_Held] | None = None
        self.held_bytes = 0
        self.shed: dict[Cause, int] | None = None
        self.shed_first = 0


class _Forgotten(msgspec.Struct, gc=False, frozen=True):
    """The end of an empty log, with which a cursor into it is compared."""

    epoch: str
    head: int


class MemoryStore:
    """The :class:`~actors.stores.store.Store` of a runtime that needs none to outlive it.

    For ever it keeps the owner of each thread that has one (200 bytes), and of
    each user whose log is empty the log's epoch and head (210 bytes).
    """

    outlives_process = False

    def __init__(self, limits: Limits, environment: Environment) -> None:
        self._limits = limits
        self._retained_events, self._retained_bytes = limits.retained_events, limits.retained_bytes
        self._environment = environment
        self._threads: dict[str, _Thread] = {}
        self._logs: dict[str, Log] = {}
        self._forgotten: dict[str, _Forgotten] = {}
        """The ends of empty logs, by user."""
        self._window = IdempotencyWindow(limits.idempotency_ids, limits.idempotency_seconds)
        self._holding = 0
        """Threads that hold something."""
        self._held_bytes = 0
        self._shed: list[Shed] = []
        """Drops of held events, until :meth:`shed` reports them."""
        self._aging_holds: list[tuple[float, str]] = []
        self._aging_logs: list[tuple[float, str]] = []
        self._vacant: dict[str, None] = {}
        """Threads without events and without an owner, oldest first: kept for their numbering and their sheds."""

    def __repr__(self) -> str:
        counts = f"threads={len(self._threads)} holding={self._holding} logs={len(self._logs)} ids={len(self._window)}"
        return f"<MemoryStore {counts}>"

    # --- append ---------------------------------------------------------------

    def append_nowait(self, append: Append, now: float) -> Placement:
        """Take one event; see :meth:`Store.append_nowait`. Never raises WouldBlock."""
        thread = self._threads.get(append.thread_id)
        if thread is None:
            if append.generation:
                raise StaleGeneration(append.thread_id, 0, append.generation)
            thread = self._threads[append.thread_id] = _Thread()
        first = None
        if append.fingerprint is not None:
            earlier = self._window.get(append.thread_id, append.event_id, now)
            if earlier is not None:
                return self._repeat(append, earlier, thread)
            first = FirstAppend(append.fingerprint, thread.seq + 1, now)
        if append.generation is not None and append.generation != thread.generation:
            raise StaleGeneration(append.thread_id, thread.generation, append.generation)
        if first is not None:
            self._window.put(append.thread_id, append.event_id, first)
        thread.seq += 1
        if thread.user_id is None:
            return self._hold(append, thread, _Held(append.body, thread.seq, now, first))
        log = self._log(thread.user_id)
        offset = self._place(thread.user_id, log, append.body, thread.seq, now)
        if first is not None:
            first.user_id, first.epoch, first.offset = thread.user_id, log.epoch, offset
        return Placement(thread.seq, thread.generation, thread.user_id, log.epoch, offset, log.low)

    async def append(self, appends: Sequence[Append], now: float) -> Sequence[Placement | Exception]:
        """Take events in order, after a checkpoint."""
        await trio.lowlevel.checkpoint()
        answers: list[Placement | Exception] = []
        for append in appends:
            try:
                answers.append(self.append_nowait(append, now))
            except (IdempotencyConflict, StaleGeneration) as refusal:
                answers.append(refusal)
        return answers

    def _repeat(self, append: Append, first: FirstAppend, thread: _Thread) -> Placement:
        if first.fingerprint != append.fingerprint:
            text = f"event id {append.event_id!r} of thread {append.thread_id!r}: expected the event first given"
            raise IdempotencyConflict(f"{text} under this id (seq {first.seq}), got one with another body")
        log = None if first.user_id is None else self._logs.get(first.user_id)
        low = log.low if log is not None and log.epoch == first.epoch else 0
        return Placement(first.seq, thread.generation, first.user_id, first.epoch, first.offset, low, duplicate=True)

    def _place(self, user_id: str, log: Log, body: bytes, seq: int, now: float) -> int:
        """Number an event in a log, which drops its oldest for it."""
        if log.low > log.head:
            heapq.heappush(self._aging_logs, (now, user_id))
        text = placed(body, seq, log.head + 1)
        offset = log.append(header(len(text)) + text, now)
        if offset - log.low >= self._retained_events or log.size_bytes > self._retained_bytes:
            log.trim(self._retained_events, self._retained_bytes)
        return offset

    def _hold(self, append: Append, thread: _Thread, held: _Held) -> Placement:
        if thread.held is None:
            thread.held = deque()
            self._holding += 1
            self._vacant.pop(append.thread_id, None)
            heapq.heappush(self._aging_holds, (held.at, append.thread_id))
        thread.held.append(held)
        thread.held_bytes += len(held.body)
        self._held_bytes += len(held.body)
        self._make_room(append.thread_id, thread)
        return Placement(held.seq, thread.generation)

    # --- sheds ----------------------------------------------------------------

    def shed(self) -> Sequence[Shed]:
        """Return the drops of held events since the last call."""
        if not self._shed:
            return ()
        shed, self._shed = self._shed, []
        return shed

    def _make_room(self, thread_id: str, thread: _Thread) -> None:
        """Shed the oldest events of this hold, and of the oldest holds of all, until every bound is kept."""
        limits = self._limits
        while thread.held and (len(thread.held) > limits.unbound_events or thread.held_bytes > limits.unbound_bytes):
            self._shed_oldest(thread_id, thread, Cause.UNBOUND_OVERFLOW)
        while self._held_bytes > limits.unbound_total_bytes:
            self._shed_oldest(*self._oldest_hold(), Cause.UNBOUND_OVERFLOW)
        while self._holding > limits.unbound_total_threads:
            oldest_id, oldest = self._oldest_hold()
            while oldest.held:
                self._shed_oldest(oldest_id, oldest, Cause.UNBOUND_OVERFLOW)

    def _oldest_hold(self) -> tuple[str, _Thread]:
        """Find the thread that has been holding for longest."""
        self._correct_oldest_hold()
        thread_id = self._aging_holds[0][1]
        return thread_id, self._threads[thread_id]

    def _correct_oldest_hold(self) -> None:
        """Correct the top of the heap, because its entry may be of an event that is gone since."""
        while self._aging_holds:
            at, thread_id = self._aging_holds[0]
            thread = self._threads.get(thread_id)
            if thread is None or not thread.held:
                heapq.heappop(self._aging_holds)
            elif thread.held[0].at != at:
                heapq.heapreplace(self._aging_holds, (thread.held[0].at, thread_id))
            else:
                return

    def _shed_oldest(self, thread_id: str, thread: _Thread, cause: Cause) -> None:
        """Shed the oldest held event of a thread, and count it for the owner's notice."""
        assert thread.held, "only a held event can be shed"
        oldest = thread.held.popleft()
        thread.held_bytes -= len(oldest.body)
        self._held_bytes -= len(oldest.body)
        if thread.shed is None:
            thread.shed, thread.shed_first = {}, oldest.seq
        thread.shed[cause] = thread.shed.get(cause, 0) + 1
        if not thread.held:
            self._vacate(thread_id, thread)
        last = self._shed[-1] if self._shed else None
        if last is not None and last.thread_id == thread_id and last.cause is cause:
            self._shed.pop()
        self._shed.append(Shed(thread_id, oldest.seq, cause))

    def _vacate(self, thread_id: str, thread: _Thread) -> None:
        """Note that a thread holds nothing any more; of those that never had an owner, remember so many."""
        thread.held = None
        self._holding -= 1
        if thread.generation:
            return
        self._vacant[thread_id] = None
        if len(self._vacant) > self._limits.vacant_threads:
            forgotten = next(iter(self._vacant))
            del self._vacant[forgotten], self._threads[forgotten]

    # --- bind -----------------------------------------------------------------

    def bind_nowait(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        """Give a thread an owner, or none; see :meth:`Store.bind_nowait`. Never raises WouldBlock."""
        thread = self._threads.get(thread_id) or _Thread()
        if thread.user_id == user_id:
            return thread.binding or self._bound(thread_id, thread)
        if thread.user_id is not None and not take:
            text = f"thread {thread_id!r}: expected no owner or {user_id!r}, it is owned by {thread.user_id!r}"
            raise NotTheOwner(text)
        self._threads[thread_id] = thread
        thread.user_id = user_id
        thread.generation += 1
        self._vacant.pop(thread_id, None)
        if user_id is None or (thread.held is None and thread.shed is None):
            thread.binding = None
            return self._bound(thread_id, thread)
        log = self._log(user_id)
        first = log.head + 1
        noticed = self._place_notice(thread_id, thread, user_id, log, now)
        self._place_held(thread, user_id, log, now)
        thread.binding = Binding(thread_id, thread.generation, user_id, log.epoch, first, noticed, log.low)
        return thread.binding

    def ack_binding(self, thread_id: str, generation: int) -> None:
        """Discard the reply to the bind that made this generation."""
        thread = self._threads.get(thread_id)
        if thread is not None and thread.generation == generation:
            thread.binding = None

    def _bound(self, thread_id: str, thread: _Thread) -> Binding:
        """Answer a bind that placed no event."""
        log = None if thread.user_id is None else self._logs.get(thread.user_id)
        if log is None:
            return Binding(thread_id, thread.generation, thread.user_id)
        return Binding(thread_id, thread.generation, thread.user_id, log.epoch, log.head + 1, False, log.low)

    async def bind(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        """Bind as :meth:`bind_nowait` does, after a checkpoint."""
        await trio.lowlevel.checkpoint()
        return self.bind_nowait(thread_id, user_id, now, take=take)

    def _place_notice(self, thread_id: str, thread: _Thread, user_id: str, log: Log, now: float) -> bool:
        if thread.shed is None:
            return False
        first, count = thread.shed_first, sum(thread.shed.values())
        causes = {cause.value: number for cause, number in thread.shed.items()}
        body = notice(thread_id, first, first + count - 1, causes, self._environment.wall_clock())
        self._place(user_id, log, body, first + count - 1, now)
        thread.shed = None
        return True

    def _place_held(self, thread: _Thread, user_id: str, log: Log, now: float) -> None:
        held, thread.held = thread.held or (), None
        self._holding -= bool(held)
        self._held_bytes -= thread.held_bytes
        thread.held_bytes = 0
        for event in held:
            offset = self._place(user_id, log, event.body, event.seq, now)
            if (first := event.first_append) is not None:
                first.user_id, first.epoch, first.offset = user_id, log.epoch, offset

    # --- reading --------------------------------------------------------------

    def owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, or ``None``."""
        thread = self._threads.get(thread_id)
        return None if thread is None else thread.user_id

    def bounds(self, user_id: str) -> Bounds:
        """Return epoch, low and head of a log."""
        log = self._log(user_id)
        return Bounds(log.epoch, log.low, log.head)

    def read(self, user_id: str, first: int, most_bytes: int) -> Chunk:
        """Read events of a log from an offset on, or from its low."""
        return self._log(user_id).read(first, most_bytes)

    def history(self, thread_id: str, after_seq: int, most_events: int, most_bytes: int) -> Excerpt:
        """Read a thread's events in its owner's log."""
        thread = self._threads.get(thread_id) or _Thread()
        log = None if thread.user_id is None else self._logs.get(thread.user_id)
        texts = () if log is None else log.texts()
        return excerpt(
            texts,
            thread_id,
            after_seq=after_seq,
            settled_seq=thread.seq - len(thread.held or ()),
            head_seq=thread.seq,
            most_events=most_events,
            most_bytes=most_bytes,
        )

    def _log(self, user_id: str) -> Log:
        log = self._logs.get(user_id)
        if log is None:
            ended = self._forgotten.pop(user_id, None)
            log = Log(self._environment.new_id("ep")) if ended is None else Log(ended.epoch, ended.head)
            self._logs[user_id] = log
        return log

    # --- age ------------------------------------------------------------------

    def expire(self, now: float) -> Expiry:
        """Drop held events and records that became too old."""
        self._window.expire(now)
        more = self._expire_holds(now - self._limits.unbound_seconds, self._limits.sweep_events)
        lows, more_logs = self._expire_logs(now - self._limits.retained_seconds, self._limits.sweep_events)
        return Expiry(lows, more or more_logs)

    def _expire_holds(self, before: float, most: int) -> bool:
        """Shed older held events, at most so many; true if there are more."""
        self._correct_oldest_hold()
        while self._aging_holds and self._aging_holds[0][0] < before:
            if not most:
                return True
            most -= 1
            thread_id = self._aging_holds[0][1]
            self._shed_oldest(thread_id, self._threads[thread_id], Cause.UNBOUND_EXPIRED)
            self._correct_oldest_hold()
        return False

    def _expire_logs(self, before: float, most: int) -> tuple[tuple[tuple[str, int], ...], bool]:
        """Trim older events, from logs that have so many together; returns their lows, and true if there are more."""
        lows = []
        while most > 0 and self._aging_logs and self._aging_logs[0][0] < before:
            user_id = self._aging_logs[0][1]
            log = self._logs.get(user_id)
            if log is None:  # it was renewed, and then forgotten
                heapq.heappop(self._aging_logs)
                continue
            most -= len(log) + 1
            log.expire(before)
            lows.append((user_id, log.low))
            if len(log):
                heapq.heapreplace(self._aging_logs, (log.oldest_at, user_id))
            else:
                heapq.heappop(self._aging_logs)
        return tuple(lows), bool(self._aging_logs) and self._aging_logs[0][0] < before

    # --- quarantine and the end -----------------------------------------------

    def release(self, thread_id: str) -> None:
        """Drop every event that a thread holds."""
        thread = self._threads.get(thread_id)
        while thread is not None and thread.held:
            self._shed_oldest(thread_id, thread, Cause.QUARANTINED)

    def forget(self, user_id: str) -> bool:
        """Forget an empty log, but for its end."""
        log = self._logs.get(user_id)
        if log is None or len(log):
            return log is None
        del self._logs[user_id]
        self._forgotten[user_id] = _Forgotten(log.epoch, log.head)
        return True

    def renew(self, user_id: str) -> Bounds:
        """Empty a user's log, under another epoch, in which its numbering starts again."""
        self._forgotten.pop(user_id, None)
        self._logs[user_id] = Log(self._environment.new_id("ep"))
        return self.bounds(user_id)

    async def aclose(self) -> None:
        """Do nothing, because no event outlives this store; a checkpoint."""
        await trio.lowlevel.checkpoint()
