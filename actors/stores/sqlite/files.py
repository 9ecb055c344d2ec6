"""The file of a journal before it is opened: recognized by its first bytes, or made.

To connect to a file may change it, because SQLite brings its write-ahead log
in. So a file is looked at first, and what is no journal is not touched.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from actors.errors import StoreError
from actors.stores.sqlite import schema
from actors.stores.sqlite.rows import row_crc

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"


def is_journal(path: Path, *, to_write: bool = True) -> bool:
    """Return true if a journal of this version is there that may be read and written, and false if nothing is.

    Raises StoreError for everything else; the text says what it is and what was expected.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        _check_absent(path)
        return False
    except OSError as error:
        raise _not_one(path, f"{error.strerror}") from error
    if to_write and not os.access(path, os.W_OK):
        raise _not_one(path, "one that may not be written")
    _check_header(path, header)
    return True


def _check_absent(path: Path) -> None:
    """Raise StoreError if a journal cannot be made."""
    if not path.parent.is_dir():
        raise StoreError(f"{path}: expected the folder {path.parent}, it does not exist")
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise StoreError(f"{path}: expected the journal of {wal.name}, which has events of it, got no file")


def _check_header(path: Path, header: bytes) -> None:
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise _not_one(path, "an empty file" if not header else f"a file that begins with {header[:16]!r}")
    application, version = (int.from_bytes(header[at : at + 4], "big") for at in (68, 60))
    if application != schema.APPLICATION_ID:
        raise _not_one(path, f"another program's SQLite database (application_id {application:#x})")
    if header[18:20] != b"\2\2":
        raise _not_one(path, f"a database without a write-ahead log ({header[18:20].hex()})")
    if version != schema.VERSION:
        raise StoreError(f"{path}: expected a journal of version {schema.VERSION}, got one of version {version}")


def _not_one(path: Path, came: str) -> StoreError:
    return StoreError(f"{path}: expected a journal of trio-actors, got {came}")


def create(path: Path, secret: bytes) -> None:
    """Make an empty journal; raises OSError or :class:`sqlite3.Error`. It is there complete, or not at all."""
    draft = path.with_name(path.name + "-new")
    for end in ("", "-journal", "-wal", "-shm"):
        draft.with_name(draft.name + end).unlink(missing_ok=True)
    with closing(sqlite3.connect(draft, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {schema.VERSION}")
        for table, columns in schema.COLUMNS.items():
            db.execute(schema.creation(table, columns))
        row = (1, secret)
        db.execute(schema.insertion("meta", schema.COLUMNS["meta"], 1), (*row, row_crc(row)))
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    draft.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have a new name in a folder survive the loss of power."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
