"""A bare group commit, which a durable store is measured against: all of an event's work, and no runtime.

Per event: the package's own encoding, a number in a thread and one in a log, the package's own receipt, index of
receipts and books, and a row. Per commit: one INSERT of all its rows in a worker thread, in WAL with
``synchronous=FULL``, and one event that wakes all who wait. What it lacks is everything else: owners, holds, ids, runs,
checksums, devices, a directory, and a next life that could read its file.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import trio

from actors.delivery.accounts import Accounts
from actors.delivery.receipt_index import ReceiptIndex
from actors.events.event import encode, placed
from actors.events.states import QUEUED
from actors.limits import Limits
from actors.receipts import Receipt
from actors.stages import Promise

Row = tuple[Any, ...]

_CREATE = "CREATE TABLE event(n INTEGER PRIMARY KEY, log, off, thread, seq, at, text)"


class BareDatabase:
    """One table in one file; its method blocks."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA wal_autocheckpoint = 256")
        self._db.execute(_CREATE)
        self._n = 0
        self.seconds: list[float] = []
        """The times that commits took."""

    def commit(self, rows: list[Row]) -> None:
        """Write rows, with one statement."""
        began = time.perf_counter()
        values: list[Any] = []
        for row in rows:
            self._n += 1
            values += (self._n, *row)
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(f"INSERT INTO event VALUES {','.join(['(?,?,?,?,?,?,?)'] * len(rows))}", values)  # noqa: S608 - question marks
        self._db.execute("COMMIT")
        self.seconds.append(time.perf_counter() - began)

    def close(self) -> None:
        """Close it."""
        self._db.close()


class BareLoop:
    """Group commit: what comes during one commit is the next."""

    def __init__(self, database: BareDatabase, users: int) -> None:
        self._database = database
        self._limits = Limits()
        self._accounts = Accounts(self._limits.dead_letters)
        self._index = ReceiptIndex(self._limits.explained_events)
        self._number = 0
        self._users = [f"user{number}" for number in range(users)]
        self._heads = [0] * users
        self._seqs: dict[str, int] = {}
        self._rows: list[Row] = []
        self._placed: list[tuple[Receipt, str, int]] = []
        self._committed = trio.Event()
        self._more = trio.Event()

    def emit(self, thread_id: str, user: int, payload: dict[str, Any]) -> trio.Event:
        """Take an event; returns what is set once it is stored."""
        self._number += 1
        at, event_id = time.time(), f"e_{self._number:x}"
        body = encode("agent_delta", payload, thread_id, None, event_id, at, self._limits)
        receipt = Receipt(event_id, thread_id, at, QUEUED)
        self._accounts.accepted += 1
        self._index.put(self._number, receipt)
        self._seqs[thread_id] = seq = self._seqs.get(thread_id, 0) + 1
        self._heads[user] = offset = self._heads[user] + 1
        self._rows.append((user, offset, thread_id, seq, at, placed(body, seq, offset)))
        receipt.seq = seq
        self._placed.append((receipt, self._users[user], offset))
        self._more.set()
        return self._committed

    async def run(self) -> None:
        """Commit until cancelled."""
        limiter = trio.CapacityLimiter(1)
        while True:
            await self._more.wait()
            self._more = trio.Event()
            rows, self._rows = self._rows, []
            placed_, self._placed = self._placed, []
            committed, self._committed = self._committed, trio.Event()
            await trio.to_thread.run_sync(self._database.commit, rows, limiter=limiter)
            now = time.monotonic()
            for receipt, user_id, offset in placed_:
                self._accounts.note_placed(receipt, user_id, "ep_1", offset, 1, now, Promise.POWER)
            committed.set()
