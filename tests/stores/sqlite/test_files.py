"""Files that are journals, and files that are not: those are left as they are."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from actors.errors import StoreError
from actors.limits import Limits
from actors.stores.sqlite import schema
from actors.stores.sqlite.files import create, is_journal
from actors.stores.sqlite.journal import SQLiteJournal
from tests.stores.sqlite.disk import files_in

NOBODY = 65534


def text_file(path: Path) -> None:
    path.write_text("not a database at all\n" * 20)


def empty_file(path: Path) -> None:
    path.touch()


def short_file(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def other_database(path: Path) -> None:
    """Another program's, with its newest rows in its write-ahead log only."""
    draft = path.with_name("draft.db")
    with closing(sqlite3.connect(draft, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE theirs (x)")
        db.execute("INSERT INTO theirs VALUES (1)")
        for end in ("", "-wal"):
            shutil.copy(f"{draft}{end}", f"{path}{end}")


def future_journal(path: Path) -> None:
    create(path, b"s" * 32)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")


def journal_without_a_log(path: Path) -> None:
    create(path, b"s" * 32)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")


def log_without_a_file(path: Path) -> None:
    path.with_name(f"{path.name}-wal").write_bytes(b"frames")


def truncated_journal(path: Path) -> None:
    create(path, b"s" * 32)
    os.truncate(path, 3 * schema.PAGE_BYTES)


REFUSED = [
    (text_file, "expected a journal of trio-actors, got a file that begins with b'not a database a'"),
    (empty_file, "expected a journal of trio-actors, got an empty file"),
    (short_file, "got a file that begins with b'SQLite format 3"),
    (other_database, "got another program's SQLite database \\(application_id 0x0\\)"),
    (future_journal, "expected a journal of version 1, got one of version 2"),
    (journal_without_a_log, "got a database without a write-ahead log"),
    (log_without_a_file, "expected the journal of events.db-wal, which has events of it, got no file"),
    (truncated_journal, "expected a journal that can be opened, got SQLITE_CORRUPT: database disk image is malformed"),
]


@pytest.mark.parametrize(("make", "text"), REFUSED, ids=[make.__name__ for make, _ in REFUSED])
async def test_what_is_no_journal_is_refused_and_left_alone(tmp_path: Path, make: object, text: str) -> None:
    """The text says what it is; no byte of it changes."""
    path = tmp_path / "events.db"
    assert callable(make)
    make(path)
    before = files_in(tmp_path)
    with pytest.raises(StoreError, match=text) as caught:
        await SQLiteJournal(path).open(Limits(), b"x" * 32)
    assert str(caught.value).startswith(str(path))
    after = files_in(tmp_path)
    assert {name: after.get(name) for name in before} == before
    added = {name: found for name, found in after.items() if name not in before}
    assert {name for name in added if not name.endswith("-wal")} <= {"events.db-lock"}
    assert all(found == b"" for name, found in added.items() if name.endswith("-wal"))


async def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    """It is refused by the system's own words."""
    with pytest.raises(StoreError, match="expected a journal of trio-actors, got Is a directory"):
        await SQLiteJournal(tmp_path).open(Limits(), b"x" * 32)


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """It is named, and not made."""
    with pytest.raises(StoreError, match=r"expected the folder .*nowhere, it does not exist"):
        await SQLiteJournal(tmp_path / "nowhere" / "events.db").open(Limits(), b"x" * 32)
    assert not (tmp_path / "nowhere").exists()


@contextmanager
def file_with(mode: int) -> Iterator[Path]:
    """Have a journal with a mode for a block, without root's rights, because root may read and write everything."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.db"
        create(path, b"s" * 32)
        Path(folder).chmod(0o701)
        path.chmod(mode)
        if os.geteuid() != 0:
            yield path
            return
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield path
        finally:
            os.setresuid(0, 0, 0)


@pytest.mark.parametrize("mode", [0o000, 0o400])
async def test_a_file_that_may_not_be_used(mode: int) -> None:
    """Not to be read, or not to be written."""
    with file_with(mode) as path, pytest.raises(StoreError, match=r"Permission denied|may not be written"):
        await SQLiteJournal(path).open(Limits(), b"x" * 32)


def test_a_file_that_may_not_be_written_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever user the tests run as."""
    create(tmp_path / "events.db", b"s" * 32)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreError, match="one that may not be written"):
        is_journal(tmp_path / "events.db")


def test_a_journal_is_made_at_once(tmp_path: Path) -> None:
    """Nothing is under its name before it is complete; what an interrupted attempt left is in nobody's way."""
    path = tmp_path / "events.db"
    path.with_name("events.db-new").write_text("half")
    assert not is_journal(path)
    create(path, b"s" * 32)
    assert is_journal(path)
    assert [one.name for one in tmp_path.iterdir()] == ["events.db"]
