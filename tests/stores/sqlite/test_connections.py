"""Connections, and what their errors say."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from actors.stores.sqlite.connections import (
    CHECKPOINT_PAGES,
    cause_not_taken,
    close_all,
    delete,
    insert,
    open_reader,
    open_writer,
)
from tests.stores.sqlite.disk import sqlite_error


def test_how_it_is_written(tmp_path: Path) -> None:
    """A write-ahead log that stays small, nothing overwritten, and the disk waited for as was asked."""
    for synchronous, number in (("full", 2), ("normal", 1)):
        with closing(open_writer(sqlite3.connect, tmp_path / "x.db", synchronous)) as db:
            asked = ("journal_mode", "synchronous", "secure_delete", "wal_autocheckpoint")
            found = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in asked]
            assert found == ["wal", number, 0, CHECKPOINT_PAGES]


def test_a_reader_writes_nothing(tmp_path: Path) -> None:
    """Not even what it is told to; and its path may have any characters."""
    path = tmp_path / "a?b#c %41.db"
    with closing(open_writer(sqlite3.connect, path, "full")) as writer:
        writer.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, x)")
        with closing(open_reader(sqlite3.connect, path)) as reader:
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("INSERT INTO t VALUES (1, 2)")
            assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_damaged_text_is_read(tmp_path: Path) -> None:
    """It is for the checksum to find, not for the decoder."""
    with closing(open_writer(sqlite3.connect, tmp_path / "x.db", "full")) as writer:
        writer.execute("CREATE TABLE t (x)")
        writer.execute("INSERT INTO t VALUES (CAST(x'c328' AS TEXT))")
        with closing(open_reader(sqlite3.connect, tmp_path / "x.db")) as reader:
            assert reader.execute("SELECT x FROM t").fetchone() == ("\udcc3(",)


@pytest.mark.parametrize("count", [0, 1, 3_999, 4_000, 4_001, 9_000])
def test_many_rows_in_few_statements(count: int) -> None:
    """They are all there, and then all gone."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute('CREATE TABLE "t" (n INTEGER PRIMARY KEY, x)')
        statements: list[str] = []
        db.set_trace_callback(statements.append)
        insert(db, "t", ("n", "x"), [(n, n) for n in range(count)])
        assert len(statements) == -(-count // 4_000)
        assert db.execute("SELECT count(*) FROM t").fetchone() == (count,)
        delete(db, "t", range(count))
        assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_an_older_sqlite_takes_fewer_values() -> None:
    """What it takes is asked, because it was 999 once."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        db.execute('CREATE TABLE "t" (n INTEGER PRIMARY KEY, x)')
        insert(db, "t", ("n", "x"), [(n, n) for n in range(2_000)])
        delete(db, "t", range(1, 2_000))
        assert db.execute("SELECT count(*) FROM t").fetchone() == (1,)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (sqlite3.SQLITE_FULL, "the disk is full (injected)"),
        (sqlite3.SQLITE_BUSY, "another program has locked it (injected)"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "it may not be written any more (injected)"),
        (sqlite3.SQLITE_IOERR_FSYNC, None),
        (sqlite3.SQLITE_IOERR, None),
        (sqlite3.SQLITE_CORRUPT, None),
    ],
)
def test_which_errors_wrote_nothing(code: int, cause: str | None) -> None:
    """After an error of the disk nothing is known."""
    assert cause_not_taken(sqlite_error(code)) == cause
    assert cause_not_taken(sqlite3.ProgrammingError("closed")) is None


def test_closing_goes_on() -> None:
    """A connection that cannot be closed keeps no other one open."""

    class Stubborn(sqlite3.Connection):
        def close(self) -> None:
            raise sqlite_error(sqlite3.SQLITE_IOERR)

    stubborn, other = Stubborn(":memory:"), sqlite3.connect(":memory:")
    close_all((None, stubborn, other))
    with pytest.raises(sqlite3.ProgrammingError):
        other.execute("SELECT 1")
    sqlite3.Connection.close(stubborn)
