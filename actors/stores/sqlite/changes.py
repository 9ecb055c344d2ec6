"""A batch of effects as rows to write, and the same for the state once they were written.

A batch is planned against the state without touching it: of what it changes
there is a copy in the plan. So a transaction that was rolled back leaves
nothing to undo.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from actors.delivery.lineage import shared
from actors.stores.journal import (
    Effect,
    GivenId,
    GivenIdsExpired,
    Held,
    HoldShed,
    Letter,
    LogRecord,
    Marks,
    Placed,
    RunClosed,
    RunRecord,
    ThreadForgotten,
    ThreadRecord,
)
from actors.stores.sqlite.directory import Directory, Run, follow
from actors.stores.sqlite.rows import Column, event_crc, spans_text
from actors.stores.sqlite.state import Life, LogEntry, Segment, State, ThreadEntry, rows_with_crc

LETTERS = 1_000
"""Dead letters kept: as many as the runtime keeps in memory. More are a flood, which its newest ones explain."""


class Plan:
    """The rows of one batch. ``inserted`` and ``deleted`` are by table; :meth:`apply` brings the state up to them."""

    def __init__(self, state: State, life: Life) -> None:
        self._state = state
        self.life: Life = life
        self.next: Counter[str] = Counter(state.next)
        self.inserted: defaultdict[str, list[tuple[Column, ...]]] = defaultdict(list)
        self.deleted: defaultdict[str, list[int]] = defaultdict(list)
        self.events: list[tuple[Column, ...]] = []
        self.new_segment: bool = False
        self.segment = state.open_segment
        """A copy of the open segment, or the new one."""
        if self.segment is not None:
            self.segment = msgspec.structs.replace(self.segment)
        self._placed_runs: dict[int, list[Run]] = {}
        """The part of the events that the directory needs, by the number of the log."""
        self._logs: dict[str, LogEntry] = {}
        self._threads: dict[str, ThreadEntry | None] = {}
        self._held: dict[int, deque[tuple[int, int]]] = {}
        self._runs: dict[str, int | None] = {}
        self._given: list[tuple[float, int]] = []
        self._ended: list[LogEntry] = []
        """Logs in the place of which another one began."""
        self._expired_ids = 0
        self.expired_through: int | None = None
        """The rowid up to which rows of *given* have expired, if one has."""
        self._written_logs: dict[str, None] = {}
        self._written_threads: dict[str, None] = {}

    def take(self, effects: Sequence[Effect]) -> None:
        """Plan the effects of a batch; raises ValueError for those that do not follow from what was before."""
        for effect in effects:
            _STEPS[type(effect)](self, effect)
        self.inserted["log"] = [self._logs[user_id].row() for user_id in self._written_logs]
        written = [self._threads.get(name) for name in self._written_threads]
        self.inserted["thread"] = [entry.row() for entry in written if entry is not None]
        for table in ("mark", "shed", "held", "given", "run", "letter"):
            if rows := self.inserted[table]:
                self.inserted[table] = rows_with_crc(rows)

    @property
    def only_shrinks(self) -> bool:
        """True if what the batch writes is little and makes room: it may have the room of the reserve."""
        return not self.events and not any(self.inserted[table] for table in ("held", "given", "run"))

    def apply(self) -> None:
        """Bring the state up to the batch, which was committed."""
        state = self._state
        if self.segment is not None:
            self.segment.live += sum(len(run.places) for runs in self._placed_runs.values() for run in runs)
            state.segments[self.segment.n] = self.segment
        for log in self._ended:
            state.drop_log(state.logs.get(log.user_id, log))
        self._apply_events()
        for user_id, log in self._logs.items():
            before = state.logs.get(user_id)
            state.logs[user_id] = log
            state.trim(log, was=before.low if before is not None and before.n == log.n else 1)
        self._apply_threads()
        state.changed_logs.update(self._logs)
        state.changed_logs.difference_update(self._written_logs)
        state.given.extend(self._given)
        for _ in range(self._expired_ids):
            state.given.popleft()
        for run_id, n in self._runs.items():
            state.runs.pop(run_id, None)
            if n is not None:
                state.runs[run_id] = n
        state.next = self.next
        state.life = self.life
        state.loose += len(self.inserted["mark"]) + len(self.inserted["shed"])

    def _apply_events(self) -> None:
        state = self._state
        for log, runs in self._placed_runs.items():
            directory = state.directories.get(log)
            if directory is None:
                directory = state.directories[log] = Directory()
            for run in runs:
                directory.extend(run)
            state.open_logs.add(log)

    def _apply_threads(self) -> None:
        state = self._state
        for name, thread in self._threads.items():
            if thread is None:
                state.threads.pop(name, None)
                state.changed_threads.discard(name)
            else:
                state.threads[name] = thread
                state.changed_threads.add(name)
        state.changed_threads.difference_update(self._written_threads)
        for n, held in self._held.items():
            if held:
                state.held[n] = held
            else:
                state.held.pop(n, None)

    # --- logs -----------------------------------------------------------------

    def _log(self, user_id: str) -> LogEntry:
        log = self._logs.get(user_id)
        if log is None:
            before = self._state.logs.get(user_id)
            if before is None:
                raise ValueError(f"log of {user_id!r}: expected its LogRecord before anything else of it")
            log = self._logs[user_id] = msgspec.structs.replace(before)
        return log

    def _log_record(self, effect: LogRecord) -> None:
        """Begin a log, or go on with it, if its lineage has the epoch in which it was."""
        self._written_logs[effect.user_id] = None
        if effect.user_id in self._logs or effect.user_id in self._state.logs:
            log = self._log(effect.user_id)
            kept = log.head if effect.epoch == log.epoch else shared(effect.lineage, log.epoch)
            if kept is not None and 0 < kept < log.head:
                where = f"log of {effect.user_id!r}: epoch {effect.epoch!r}"
                raise ValueError(f"{where}: expected to continue {log.epoch!r} at its head, {log.head}, got {kept}")
            if kept is not None and kept >= log.head:
                log.epoch, log.lineage = effect.epoch, effect.lineage
                return
            self._ended.append(log)
            self.deleted["log"].append(log.n)
            self._placed_runs.pop(log.n, None)
        self._logs[effect.user_id] = LogEntry(self._number("log"), effect.user_id, effect.epoch, effect.lineage)

    def _placed(self, effect: Placed) -> None:
        # Each event of a commit passes here, in a thread that competes with the loop; so nothing is looked up twice.
        offset, seq, at, text = effect.offset, effect.seq, effect.at, effect.text
        log = self._logs.get(effect.user_id) or self._log(effect.user_id)
        thread = self._threads.get(effect.thread_id) or self._thread(effect.thread_id)
        if offset != log.head + 1:
            _check_gap(log, offset)
        log.head = offset
        if seq > thread.seq:  # noqa: PLR1730 - max() takes as long as the rest of the look-ups
            thread.seq = seq
        if at > self.life.now:
            self.life = _later(self.life, at)
        n, segment = self._number("event"), self.segment
        if segment is None:
            segment = self._begin_segment(n, at)
        size = len(text)
        segment.rows += 1
        segment.size_bytes += size
        self.events.append(
            (n, log.n, offset, thread.n, seq, at, text, event_crc(log.n, offset, thread.n, seq, at, text))
        )
        runs = self._placed_runs.get(log.n)
        if runs is None:
            runs = self._placed_runs[log.n] = []
        follow(runs, offset, segment.n, place=n - segment.first, at=at, size=size)

    def _begin_segment(self, n: int, at: float) -> Segment:
        self.segment, self.new_segment = Segment(self._number("segment"), n, at), True
        return self.segment

    def _marks(self, effect: Marks) -> None:
        log = self._log(effect.user_id)
        log.low, log.acked, log.written = max(log.low, effect.low), effect.acked, effect.written
        self.inserted["mark"].append((self._number("mark"), log.n, log.low, spans_text(log.acked), log.written))

    # --- threads --------------------------------------------------------------

    def _thread(self, name: str) -> ThreadEntry:
        thread = self._threads.get(name)
        if thread is None:
            before = self._state.threads.get(name) if name not in self._threads else None
            if before is None:
                thread = ThreadEntry(self._number("thread"), name)
                self._written_threads[name] = None
            else:
                thread = msgspec.structs.replace(before)
            self._threads[name] = thread
        return thread

    def _holding(self, n: int) -> deque[tuple[int, int]]:
        held = self._held.get(n)
        if held is None:
            held = self._held[n] = self._state.held.get(n, deque()).copy()
        return held

    def _thread_record(self, effect: ThreadRecord) -> None:
        thread = self._thread(effect.thread_id)
        self._written_threads[effect.thread_id] = None
        thread.owner, thread.generation, thread.seq = effect.user_id, effect.generation, effect.seq
        thread.shed, thread.shed_n, thread.binding = effect.shed, self.next["shed"] - 1, effect.binding
        if effect.user_id is not None:
            self._let_go(thread.n)

    def _let_go(self, n: int) -> None:
        held = self._holding(n)
        self.deleted["held"] += [row for _, row in held]
        held.clear()

    def _held_event(self, effect: Held) -> None:
        thread = self._thread(effect.thread_id)
        thread.seq = max(thread.seq, effect.seq)
        self.life = _later(self.life, effect.at)
        n = self._number("held")
        self._holding(thread.n).append((effect.seq, n))
        self.inserted["held"].append((n, thread.n, effect.seq, effect.at, effect.body))

    def _hold_shed(self, effect: HoldShed) -> None:
        thread = self._thread(effect.thread_id)
        held = self._holding(thread.n)
        while held and held[0][0] <= effect.last_seq:
            self.deleted["held"].append(held.popleft()[1])
        thread.seq = max(thread.seq, effect.last_seq)
        thread.add_shed(effect.cause, effect.count)
        thread.shed_n = n = self._number("shed")
        self.inserted["shed"].append((n, thread.n, effect.last_seq, effect.cause.value, effect.count))

    def _thread_forgotten(self, effect: ThreadForgotten) -> None:
        if effect.thread_id in self._threads or effect.thread_id in self._state.threads:
            n = self._thread(effect.thread_id).n
            self._let_go(n)
            self.deleted["thread"].append(n)
            self._threads[effect.thread_id] = None
            self._written_threads.pop(effect.thread_id, None)

    # --- ids, runs, dead letters -----------------------------------------------

    def _given_id(self, effect: GivenId) -> None:
        self.life = _later(self.life, effect.at)
        n = self._number("given")
        self._given.append((effect.at, n))
        self.inserted["given"].append((
            n, effect.thread_id, effect.event_id, effect.fingerprint, effect.seq, effect.at, effect.user_id,
            effect.epoch, effect.offset,
        ))  # fmt: skip

    def _given_expired(self, effect: GivenIdsExpired) -> None:
        self.life = msgspec.structs.replace(self.life, expired=max(self.life.expired, effect.before))
        given = self._state.given
        while self._expired_ids < len(given) and given[self._expired_ids][0] < effect.before:
            self.expired_through = given[self._expired_ids][1]
            self._expired_ids += 1

    def _run_record(self, effect: RunRecord) -> None:
        known = self._runs[effect.run_id] if effect.run_id in self._runs else self._state.runs.get(effect.run_id)
        n = known or self._number("run")
        self._runs[effect.run_id] = n
        row = (n, effect.run_id, effect.thread_id, int(effect.open), effect.message, effect.user_id)
        self.inserted["run"].append(row)

    def _run_closed(self, effect: RunClosed) -> None:
        known = self._runs[effect.run_id] if effect.run_id in self._runs else self._state.runs.get(effect.run_id)
        if known is not None:
            self._runs[effect.run_id] = None
            self.deleted["run"].append(known)

    def _letter(self, effect: Letter) -> None:
        self.life = _later(self.life, effect.at)
        self.inserted["letter"].append((
            self._number("letter"), effect.cause.value, effect.count, effect.at, effect.user_id, effect.thread_id,
            effect.event_id, effect.first, effect.last,
        ))  # fmt: skip

    # --- small ------------------------------------------------------------------

    def _number(self, table: str) -> int:
        n = self.next[table]
        self.next[table] = n + 1
        return n


def _later(life: Life, at: float) -> Life:
    return msgspec.structs.replace(life, now=at) if at > life.now else life


def _check_gap(log: LogEntry, offset: int) -> None:
    """Raise ValueError unless a log begins at an offset, which may be any."""
    if log.head or log.low > 1:
        raise ValueError(f"log of {log.user_id!r}: expected offset {log.head + 1}, got {offset}")
    log.low = offset


_STEPS: dict[type[Any], Callable[[Plan, Any], None]] = {
    LogRecord: Plan._log_record,
    Placed: Plan._placed,
    Marks: Plan._marks,
    ThreadRecord: Plan._thread_record,
    Held: Plan._held_event,
    HoldShed: Plan._hold_shed,
    ThreadForgotten: Plan._thread_forgotten,
    GivenId: Plan._given_id,
    GivenIdsExpired: Plan._given_expired,
    RunRecord: Plan._run_record,
    RunClosed: Plan._run_closed,
    Letter: Plan._letter,
}
