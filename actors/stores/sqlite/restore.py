"""A start: the state read from a journal's file, and no event but those of the segment that is open."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from typing import Any

from actors.errors import StoreError
from actors.limits import Limits
from actors.stages import Cause
from actors.stores.journal import GivenId, Held, Restored, RestoredLog, RestoredThread, RunRecord, ThreadRecord
from actors.stores.sqlite import schema
from actors.stores.sqlite.directory import Directory, Run, follow
from actors.stores.sqlite.rows import event_crc, lineage_of, row_crc, shed_of, spans_of, unpack, unpack_places
from actors.stores.sqlite.state import Life, LogEntry, Segment, State, ThreadEntry

_AT_ONCE = 256
"""Rows fetched at once: each call lets another thread run, each row fetched is memory."""


def read_state(db: sqlite3.Connection) -> State:
    """Read the state, within a :func:`~actors.stores.sqlite.connections.snapshot`.

    Raises StoreError that names a damaged row, and :class:`sqlite3.Error`.
    """
    return Reader(db).state()


class Damaged(StoreError):
    """A row is not what was written."""

    def __init__(self, table: str, n: int, *, why: str) -> None:
        super().__init__(f"expected row {n} of table {table} as it was written, {why}")


def checked_rows(db: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Read the rows of a table without their checksums, oldest first; raises :class:`Damaged`."""
    for row in fetched(db.execute(schema.selection(table, schema.COLUMNS[table]))):
        covered = row[:-1] if table in schema.NAMED_BY_ROWID else row[1:-1]
        if row_crc(covered) != row[-1]:
            raise Damaged(table, row[0], why="its checksum is another")
        yield row[:-1]


def fetched(cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    """Return the rows of a cursor, some at once."""
    while rows := cursor.fetchmany(_AT_ONCE):
        yield from rows


class Reader:
    """Reads one state from one connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._logs: dict[int, LogEntry] = {}
        self._threads: dict[int, ThreadEntry] = {}
        self._state = State(secret=b"", life=Life(0, 1, 0, 0.0))

    def state(self) -> State:
        """Read it."""
        self._read()
        return self._state

    def _read(self) -> None:
        for _, secret in self._rows("meta"):
            self._state.secret = secret
        if not self._state.secret:
            raise StoreError("expected a row of table meta, got none")
        for n, clean, batch, now, expired in self._rows("life"):
            self._state.life = Life(n, clean, batch, now, expired)
        self._read_logs()
        self._read_threads()
        self._read_segments()
        self._read_directory()
        self._state.next["event"] = 1
        if (segment := self._state.open_segment) is not None:
            self._scan(segment)
        elif self._state.segments:
            last = next(reversed(self._state.segments.values()))
            self._state.next["event"] = last.first + last.rows
        self._count_live()
        for table in ("given", "run", "letter"):
            self._count_rows(table)

    def _rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        last = 0
        for row in checked_rows(self._db, table):
            last = row[0]
            yield row
        self._state.next[table] = max(self._state.next[table], last + 1)

    def _count_rows(self, table: str) -> None:
        (last,) = self._db.execute(f'SELECT max(n) FROM "{table}"').fetchone()  # noqa: S608 - one of three names
        self._state.next[table] = (last or 0) + 1

    # --- logs and threads -----------------------------------------------------

    def _read_logs(self) -> None:
        state = self._state
        for n, user_id, epoch, lineage, low, head, acked, written in self._rows("log"):
            log = LogEntry(n, user_id, epoch, lineage_of(lineage), low, head, spans_of(acked), written)
            self._logs[n] = state.logs[user_id] = log
        for _, log_n, low, acked, written in self._rows("mark"):
            state.loose += 1
            marked = self._logs.get(log_n)
            if marked is not None:  # else it has ended, and another one began
                marked.low, marked.acked, marked.written = max(marked.low, low), spans_of(acked), written
                state.changed_logs.add(marked.user_id)

    def _read_threads(self) -> None:
        state = self._state
        sheds = 0
        for n, name, owner, generation, seq, shed, shed_n, binding in self._rows("thread"):
            thread = ThreadEntry(n, name, owner, generation, seq, shed_of(shed), shed_n, binding)
            self._threads[n] = state.threads[name] = thread
            sheds = max(sheds, shed_n)
        state.next["shed"] = sheds + 1
        for n, thread_n, last_seq, cause, count in self._rows("shed"):
            state.loose += 1
            self._keep_number("thread", thread_n)
            losing = self._threads.get(thread_n)
            if losing is not None and n > losing.shed_n:
                losing.add_shed(Cause(cause), count)
                losing.seq, losing.shed_n = max(losing.seq, last_seq), n
                state.changed_threads.add(losing.name)
        for n, thread_n, seq, *_ in self._rows("held"):
            holding = self._threads.get(thread_n)
            if holding is None:
                raise Damaged("held", n, why=f"there is no thread {thread_n}")
            state.held.setdefault(thread_n, deque()).append((seq, n))
            self._count_event(thread_n, seq)

    def _keep_number(self, table: str, n: int) -> None:
        """Give no number twice while a row names it."""
        self._state.next[table] = max(self._state.next[table], n + 1)

    # --- events -----------------------------------------------------------------

    def _read_segments(self) -> None:
        for n, first, start, closed, rows, size, *directory in self._rows("segment"):
            segment = Segment(n, first, start, bool(closed), rows, size, (directory[0], directory[1]))
            self._state.segments[n] = segment

    def _read_directory(self) -> None:
        for n, segment, log, first, count, ns, ats_sizes, ats in self._rows("directory"):
            if log not in self._logs:
                continue
            if segment not in self._state.segments:
                raise Damaged("directory", n, why=f"there is no segment {segment}")
            try:
                places = unpack_places(ns, count)
            except ValueError as error:
                raise Damaged("directory", n, why=str(error)) from error
            self._put(log, Run(first, segment, places, unpack("d", ats), unpack("I", ats_sizes)))

    def _put(self, log: int, run: Run) -> None:
        directory = self._state.directories.get(log)
        if directory is None:
            directory = self._state.directories[log] = Directory()
        directory.put(run)

    def _scan(self, segment: Segment) -> None:
        """Read the open segment; a row that is not as it was written counts as none."""
        state = self._state
        runs: dict[int, list[Run]] = {}
        n = segment.first - 1
        segment.rows = segment.size_bytes = 0
        table = schema.segment_table(segment.n)
        for n, log, off, thread, seq, at, text, crc in fetched(
            self._db.execute(schema.selection(table, schema.EVENT_COLUMNS))
        ):
            segment.rows += 1
            segment.size_bytes += len(text) if isinstance(text, bytes) else 0
            if not is_whole(log, off, thread, seq, at, text, crc):
                continue
            if log in self._logs:
                runs_of_log = runs.setdefault(log, [])
                follow(runs_of_log, off, segment.n, place=n - segment.first, at=at, size=len(text))
            self._count_event(thread, seq)  # also of a log that has ended
        for log, found in runs.items():
            state.open_logs.add(log)
            state.changed_logs.add(self._logs[log].user_id)
            for run in found:
                self._put(log, run)
        state.next["event"] = n + 1

    def _count_event(self, thread: int, seq: int) -> None:
        known = self._threads.get(thread)
        if known is not None and seq > known.seq:
            known.seq = seq
            self._state.changed_threads.add(known.name)

    def _count_live(self) -> None:
        for n, directory in self._state.directories.items():
            log = self._logs[n]
            log.head = max(log.head, directory.end - 1)
            log.low = max(log.low, min(directory.runs[0].first, log.head + 1))
            directory.trim(log.low, was=log.low)
            for run in directory.runs:
                self._state.segments[run.segment].live += run.end - max(run.first, log.low)
        for log in self._logs.values():
            if log.n not in self._state.directories:
                log.low = log.head + 1


def is_whole(log: Any, off: Any, thread: Any, seq: Any, at: Any, text: Any, crc: Any) -> bool:
    """Return true if the columns of an event are what was written."""
    numbers = all(isinstance(one, int) for one in (log, off, thread, seq))
    typed = numbers and isinstance(at, float) and isinstance(text, bytes)
    return typed and event_crc(log, off, thread, seq, at, text) == crc


# --- what a life begins with ----------------------------------------------------


def restored(db: sqlite3.Connection, state: State, limits: Limits) -> Restored:
    """Return what a store has to know of a state; of each log the newest ``retained_events`` at most."""
    return Restored(
        life=state.life.n + 1,
        clean=bool(state.life.clean),
        secret=state.secret,
        now=state.life.now,
        logs=[_restored_log(state, log, limits.retained_events) for log in state.logs.values()],
        threads=_restored_threads(db, state),
        given_ids=_given_ids(db, state),
        runs=_runs(db, state),
    )


def _restored_log(state: State, log: LogEntry, most: int) -> RestoredLog:
    was, log.low = log.low, max(log.low, log.head - most + 1)
    state.trim(log, was=was)
    times, sizes = state.directories.get(log.n, Directory()).columns(log.low, log.head)
    return RestoredLog(log.user_id, log.epoch, log.lineage, log.low, log.head, times, sizes, log.acked, log.written)


def _restored_threads(db: sqlite3.Connection, state: State) -> list[RestoredThread]:
    threads = {
        one.n: RestoredThread(ThreadRecord(one.name, one.owner, one.generation, one.seq, one.shed, one.binding))
        for one in state.threads.values()
    }
    for _, n, seq, at, body in checked_rows(db, "held"):
        thread = threads[n]
        thread.held.append(Held(thread.record.thread_id, seq, at, body))
    return list(threads.values())


def _given_ids(db: sqlite3.Connection, state: State) -> list[GivenId]:
    """Return the ids, each as the last row of it says."""
    found: dict[tuple[str, str], GivenId] = {}
    for n, thread, event, fingerprint, seq, at, user_id, epoch, off in checked_rows(db, "given"):
        state.given.append((at, n))
        if at >= state.life.expired:
            found[thread, event] = GivenId(thread, event, fingerprint, seq, at, user_id, epoch, off)
    return sorted(found.values(), key=lambda one: one.at)


def _runs(db: sqlite3.Connection, state: State) -> list[RunRecord]:
    found = []
    for n, run_id, thread, is_open, message, user_id in checked_rows(db, "run"):
        state.runs[run_id] = n
        found.append(RunRecord(run_id, thread, bool(is_open), message, user_id))
    return found


def forget_columns(state: State) -> None:
    """Let go of the times and sizes of events in closed segments, which only a start needs."""
    for directory in state.directories.values():
        for run in directory.runs:
            if state.segments[run.segment].closed:
                run.forget_columns()
