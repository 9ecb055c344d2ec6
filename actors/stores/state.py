"""The state of a store that decides for itself: threads, logs, holds, ids and runs, in memory.

It decides at once, and has no clock: times are arguments. Its owner, a
:class:`~actors.stores.memory.MemoryStore` or a
:class:`~actors.stores.local.LocalStore`, answers for it. With ``effects`` it
notes there what it has decided, for a journal, and shows an event of a log only
when :meth:`StoreState.show` is called; without, at once.

A thread or a log holds its events in structures that the cyclic collector does
not walk. A heap knows which log is oldest, as another does of the holds, so
that a sweep costs as much as it finds and not as much as there is; a sweep
corrects an outdated entry when it comes to the top.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection

import msgspec

from actors.delivery.bounds import Bounds
from actors.delivery.frames import text_frame
from actors.delivery.history import Excerpt, excerpt
from actors.delivery.log import Log
from actors.errors import IdempotencyConflict, NotTheOwner
from actors.events.event import placed
from actors.limits import Limits
from actors.stores.holds import Holds, ThreadHold
from actors.stores.idempotency import IdempotencyWindow
from actors.stores.journal import (
    Effect,
    GivenId,
    GivenIdsExpired,
    Held,
    LogRecord,
    Placed,
    RunClosed,
    RunRecord,
    ThreadForgotten,
    ThreadRecord,
)
from actors.stores.records import FirstAppend, HeldEvent, LogEnd
from actors.stores.run_marks import RunMarks
from actors.stores.store import Append, Bind, Binding, Placement, RunOver, StaleGeneration

REFUSALS = (IdempotencyConflict, NotTheOwner, RunOver, StaleGeneration)
"""The errors with which acts are refused."""


class ThreadState:
    """One thread: its numbering, its owner, and its hold while it has none."""

    # It is its own route. That is sound because a route is named by placements
    # in a log alone, and a thread that has had an owner is kept for ever.
    __slots__ = ("binding", "generation", "hold", "log", "seq", "user_id")

    def __init__(self) -> None:
        self.seq = 0
        self.log: Log | None = None
        """The owner's log, since an event was placed in it for this owner. It may be forgotten meanwhile."""
        self.user_id: str | None = None
        self.generation = FIRST_GENERATION
        self.binding: Binding | None = None
        """The reply to the last change of owner, until :meth:`StoreState.ack_binding`."""
        self.hold: ThreadHold | None = None
        """``None`` while there is an owner, and until the first event."""

    def __repr__(self) -> str:
        return f"<ThreadState seq={self.seq} owner={self.user_id} generation={self.generation} {self.hold!r}>"


FIRST_GENERATION = "0"
"""The generation of a thread that has not changed owner yet."""


class StoreState:
    """Threads, logs, holds, ids and runs.

    For ever it keeps the owner of each thread that has or had one (200 bytes), and of
    each user whose log is empty the log's end (210 bytes).
    """

    def __init__(
        self,
        limits: Limits,
        *,
        wall_clock: Callable[[], float],
        new_epoch: Callable[[], str],
        effects: list[Effect] | None = None,
    ) -> None:
        self.threads: dict[str, ThreadState] = {}
        self.logs: dict[str, Log] = {}
        self.ends: dict[str, LogEnd] = {}
        """The ends of empty logs, by user."""
        self.window = IdempotencyWindow(limits.idempotency_ids, limits.idempotency_seconds)
        self.holds = Holds(limits, self._forget_thread, note=None if effects is None else self._note)
        self.runs = RunMarks()
        self.effects = effects
        """The effects decided since the last commit; ``None`` where there is no journal."""
        self._limits = limits
        self._retained_events, self._retained_bytes = limits.retained_events, limits.retained_bytes
        self._wall_clock = wall_clock
        self.new_epoch = new_epoch
        self._aging_logs: list[tuple[float, str]] = []

    def __repr__(self) -> str:
        threads = f"threads={len(self.threads)} holding={len(self.holds)}"
        return f"<StoreState {threads} logs={len(self.logs)} ids={len(self.window)} runs={len(self.runs)}>"

    # --- append ---------------------------------------------------------------

    def append(self, append: Append, now: float) -> Placement:
        """Take one event, or raise the refusal, and take nothing."""
        thread: ThreadState = append.route or self.threads.get(append.thread_id) or ThreadState()
        first = None
        if append.fingerprint is not None:
            earlier = self.window.get(append.thread_id, append.event_id, now)
            if earlier is not None:
                log = None if earlier.user_id is None else self.logs.get(earlier.user_id)
                return _repeated(append, earlier, thread, log)
            first = FirstAppend(append.fingerprint, thread.seq + 1, now)
        if append.generation is not None and append.generation != thread.generation:
            raise StaleGeneration(append.thread_id, thread.generation, came=append.generation)
        if append.user_id is not None and append.user_id != thread.user_id:
            raise not_the_owner(append.thread_id, append.user_id, thread.user_id)
        if append.run_id is not None:
            self.runs.check(append)
        if first is not None:
            self.window.put(append.thread_id, append.event_id, first)
        if not thread.seq:  # only now, because a repetition leaves nothing
            self.threads[append.thread_id] = thread
        thread.seq = seq = thread.seq + 1
        if append.run_id is not None:
            self._mark(append)
        if (user_id := thread.user_id) is None:
            return self._hold(append, thread, HeldEvent(append.body, seq, now, first, append.event_id))
        log = thread.log
        if log is None or log.forgotten:
            log = thread.log = self.log(user_id)
        offset = self._place(user_id, log, append.thread_id, append.body, seq, now)
        if first is not None:
            first.user_id, first.epoch, first.offset = user_id, log.epoch, offset
            self._give(append.thread_id, append.event_id, first)
        return Placement(seq, thread.generation, user_id, log.epoch, offset, log.low, route=thread)

    def _mark(self, append: Append) -> None:
        mark = self.runs.take(append)
        if self.effects is not None and mark is not None:
            if append.edge in {"closes", "whole"}:
                self.effects.append(RunClosed(mark.run_id))
            else:
                self.effects.append(RunRecord(mark.run_id, mark.thread_id, mark.open, mark.message, mark.user_id))

    def _place(self, user_id: str, log: Log, thread_id: str, body: bytes, seq: int, now: float) -> int:
        """Number an event in a log, which drops its oldest for it."""
        if log.low > log.head:
            heapq.heappush(self._aging_logs, (now, user_id))
        if self.effects is not None:
            text = placed(body, seq, log.head + 1)
            offset = log.append_ahead(text_frame(text), now)
            self.effects.append(Placed(user_id, offset, thread_id, seq, now, text))
            return offset
        offset = log.place(body, seq, now)
        if offset - log.low >= self._retained_events or log.size_bytes > self._retained_bytes:
            log.trim(self._retained_events, self._retained_bytes)
        return offset

    def show(self, log: Log, offset: int) -> None:
        """Show a log's events up to an offset, because they are as safe as they get."""
        log.shown = max(log.shown, offset)
        if offset - log.low >= self._retained_events or log.size_bytes > self._retained_bytes:
            log.trim(self._retained_events, self._retained_bytes)

    def _hold(self, append: Append, thread: ThreadState, event: HeldEvent) -> Placement:
        hold = thread.hold
        if hold is None:
            hold = thread.hold = ThreadHold(append.thread_id, disowned=thread.generation != FIRST_GENERATION)
        if self.effects is not None:
            self.effects.append(Held(append.thread_id, event.seq, event.at, event.body))
            if event.first_append is not None:
                self._give(append.thread_id, append.event_id, event.first_append)
        self.holds.take(hold, event)
        return Placement(event.seq, thread.generation)

    def _give(self, thread_id: str, event_id: str, first: FirstAppend) -> None:
        if self.effects is not None:
            log = first.user_id, first.epoch, first.offset
            self.effects.append(GivenId(thread_id, event_id, first.fingerprint, first.seq, first.at, *log))

    def _note(self, effect: Effect) -> None:
        assert self.effects is not None, "effects are noted where there is a journal"
        self.effects.append(effect)

    def _forget_thread(self, thread_id: str) -> None:
        del self.threads[thread_id]
        if self.effects is not None:
            self.effects.append(ThreadForgotten(thread_id))

    # --- bind -----------------------------------------------------------------

    def bind(self, bind: Bind, now: float) -> Binding:
        """Give a thread an owner, or none, or raise NotTheOwner."""
        thread_id, user_id = bind.thread_id, bind.user_id
        thread = self.threads.get(thread_id) or ThreadState()
        if thread.user_id == user_id:
            return thread.binding or self._bound(thread_id, thread)
        if thread.user_id is not None and not bind.take:
            text = f"thread {thread_id!r}: expected no owner or {user_id!r}, it is owned by {thread.user_id!r}"
            raise NotTheOwner(text)
        if bind.only_new and thread.seq:
            raise NotTheOwner(f"thread {thread_id!r}: expected one without an event, it has had {thread.seq}")
        self.threads[thread_id] = thread
        thread.user_id, thread.log = user_id, None
        thread.generation = f"{int(thread.generation) + 1}"
        hold, thread.hold = thread.hold, None
        if user_id is None or hold is None:
            thread.binding = None
        else:
            log = self.log(user_id)
            first = log.head + 1
            noticed = self._place_hold(hold, user_id, log, now)
            thread.binding = Binding(thread_id, thread.generation, user_id, log.epoch, first, noticed, log.low)
        self._record(thread_id, thread)
        return thread.binding or self._bound(thread_id, thread)

    def restore_log(self, user_id: str, log: Log, now: float) -> None:
        """Take over a log of an earlier life; the bounds of logs are applied."""
        log.expire(now - self._limits.retained_seconds)
        log.trim(self._retained_events, self._retained_bytes)
        if not len(log):
            self.ends[user_id] = LogEnd(log.epoch, log.head, log.lineage)
            return
        self.logs[user_id] = log
        heapq.heappush(self._aging_logs, (log.oldest_at, user_id))

    def ack_binding(self, thread_id: str, generation: str) -> None:
        """Discard the reply to the bind that made this generation."""
        thread = self.threads.get(thread_id)
        if thread is not None and thread.generation == generation and thread.binding is not None:
            thread.binding = None
            self._record(thread_id, thread)

    def _record(self, thread_id: str, thread: ThreadState) -> None:
        if self.effects is not None:
            binding = b"" if thread.binding is None else msgspec.msgpack.encode(thread.binding)
            self.effects.append(ThreadRecord(thread_id, thread.user_id, thread.generation, thread.seq, binding=binding))

    def _bound(self, thread_id: str, thread: ThreadState) -> Binding:
        """Answer a bind that placed no event."""
        log = None if thread.user_id is None else self.logs.get(thread.user_id)
        if log is None:
            return Binding(thread_id, thread.generation, thread.user_id)
        return Binding(thread_id, thread.generation, thread.user_id, log.epoch, log.head + 1, False, log.low)

    def _place_hold(self, hold: ThreadHold, user_id: str, log: Log, now: float) -> bool:
        """Place what a thread holds, behind a notice of what it shed; true if there is one."""
        if hold.shed is not None:
            self._place(user_id, log, hold.thread_id, hold.notice(self._wall_clock()), hold.last_shed, now)
        for event in self.holds.end(hold):
            offset = self._place(user_id, log, hold.thread_id, event.body, event.seq, now)
            if (first := event.first_append) is not None:
                first.user_id, first.epoch, first.offset = user_id, log.epoch, offset
                self._give(hold.thread_id, event.event_id, first)
        return hold.shed is not None

    # --- reading --------------------------------------------------------------

    def owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, or ``None``."""
        thread = self.threads.get(thread_id)
        return None if thread is None else thread.user_id

    def bounds(self, user_id: str) -> Bounds:
        """Return what is shown of a log: epoch, low, head and lineage."""
        log = self.log(user_id)
        return Bounds(log.epoch, min(log.low, log.shown + 1), log.shown, log.lineage)

    def history(self, thread_id: str, after_seq: int, most_events: int, most_bytes: int) -> Excerpt:
        """Read a thread's events in its owner's log; raises NotAtHand while that is not."""
        thread = self.threads.get(thread_id) or ThreadState()
        log = None if thread.user_id is None else self.logs.get(thread.user_id)
        return excerpt(
            () if log is None else log.texts(),
            thread_id,
            after_seq=after_seq,
            settled_seq=thread.seq - (0 if thread.hold is None else len(thread.hold.events or ())),
            head_seq=thread.seq,
            most_events=most_events,
            most_bytes=most_bytes,
        )

    def log(self, user_id: str) -> Log:
        """Find a user's log, or begin one."""
        log = self.logs.get(user_id)
        if log is None:
            ended = self.ends.pop(user_id, None)
            if ended is None:
                log = Log(self.new_epoch())
                if self.effects is not None:
                    self.effects.append(LogRecord(user_id, log.epoch))
            else:
                log = Log(ended.epoch, ended.head, lineage=ended.lineage)
            self.logs[user_id] = log
        return log

    def fork(self, user_id: str, offset: int) -> Bounds:
        """Lose a log's events beyond an offset, and go on in another epoch that continues it up to there."""
        self.log(user_id).fork(self.new_epoch(), offset)
        return self.bounds(user_id)

    # --- age ------------------------------------------------------------------

    def expire(self, now: float) -> tuple[tuple[tuple[str, int], ...], bool]:
        """Drop what became too old; returns the lows that changed, and true if there is more."""
        if self.window.expire(now) and self.effects is not None:
            self.effects.append(GivenIdsExpired(now - self._limits.idempotency_seconds))
        more = self.holds.expire(now - self._limits.unbound_seconds, self._limits.sweep_events)
        lows, more_logs = self._expire_logs(now - self._limits.retained_seconds, self._limits.sweep_events)
        return lows, more or more_logs

    def _expire_logs(self, before: float, most: int) -> tuple[tuple[tuple[str, int], ...], bool]:
        """Trim older events, from logs that have so many together; returns their lows, and true if there are more."""
        lows = []
        while most > 0 and self._aging_logs and self._aging_logs[0][0] < before:
            user_id = self._aging_logs[0][1]
            log = self.logs.get(user_id)
            if log is None:  # it lost all that it had to a fork, and was forgotten
                heapq.heappop(self._aging_logs)
                continue
            most -= len(log) + 1
            log.expire(before)
            lows.append((user_id, log.low))
            if len(log):
                # The oldest of those that are not shown may be too old by now; it is looked at again when it is shown.
                heapq.heapreplace(self._aging_logs, (max(log.oldest_at, before), user_id))
            else:
                heapq.heappop(self._aging_logs)
        return tuple(lows), bool(self._aging_logs) and self._aging_logs[0][0] < before

    def forget(self, user_id: str) -> bool:
        """Forget an empty log, but for its end."""
        log = self.logs.get(user_id)
        if log is None or len(log):
            return log is None
        del self.logs[user_id]
        log.forgotten = True
        self.ends[user_id] = LogEnd(log.epoch, log.head, log.lineage)
        return True


def threads_of(state: StoreState, users: Collection[str], most: int) -> dict[str, tuple[int, list[str]]]:
    """Return the number of threads that each of these users owns, and ``most`` of them: the newest.

    Looks at every thread, at 0.1 µs each: for people who look, and not for events.
    """
    counts, found = dict.fromkeys(users, 0), {user_id: list[str]() for user_id in users}
    for thread_id, thread in reversed(state.threads.items()):
        user_id = thread.user_id
        if user_id is not None and user_id in counts:
            counts[user_id] += 1
            if counts[user_id] <= most:
                found[user_id].append(thread_id)
    return {user_id: (counts[user_id], found[user_id]) for user_id in users}


def not_the_owner(thread_id: str, user_id: str, owner: str | None) -> NotTheOwner:
    """Compose the refusal of what only the owner of a thread may have."""
    text = "it is owned by nobody" if owner is None else f"it is owned by {owner!r}"
    return NotTheOwner(f"thread {thread_id!r}: expected the owner {user_id!r}, {text}")


def _repeated(append: Append, first: FirstAppend, thread: ThreadState, log: Log | None) -> Placement:
    """Answer an append of an id that came before, or raise IdempotencyConflict for one with another body."""
    if first.fingerprint != append.fingerprint:
        text = f"event id {append.event_id!r} of thread {append.thread_id!r}: expected the event first given"
        raise IdempotencyConflict(f"{text} under this id (seq {first.seq}), got one with another body")
    low = log.low if log is not None and log.epoch == first.epoch else 0
    return Placement(first.seq, thread.generation, first.user_id, first.epoch, first.offset, low, "given")
