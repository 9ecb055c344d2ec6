"""A folder with a journal in it, whose processes crash and whose SQLite fails when a test says so."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any, Literal

from actors.stores.sqlite.journal import SQLiteJournal

CODES = {"full": sqlite3.SQLITE_FULL, "full again": sqlite3.SQLITE_FULL, "before": sqlite3.SQLITE_IOERR}
"""What fails an insertion. A full disk does so twice, because the journal makes room and tries again."""


def sqlite_error(code: int) -> sqlite3.OperationalError:
    """An error as SQLite raises it."""
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_INJECTED"
    return error


def files_in(folder: Path) -> dict[str, bytes]:
    """The contents of a folder, but for the index of the write-ahead log, which is each process's own."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


class Faults:
    """Faults of the statements that a writer executes."""

    def __init__(self) -> None:
        self.how = ""
        self.countdown = -1
        """The statements until one fails; negative for none."""
        self.code = sqlite3.SQLITE_IOERR
        self.executed = 0

    def before(self, sql: str) -> None:
        self.executed += 1
        if self.how in CODES and sql.startswith("INSERT"):
            code, self.how = CODES[self.how], "full again" if self.how == "full" else ""
            raise sqlite_error(code)
        if self.countdown == 0:
            self.countdown = -1
            raise sqlite_error(self.code)
        self.countdown -= self.countdown > 0

    def after(self, sql: str) -> None:
        if self.how == "after" and sql == "COMMIT":
            self.how = ""
            raise sqlite_error(sqlite3.SQLITE_IOERR)


class SQLiteDisk:
    """A :class:`~tests.stores.journal_contract.Disk` that is a folder."""

    def __init__(self, folder: Path, synchronous: Literal["full", "normal"] = "normal") -> None:
        self._folder = folder
        self._synchronous = synchronous
        self._crashes = 0
        self._killed: list[SQLiteJournal] = []
        self._last: SQLiteJournal | None = None
        self.faults = Faults()

    @property
    def path(self) -> Path:
        folder = self._folder / str(self._crashes)
        folder.mkdir(exist_ok=True)
        return folder / "events.db"

    def journal(self) -> SQLiteJournal:
        self._last = SQLiteJournal(self.path, self._synchronous, connect=self._connect)
        self._killed.append(self._last)
        return self._last

    def crash(self) -> None:
        """Go on with a copy of the files, as the system has them: who wrote them goes on with the old ones."""
        before = self.path.parent
        self._crashes += 1
        for name in ("events.db", "events.db-wal", "events.db-lock"):
            if (before / name).exists():
                shutil.copy(before / name, self.path.parent / name)

    def fail(self, how: Literal["full", "before", "after"]) -> None:
        self.faults.how = how

    def contents(self) -> object:
        return files_in(self.path.parent)

    def close(self) -> None:
        """Close the connections of all that were killed."""
        for journal in self._killed:
            journal._writer.close(clean=False)

    def _connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        faults = self.faults

        class FailingConnection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                faults.before(sql)
                cursor = super().execute(sql, *parameters)
                faults.after(sql)
                return cursor

        return sqlite3.connect(*arguments, factory=FailingConnection, **options)
