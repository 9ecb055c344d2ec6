"""The upkeep of segments: closed when they are full, dropped when they are dead, copied forward when they are half so.

Each step is a transaction of its own, behind a commit. So a segment's end costs
one commit some milliseconds, and a step for which there is no room is taken
later.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from actors.stores.sqlite import schema
from actors.stores.sqlite.connections import delete, insert
from actors.stores.sqlite.directory import Directory, Run, follow
from actors.stores.sqlite.restore import is_whole
from actors.stores.sqlite.rows import Column, pack, pack_places
from actors.stores.sqlite.state import LogEntry, Segment, State, rows_with_crc

SEGMENT_ROWS = 65_536
"""Events of a segment: what an unclean start scans in 0.2 s."""

SEGMENT_BYTES = 32 * 1024 * 1024
"""The bytes of their texts: what is lost of the disk until a segment can be dropped, and scanned when they are long."""

SEGMENT_SECONDS = 60.0
"""The age at which a segment is closed, so that it is dropped soon after its last event has left."""

SEGMENT_LEAST_ROWS = 8_192
"""Events without which it is not: a table for each quiet minute would be half a million tables a year."""

LOOSE_ROWS = 16_384
"""Rows of *mark* and *shed*, beside few events, after which they are folded into their logs and threads."""

NEWEST = 2
"""Segments before the open one that are not copied forward, because most of what they have is about to leave."""

COPIED_ROWS = 2_000
COPIED_BYTES = 2 * 1024 * 1024
"""Events copied forward behind one commit, 10 ms of work; more only behind one of more events."""

Wrote = Callable[[], None]
"""Brings the state up to a step, once its transaction was committed."""


class _Copied:
    """The events that one step copies forward, and their runs by log."""

    def __init__(self, first: int, most: int) -> None:
        self._first, self._most = first, most
        self.rows: list[tuple[Any, ...]] = []
        self.runs: dict[int, tuple[LogEntry, list[Run]]] = {}
        self._size_bytes = 0

    @property
    def has_room(self) -> bool:
        """True if the step takes more: there is no more if it is not full at its end."""
        return len(self.rows) < self._most and self._size_bytes < COPIED_BYTES

    def add(self, log: LogEntry, found: tuple[Any, ...], target: Segment) -> None:
        """Add one event, as it was read."""
        _, _, off, _, _, at, text, _ = found
        n = self._first + len(self.rows)
        self.rows.append((n, *found[1:]))
        self._size_bytes += len(text)
        target.rows += 1
        target.size_bytes += len(text)
        runs = self.runs.setdefault(log.n, (log, []))[1]
        follow(runs, off, target.n, place=n - target.first, at=at, size=len(text))


class Upkeep:
    """Looks after the segments of one state."""

    def __init__(self, db: sqlite3.Connection, state: State) -> None:
        self._db = db
        self._state = state
        self._copying: Iterator[tuple[LogEntry, Run]] = iter(())
        self._from: int | None = None
        """The segment that is being copied forward."""
        self._most = COPIED_ROWS

    def steps(self, rows: int) -> Iterator[Callable[[], Wrote]]:
        """Return what is to be done behind a commit of so many events, as functions that write it into a transaction.

        Each is to be carried out before the next one is asked for. Events are
        copied forward at least as fast as they come.
        """
        state, segment = self._state, self._state.open_segment
        if segment is not None and _is_full(segment, state.life.now):
            yield self.close_segment
        elif state.loose >= LOOSE_ROWS:
            yield self.fold
        if self.dead() is not None:
            yield self.drop
        if self._from is not None or self._choose():
            self._most = max(COPIED_ROWS, rows)
            yield self.copy_forward

    # --- the end of a segment ---------------------------------------------------

    def close_segment(self) -> Wrote:
        """Write the directory of the open segment, and with it what was not written of logs and threads."""
        state, segment = self._state, self._state.open_segment
        if segment is None:
            return self.fold()
        first = n = state.next["directory"]
        rows: list[tuple[Column, ...]] = []
        for log, run in self._runs_in(segment, state.open_logs):
            columns = (pack_places(run.places), pack(run.sizes), pack(run.times))
            rows.append((n, segment.n, log.n, run.first, len(run.places), *columns))
            n += 1
        closed = msgspec.structs.replace(segment, closed=True, directory=(first, n - 1))
        insert(self._db, "directory", schema.COLUMNS["directory"], rows_with_crc(rows))
        insert(self._db, "segment", schema.COLUMNS["segment"], [closed.row()])
        folded = self.fold()

        def wrote() -> None:
            folded()
            state.next["directory"] = n
            state.segments[segment.n] = closed
            for run in self._all_runs(segment, state.open_logs):
                run.forget_columns()
            state.open_logs.clear()

        return wrote

    def fold(self) -> Wrote:
        """Write the rows of logs and threads that have changed, and delete what said how."""
        state = self._state
        logs = [state.logs[user_id].row() for user_id in state.changed_logs]
        threads = [state.threads[name].row() for name in state.changed_threads]
        insert(self._db, "log", schema.COLUMNS["log"], logs)
        insert(self._db, "thread", schema.COLUMNS["thread"], threads)
        self._db.execute("DELETE FROM mark")
        self._db.execute("DELETE FROM shed")

        def wrote() -> None:
            state.changed_logs.clear()
            state.changed_threads.clear()
            state.loose = 0

        return wrote

    def _runs_in(self, segment: Segment, logs: set[int]) -> Iterator[tuple[LogEntry, Run]]:
        """Return the live parts of the runs that logs have in a segment."""
        entries = {log.n: log for log in self._state.logs.values() if log.n in logs}
        for n, log in entries.items():
            for run in self._state.directories.get(n, Directory()).runs:
                if run.segment == segment.n and (part := run.part(log.low, run.end)).places:
                    yield log, part

    def _all_runs(self, segment: Segment, logs: set[int]) -> Iterator[Run]:
        for n in logs:
            yield from (run for run in self._state.directories[n].runs if run.segment == segment.n)

    # --- the end of its events ----------------------------------------------------

    def dead(self) -> Segment | None:
        """Return a closed segment of which no event is live, ``None`` if there is none."""
        return next((one for one in self._state.segments.values() if one.closed and one.live <= 0), None)

    def drop(self) -> Wrote:
        """Drop a dead segment with its directory."""
        state, segment = self._state, self.dead()
        assert segment is not None, "it is asked for when there is one"
        self._db.execute(f'DROP TABLE "{schema.segment_table(segment.n)}"')
        self._db.execute("DELETE FROM directory WHERE n BETWEEN ? AND ?", segment.directory)
        delete(self._db, "segment", [segment.n])

        def wrote() -> None:
            del state.segments[segment.n]
            if self._from == segment.n:
                self._from = None

        return wrote

    # --- copying --------------------------------------------------------------------

    def _choose(self) -> bool:
        """Choose a segment of which less than half is live; one with few events counts as a larger one."""
        newest = self._state.next["segment"] - 1 - NEWEST
        for one in self._state.segments.values():
            if one.closed and one.n < newest and one.live * 2 < max(one.rows, SEGMENT_LEAST_ROWS):
                self._from = one.n
                logs = {log.n for log in self._state.logs.values()}
                self._copying = iter(list(self._runs_in(one, logs)))
                return True
        return False

    def copy_forward(self) -> Wrote:
        """Copy some live events of the chosen segment into the open one."""
        state, source = self._state, self._state.segments[self._from or 0]
        opened, n = state.open_segment, state.next["event"]
        target = (
            Segment(state.next["segment"], n, state.life.now) if opened is None else msgspec.structs.replace(opened)
        )
        copied = _Copied(n, self._most)
        while copied.has_room and (one := next(self._copying, None)) is not None:
            for found in self._read(source, *one):
                copied.add(one[0], found, target)
        if opened is None and copied.rows:
            create_segment(self._db, target)
        insert(self._db, schema.segment_table(target.n), schema.EVENT_COLUMNS, copied.rows)

        def wrote() -> None:
            if copied.rows:
                state.segments[target.n] = target
                state.next["event"] = n + len(copied.rows)
                state.next["segment"] = max(state.next["segment"], target.n + 1)
            for log, runs in copied.runs.values():
                for run in runs:
                    self._moved(log, run)
            if copied.has_room:
                self._leave_damaged(source)

        return wrote

    def _leave_damaged(self, source: Segment) -> None:
        """Give up those events of a segment that could not be copied: they are damaged, and a hole from now on."""
        for directory in self._state.directories.values():
            directory.runs = [run for run in directory.runs if run.segment != source.n]
        source.live, self._from = 0, None

    def abandon(self) -> None:
        """Forget how far copying has come, because a step was not written."""
        self._from, self._copying = None, iter(())

    def _moved(self, log: LogEntry, run: Run) -> None:
        state = self._state
        directory = state.directories.get(log.n)
        entry = state.logs.get(log.user_id)
        if directory is None or entry is None or entry.n != log.n:
            return
        part = run.part(entry.low, run.end)
        if part.places:
            state.leave(directory.put(part))
            state.segments[run.segment].live += len(part.places)
            state.open_logs.add(log.n)

    def _read(self, source: Segment, log: LogEntry, run: Run) -> Iterator[tuple[Any, ...]]:
        """Return those events of a run that are still live and whole."""
        entry = self._state.logs.get(log.user_id)
        if entry is None or entry.n != log.n:
            return
        part = run.part(entry.low, run.end)
        for start in range(0, len(part.places), 500):
            numbers = [source.first + place for place in part.places[start : start + 500]]
            for found in self._db.execute(select_events(source.n, len(numbers)), numbers).fetchall():
                if is_whole(*found[1:]) and found[1] == log.n:
                    yield found


def _is_full(segment: Segment, now: float) -> bool:
    if segment.rows >= SEGMENT_ROWS or segment.size_bytes >= SEGMENT_BYTES:
        return True
    return now - segment.start >= SEGMENT_SECONDS and segment.rows >= SEGMENT_LEAST_ROWS


def create_segment(db: sqlite3.Connection, segment: Segment) -> None:
    """Begin a segment."""
    db.execute(schema.creation(schema.segment_table(segment.n), schema.EVENT_COLUMNS))
    insert(db, "segment", schema.COLUMNS["segment"], [msgspec.structs.replace(segment, rows=0, size_bytes=0).row()])


def select_events(segment: int, count: int) -> str:
    """Return the statement that reads so many events of a segment by rowid."""
    names = ", ".join(schema.EVENT_COLUMNS)
    table = schema.segment_table(segment)
    return f'SELECT {names} FROM "{table}" WHERE n IN ({",".join("?" * count)}) ORDER BY n'  # noqa: S608 - names of ours
