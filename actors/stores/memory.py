"""A store in memory: answers at once, forgets at the end of the process.

A thread or a log holds its events in structures that the cyclic collector does
not walk. A heap knows which log is oldest, as another does of the holds, so
that a sweep costs as much as it finds and not as much as there is; a sweep
corrects an outdated entry when it comes to the top.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import msgspec
import trio

from actors.delivery.cursor import Bounds
from actors.delivery.frames import header
from actors.delivery.history import Excerpt, excerpt
from actors.delivery.lineage import Lineage
from actors.delivery.log import Chunk, Log
from actors.environment import Environment
from actors.errors import IdempotencyConflict, NotTheOwner
from actors.events.event import placed
from actors.limits import Limits
from actors.stages import Cause
from actors.stores.holds import HeldEvent, Holds, ThreadHold
from actors.stores.idempotency import FirstAppend, IdempotencyWindow
from actors.stores.store import Append, Binding, Expiry, Placement, Shed, StaleGeneration


class _Thread:
    """One thread: its numbering, its owner, and its hold while it has none."""

    __slots__ = ("binding", "generation", "hold", "seq", "user_id")

    def __init__(self) -> None:
        self.seq = 0
        self.user_id: str | None = None
        self.generation = 0
        self.binding: Binding | None = None
        """The reply to the last change of owner, until :meth:`MemoryStore.ack_binding`."""
        self.hold: ThreadHold | None = None
        """``None`` while there is an owner, and until the first event."""


class _Forgotten(msgspec.Struct, gc=False, frozen=True):
    """The end of an empty log, with which a cursor into it is compared."""

    epoch: str
    head: int
    lineage: Lineage = ()


class MemoryStore:
    """The :class:`~actors.stores.store.Store` of a runtime that needs none to outlive it.

    For ever it keeps the owner of each thread that has or had one (200 bytes), and of
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
        self._holds = Holds(limits, self._threads.__delitem__)
        self._aging_logs: list[tuple[float, str]] = []

    def __repr__(self) -> str:
        threads = f"threads={len(self._threads)} holding={len(self._holds)}"
        return f"<MemoryStore {threads} logs={len(self._logs)} ids={len(self._window)}>"

    # --- append ---------------------------------------------------------------

    def append_nowait(self, append: Append, now: float) -> Placement:
        """Take one event; see :meth:`Store.append_nowait`. Never raises WouldBlock."""
        thread = self._threads.get(append.thread_id)
        if thread is None:
            if append.generation:
                raise StaleGeneration(append.thread_id, 0, came=append.generation)
            thread = _Thread()  # kept below, because a repetition leaves nothing
        first = None
        if append.fingerprint is not None:
            earlier = self._window.get(append.thread_id, append.event_id, now)
            if earlier is not None:
                return self._repeat(append, earlier, thread)
            first = FirstAppend(append.fingerprint, thread.seq + 1, now)
        if append.generation is not None and append.generation != thread.generation:
            raise StaleGeneration(append.thread_id, thread.generation, came=append.generation)
        if first is not None:
            self._window.put(append.thread_id, append.event_id, first)
        if not thread.seq:
            self._threads[append.thread_id] = thread
        thread.seq += 1
        if thread.user_id is None:
            if thread.hold is None:
                thread.hold = ThreadHold(append.thread_id, disowned=thread.generation > 0)
            self._holds.take(thread.hold, HeldEvent(append.body, thread.seq, now, first))
            return Placement(thread.seq, thread.generation)
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
        hold, thread.hold = thread.hold, None
        if user_id is None or hold is None:
            thread.binding = None
            return self._bound(thread_id, thread)
        log = self._log(user_id)
        first = log.head + 1
        noticed = self._place_hold(hold, user_id, log, now)
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

    def _place_hold(self, hold: ThreadHold, user_id: str, log: Log, now: float) -> bool:
        """Place what a thread holds, behind a notice of what it shed; true if there is one."""
        if hold.shed is not None:
            self._place(user_id, log, hold.notice(self._environment.wall_clock()), hold.last_shed, now)
        for event in self._holds.end(hold):
            offset = self._place(user_id, log, event.body, event.seq, now)
            if (first := event.first_append) is not None:
                first.user_id, first.epoch, first.offset = user_id, log.epoch, offset
        return hold.shed is not None

    # --- reading --------------------------------------------------------------

    def owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, or ``None``."""
        thread = self._threads.get(thread_id)
        return None if thread is None else thread.user_id

    def bounds(self, user_id: str) -> Bounds:
        """Return epoch, low and head of a log."""
        log = self._log(user_id)
        return Bounds(log.epoch, log.low, log.head, log.lineage)

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
            settled_seq=thread.seq - (0 if thread.hold is None else len(thread.hold.events or ())),
            head_seq=thread.seq,
            most_events=most_events,
            most_bytes=most_bytes,
        )

    def _log(self, user_id: str) -> Log:
        log = self._logs.get(user_id)
        if log is None:
            ended = self._forgotten.pop(user_id, None)
            if ended is None:
                log = Log(self._environment.new_id("ep"))
            else:
                log = Log(ended.epoch, ended.head, lineage=ended.lineage)
            self._logs[user_id] = log
        return log

    # --- age ------------------------------------------------------------------

    def expire(self, now: float) -> Expiry:
        """Drop held events and records that became too old."""
        self._window.expire(now)
        more = self._holds.expire(now - self._limits.unbound_seconds, self._limits.sweep_events)
        lows, more_logs = self._expire_logs(now - self._limits.retained_seconds, self._limits.sweep_events)
        return Expiry(lows, more or more_logs)

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

    # --- drops, quarantine and the end ----------------------------------------

    def shed(self) -> Sequence[Shed]:
        """Return the drops of held events since the last call."""
        return self._holds.report()

    def release(self, thread_id: str) -> None:
        """Drop every event that a thread holds."""
        thread = self._threads.get(thread_id)
        if thread is not None and thread.hold is not None:
            self._holds.shed(thread.hold, Cause.QUARANTINED)

    def forget(self, user_id: str) -> bool:
        """Forget an empty log, but for its end."""
        log = self._logs.get(user_id)
        if log is None or len(log):
            return log is None
        del self._logs[user_id]
        self._forgotten[user_id] = _Forgotten(log.epoch, log.head, log.lineage)
        return True

    def renew(self, user_id: str) -> Bounds:
        """Empty a user's log, under another epoch, in which its numbering starts again."""
        self._forgotten.pop(user_id, None)
        self._logs[user_id] = Log(self._environment.new_id("ep"))
        return self.bounds(user_id)

    def fork(self, user_id: str, offset: int) -> Bounds:
        """Lose what a user's log has beyond an offset, and go on under another epoch, as an engine does that has failed
        over."""
        self._log(user_id).fork(self._environment.new_id("ep"), offset)
        return self.bounds(user_id)

    async def aclose(self) -> None:
        """Do nothing, because no event outlives this store; a checkpoint."""
        await trio.lowlevel.checkpoint()
