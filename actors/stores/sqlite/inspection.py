"""A journal's file, read by people: all of it, and nothing of it changed.

It may be read while a process has it open: one sees what was committed when
that began. Until it ends, that process cannot shorten its write-ahead log.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec

from actors.errors import StoreError
from actors.limits import MANY, Limits
from actors.stages import Cause
from actors.stores.journal import Letter, Restored, RestoredLog
from actors.stores.sqlite import schema
from actors.stores.sqlite.connections import open_reader, snapshot
from actors.stores.sqlite.files import is_journal
from actors.stores.sqlite.loading import load, places
from actors.stores.sqlite.lock import Lock
from actors.stores.sqlite.restore import Damaged, checked_rows, fetched, is_whole, read_state, restored
from actors.stores.sqlite.state import State

_ALL = Limits(retained_events=MANY)


@attrs.frozen(kw_only=True)
class Retained:
    """An event that is in the journal; ``text`` is ``None`` if it is damaged."""

    user_id: str
    offset: int
    at: float
    text: bytes | None


@contextmanager
def inspected(path: Path) -> Iterator[Inspection]:
    """Open a journal for reading. Raises StoreError for what is none, and for one that is damaged."""
    with closing(_open(path)) as db:
        try:
            with snapshot(db):
                yield Inspection(db)
        except sqlite3.Error as error:
            raise _said(path, error) from error
        except Damaged as error:
            raise _said(path, error) from error


class Inspection:
    """A journal at one moment. ``state`` has its segments, ``restored`` what a store would begin with."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.state: State = read_state(db)
        self.restored: Restored = restored(db, self.state, _ALL)

    def letters(self) -> list[Letter]:
        """Return the dead letters, oldest first."""
        return [Letter(Cause(cause), *rest) for _, cause, *rest in checked_rows(self._db, "letter")]

    def events(self) -> Iterator[Retained]:
        """Return the retained events of all users, in the order of their times, and a log's in that of its offsets."""
        order = heapq.merge(*(self._order(log) for log in self.restored.logs))
        for at, user_id, offset in order:
            yield Retained(user_id=user_id, offset=offset, at=at, text=self._text(user_id, offset))

    def find(self, event_id: str) -> Iterator[Retained]:
        """Return the retained events that have an id: one in each thread, at most."""
        quoted = msgspec.json.encode(event_id)
        for event in self.events():
            if event.text is not None and quoted in event.text and _id_of(event.text) == event_id:
                yield event

    @staticmethod
    def _order(log: RestoredLog) -> Iterator[tuple[float, str, int]]:
        latest = 0.0
        for offset, at in enumerate(log.times, log.low):
            latest = max(at, latest)  # a clock may have gone back
            yield latest, log.user_id, offset

    def _text(self, user_id: str, offset: int) -> bytes | None:
        (row,) = load(self._db, lambda last: places(self.state, user_id, offset, last), offset, offset)
        return row.text


class _Identified(msgspec.Struct):
    event_id: str | None = None


def _id_of(text: bytes) -> str | None:
    return msgspec.json.decode(text, type=_Identified).event_id


def problems(path: Path) -> Iterator[str]:
    """Check everything: the structure of the file, and every row by its checksum; returns a text for each problem.

    Raises StoreError for what is no journal.
    """
    with closing(_open(path)) as db:
        try:
            with snapshot(db):
                yield from (text for (text,) in db.execute("PRAGMA quick_check") if text != "ok")
                for table in schema.COLUMNS:
                    yield from _damaged_rows(db, table)
                yield from _damaged_events(db)
                read_state(db)
        except (sqlite3.Error, StoreError) as error:
            yield str(error)


def _damaged_rows(db: sqlite3.Connection, table: str) -> Iterator[str]:
    try:
        for _ in checked_rows(db, table):
            pass
    except (Damaged, sqlite3.DatabaseError) as error:
        yield f"table {table}: {error}"


def _damaged_events(db: sqlite3.Connection) -> Iterator[str]:
    for (segment,) in db.execute("SELECT n FROM segment ORDER BY n").fetchall():
        table = schema.segment_table(segment)
        try:
            rows: Iterator[tuple[Any, ...]] = fetched(db.execute(schema.selection(table, schema.EVENT_COLUMNS)))
            for n, *columns in rows:
                if not is_whole(*columns):
                    yield f"table {table}: expected event {n} as it was written, its checksum is another"
        except sqlite3.DatabaseError as error:
            yield f"table {table}: {error}"


def vacuum(path: Path) -> tuple[int, int]:
    """Give the room that a journal does not need back to the disk; returns its bytes before and after.

    It takes as much room again while it works. Raises StoreError if a process
    has it open, and for what is no journal.
    """
    _check(path)
    lock = Lock(path)
    lock.take()
    try:
        before = path.stat().st_size
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return before, path.stat().st_size
    except sqlite3.Error as error:
        raise _said(path, error) from error
    finally:
        lock.release()


def _open(path: Path) -> sqlite3.Connection:
    _check(path)
    try:
        return open_reader(sqlite3.connect, path)
    except sqlite3.Error as error:
        raise _said(path, error) from error


def _check(path: Path) -> None:
    if not is_journal(path, to_write=False):
        raise StoreError(f"{path}: expected a journal, there is no such file")


def _said(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path}: {error}")
