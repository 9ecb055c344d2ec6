"""The one writer of a journal's file: transactions, and the order of things at a start, in trouble and at the end.

Its methods block, and are called from one worker thread at a time. ``lock``
keeps the state still for a reader in another one.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from actors.errors import StoreError
from actors.limits import Limits
from actors.stores.journal import Effect, NotTaken, Restored
from actors.stores.sqlite import schema
from actors.stores.sqlite.changes import LETTERS, Plan
from actors.stores.sqlite.connections import (
    Connect,
    cause_not_taken,
    close_all,
    code_of,
    delete,
    insert,
    open_reader,
    open_writer,
    snapshot,
)
from actors.stores.sqlite.files import create, is_journal
from actors.stores.sqlite.lock import Lock
from actors.stores.sqlite.reserve import Reserve
from actors.stores.sqlite.restore import forget_columns, read_state, restored
from actors.stores.sqlite.state import State
from actors.stores.sqlite.upkeep import Upkeep, create_segment

T = TypeVar("T")

_OF_THE_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
"""Primary codes of a start that may be for want of room."""


class Writer:
    """Writes one file, through one connection; the reader's is beside it."""

    def __init__(self, path: Path, synchronous: str, *, connect: Connect) -> None:
        self.path = path
        self.lock: threading.Lock = threading.Lock()
        self._synchronous = synchronous
        self._connect = connect
        self._file_lock = Lock(path)
        self._reserve = Reserve(path)
        self._limits = Limits()
        self._life = 0
        self._goes_on = False
        """True if the life before was closed in order, and nothing came after it."""
        self._db: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._state: State | None = None
        self._upkeep: Upkeep | None = None

    @property
    def state(self) -> State:
        """The state, while the journal is open."""
        if self._state is None:
            raise self._not_open()
        return self._state

    @property
    def reader(self) -> sqlite3.Connection:
        """The connection of the reader, while the journal is open."""
        if self._reader is None:
            raise self._not_open()
        return self._reader

    # --- start and end --------------------------------------------------------

    def open(self, limits: Limits, secret: bytes) -> Restored:
        """Begin a life; raises StoreError, see :meth:`~actors.stores.journal.Journal.open`."""
        self._limits = limits
        try:
            exists = is_journal(self.path)
            self._file_lock.take()
            if not exists:
                create(self.path, secret)
            found = self._attach_in_room()
        except (OSError, sqlite3.Error) as error:
            self._let_go()
            raise StoreError(f"{self.path}: expected a journal that can be opened, got {_said(error)}") from error
        except StoreError as error:
            self._let_go()
            text = str(error)
            raise StoreError(text if str(self.path) in text else f"{self.path}: {text}") from error
        self._life = found.life
        # Closed in order is a life that nothing came after: not one whose successors are gone, with the power, with a
        # write-ahead log that somebody deleted, or because an older copy of the file was put back.
        self._goes_on = self.state.life.clean == self._file_lock.stamp_before
        found.clean = found.life == 1 or self._goes_on
        return found

    def _attach_in_room(self) -> Restored:
        """Attach, if need be in the room of the reserve: to open a file takes some for its index."""
        try:
            return self._attach()
        except sqlite3.Error as error:
            if code_of(error) not in _OF_THE_DISK or not self._reserve.is_there:
                raise
        self._detach()
        self._reserve.give()
        return self._attach()

    def _attach(self) -> Restored:
        """Read the state, and only then connect for writing: what is damaged must not be changed by that."""
        self._reader = open_reader(self._connect, self.path)
        with snapshot(self._reader):
            state = read_state(self._reader)
            found = restored(self._reader, state, self._limits)
        self._db = open_writer(self._connect, self.path, self._synchronous)
        forget_columns(state)
        with self.lock:
            self._state = state
        self._upkeep = Upkeep(self._db, state)
        return found

    def reopen(self) -> int:
        """Connect again, and return the number of the last batch of this life that is there.

        Raises as :meth:`commit` does.
        """
        self._detach()
        try:
            state_before = self._life
            self._attach_in_room()
            self._bring_in()
        except sqlite3.Error as error:
            self._detach()
            raise self._failed(error) from error
        except StoreError:
            self._detach()
            raise
        life = self.state.life
        return life.batch if life.n == state_before else 0

    def _bring_in(self) -> None:
        """Bring the write-ahead log in, if need be in the room of the reserve.

        What a failed fsync left in the system's memory may be read and yet not
        be on the disk; a checkpoint writes it again.
        """
        checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)"
        try:
            busy, *_ = self._connection().execute(checkpoint).fetchone()
        except sqlite3.Error as error:
            if code_of(error) != sqlite3.SQLITE_FULL:
                raise
            self._reserve.give()
            busy, *_ = self._connection().execute(checkpoint).fetchone()
        if busy:
            raise NotTaken(f"{self.path}: another program is reading it")

    def close(self, *, clean: bool) -> None:
        """Close; ``clean`` marks the life as closed in order, and raises StoreError if that cannot be written."""
        try:
            if clean and self._db is not None and (self.state.life.n == self._life or self._goes_on):
                self._close_in_order()
        except sqlite3.Error as error:
            text = (
                f"{self.path}: expected to close it in order, got {_said(error)}; its next life begins as after a crash"
            )
            raise StoreError(text) from error
        finally:
            self._let_go()

    def _close_in_order(self) -> None:
        state, upkeep = self.state, self._upkeep
        assert upkeep is not None, "it is connected"
        self._file_lock.mark()
        life = msgspec.structs.replace(state.life, clean=self._file_lock.stamp)

        def write() -> None:
            upkeep.close_segment()
            insert(self._connection(), "life", schema.COLUMNS["life"], [life.row()])

        try:
            self._transact(write)
        except sqlite3.Error as error:
            if code_of(error) != sqlite3.SQLITE_FULL:
                raise
            self._make_room()
            self._transact(write)
        self._checkpoint()

    def _detach(self) -> None:
        close_all((self._reader, self._db))
        self._reader = self._db = self._upkeep = None

    def _let_go(self) -> None:
        self._detach()
        self._file_lock.release()

    # --- commit ---------------------------------------------------------------

    def commit(self, number: int, effects: Sequence[Effect]) -> None:
        """Write a batch; raises as :meth:`~actors.stores.journal.Journal.commit` does."""
        db = self._connection()
        plan = Plan(self.state, msgspec.structs.replace(self.state.life, n=self._life, clean=0, batch=number))
        plan.take(effects)
        if self.state.life.n != self._life:
            self._file_lock.mark()
        try:
            self._write_in_room(db, plan)
            with self.lock:
                plan.apply()
            self._keep_up(plan)
        except sqlite3.Error as error:
            failed = self._failed(error)
            if not isinstance(failed, NotTaken):
                # The reader's connection stays, because another thread may be reading through it.
                close_all((db,))
                self._db = self._upkeep = None
            raise failed from error

    def _write_in_room(self, db: sqlite3.Connection, plan: Plan) -> None:
        """Write a plan. One that takes room does so only while the reserve is kept; another may have its room."""
        if not plan.only_shrinks and not self._reserve.keep():
            self._make_room()
            if not self._reserve.keep():
                raise NotTaken(f"{self.path}: the disk is full (no room for {self._reserve.path.name})")
        try:
            self._transact(lambda: _write(db, plan, self.state))
        except sqlite3.Error as error:
            if code_of(error) != sqlite3.SQLITE_FULL:
                raise
            self._make_room()
            if not plan.only_shrinks and not self._reserve.keep():
                raise
            self._transact(lambda: _write(db, plan, self.state))
            self._reserve.keep()

    def _make_room(self) -> None:
        """Give the reserve up, and do with it what makes room."""
        self._reserve.give()
        self._checkpoint()
        upkeep = self._upkeep
        assert upkeep is not None, "it is connected"
        while upkeep.dead() is not None and self._step(upkeep.drop):
            pass
        self._checkpoint()

    def _checkpoint(self) -> None:
        try:
            self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            if cause_not_taken(error) is None:
                raise

    def _keep_up(self, plan: Plan) -> None:
        upkeep = self._upkeep
        assert upkeep is not None, "it is connected"
        for step in upkeep.steps(len(plan.events)):
            if not self._step(step):
                return

    def _step(self, step: Callable[[], Callable[[], None]]) -> bool:
        """Take one step of the upkeep; false if it could not be written, which is no failure of a batch."""
        upkeep = self._upkeep
        assert upkeep is not None, "it is connected"
        try:
            wrote = self._transact(step)
        except sqlite3.Error as error:
            upkeep.abandon()
            if cause_not_taken(error) is None:
                raise
            return False
        with self.lock:
            wrote()
        return True

    def _transact(self, write: Callable[[], T]) -> T:
        db = self._connection()
        db.execute("BEGIN IMMEDIATE")
        try:
            result = write()
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        return result

    # --- errors ---------------------------------------------------------------

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise self._not_open()
        return self._db

    def _not_open(self) -> StoreError:
        return StoreError(f"{self.path}: expected a journal that is open, got one that is closed or has to be reopened")

    def _failed(self, error: sqlite3.Error) -> StoreError:
        """Return the error of a transaction: NotTaken, or one that leaves its outcome open."""
        cause = cause_not_taken(error)
        if cause is not None:
            return NotTaken(f"{self.path}: {cause}")
        return StoreError(f"{self.path}: expected to write it, got {_said(error)}; it is not known what was written")


def _write(db: sqlite3.Connection, plan: Plan, state: State) -> None:
    """Write a plan, within a transaction."""
    if plan.new_segment and plan.segment is not None:
        create_segment(db, plan.segment)
    for table, rows in plan.inserted.items():
        insert(db, table, schema.COLUMNS[table], rows)
    for table, numbers in plan.deleted.items():
        delete(db, table, numbers)
    if plan.events:
        assert plan.segment is not None, "it has events"
        insert(db, schema.segment_table(plan.segment.n), schema.EVENT_COLUMNS, plan.events)
    if plan.expired_through is not None:
        db.execute("DELETE FROM given WHERE n <= ?", (plan.expired_through,))
    if plan.inserted["letter"]:
        db.execute("DELETE FROM letter WHERE n < ?", (plan.next["letter"] - LETTERS,))
    insert(db, "life", schema.COLUMNS["life"], [plan.life.row()])
    if state.life.n != plan.life.n:
        db.execute("DELETE FROM life WHERE n < ?", (plan.life.n,))


def _said(error: Exception) -> str:
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"{name}: {error}"
