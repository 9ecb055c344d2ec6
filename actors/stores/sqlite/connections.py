"""Connections to a journal's file, and what SQLite's errors say of a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.stores.sqlite import schema

Connect = Callable[..., sqlite3.Connection]
"""``sqlite3.connect``, or a function that takes what it takes."""

CHECKPOINT_PAGES = 256
"""Pages of the write-ahead log at which SQLite brings them into the file: 1 MiB, which a reserve can match."""

MOST_ROWS = 4_000
"""Rows of one statement. Each statement gives up Python's lock, and may wait 5 ms for it; so does each row of
``executemany``, and beside a busy loop that takes three times as long."""

_WAIT_SECONDS = 1.0
"""Time for the other connection of this process to end a read."""

_NOT_TAKEN = {
    sqlite3.SQLITE_BUSY: "another program has locked it",
    sqlite3.SQLITE_LOCKED: "another program has locked it",
    sqlite3.SQLITE_READONLY: "it may not be written any more",
    sqlite3.SQLITE_FULL: "the disk is full",
}
"""Primary codes after which SQLite has written nothing, and the cause as an operator knows it."""


def code_of(error: sqlite3.Error) -> int:
    """Return an error's primary code, 0 for one without."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def cause_not_taken(error: sqlite3.Error) -> str | None:
    """Return the cause for which a transaction wrote nothing, ``None`` if its outcome is not known."""
    cause = _NOT_TAKEN.get(code_of(error))
    return None if cause is None else f"{cause} ({error})"


def open_writer(connect: Connect, path: Path, synchronous: str) -> sqlite3.Connection:
    """Connect for writing. Checkpoints are small and frequent, so that the write-ahead log stays small."""
    db = connect(path, isolation_level=None, check_same_thread=False, timeout=_WAIT_SECONDS)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    # Some builds overwrite what is deleted: to drop a segment wrote 22 MB, and 32 KiB without.
    db.execute("PRAGMA secure_delete = OFF")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {4 * CHECKPOINT_PAGES * schema.PAGE_BYTES}")
    return db


def open_reader(connect: Connect, path: Path) -> sqlite3.Connection:
    """Connect for reading only; closing such a connection changes nothing in the file."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    db = connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=_WAIT_SECONDS)
    db.text_factory = _text  # a damaged text is for its checksum to find
    return db


def _text(encoded: bytes) -> str:
    return encoded.decode(errors="surrogateescape")


@contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """Have all that is read within it be of one moment; commits go on, but their write-ahead log grows meanwhile."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def insert(db: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
    """Write rows, in as few statements as there can be."""
    most = min(MOST_ROWS, db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // len(columns))
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        db.execute(schema.insertion(table, columns, len(part)), [one for row in part for one in row])


def delete(db: sqlite3.Connection, table: str, numbers: Sequence[int]) -> None:
    """Delete rows by their rowids."""
    most = min(MOST_ROWS, db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER))
    for start in range(0, len(numbers), most):
        part = numbers[start : start + most]
        db.execute(f'DELETE FROM "{table}" WHERE n IN ({",".join("?" * len(part))})', part)  # noqa: S608 - a table of ours


def close_all(connections: Iterable[sqlite3.Connection | None]) -> None:
    """Close connections; one that fails has nothing left to lose."""
    for one in connections:
        try:
            if one is not None:
                one.close()
        except sqlite3.Error:
            pass  # after an error of the disk it cannot bring its log in; the next connection does
