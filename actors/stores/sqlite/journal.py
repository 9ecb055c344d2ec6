"""A journal in a SQLite file, as a local store uses it: everything that blocks happens in two worker threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, TypeVar

import trio

from actors.errors import StoreError
from actors.limits import Limits
from actors.stages import Promise
from actors.stores.journal import Effect, Restored, Row
from actors.stores.sqlite.connections import Connect
from actors.stores.sqlite.loading import Place, load, places
from actors.stores.sqlite.writer import Writer

T = TypeVar("T")


class SQLiteJournal:
    """The :class:`~actors.stores.journal.Journal` in a file, for one process at a time.

    ``synchronous="full"`` waits with each commit until the disk has it, and so
    survives the loss of power; ``"normal"`` survives the end of the process, and
    of the machine all but the newest commits. Beside the file there are
    ``-wal`` and ``-shm``, which are SQLite's, ``-lock``, and ``-reserve``: room
    for a full disk. Raises ValueError for another word.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        synchronous: Literal["full", "normal"] = "full",
        *,
        connect: Connect = sqlite3.connect,
    ) -> None:
        if synchronous not in {"full", "normal"}:
            raise ValueError(f"SQLiteJournal(synchronous): expected 'full' or 'normal', got {synchronous!r}")
        self.promise = Promise.POWER if synchronous == "full" else Promise.PROCESS
        self._writer = Writer(Path(path), synchronous, connect=connect)
        self._writing = trio.CapacityLimiter(1)
        self._reading = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<SQLiteJournal {self._writer.path} survives={self.promise}>"

    async def open(self, limits: Limits, secret: bytes) -> Restored:
        """Begin a life; see :meth:`Journal.open`. Not cancelled halfway."""
        return await trio.to_thread.run_sync(self._writer.open, limits, secret, limiter=self._writing)

    async def commit(self, number: int, effects: Sequence[Effect]) -> None:
        """Write one batch; see :meth:`Journal.commit`. Shielded."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._writer.commit, number, effects, limiter=self._writing)

    async def reopen(self) -> int:
        """Open again, and return the number of the last batch there; see :meth:`Journal.reopen`. Shielded."""
        number = 0
        with trio.CancelScope(shield=True):
            number += await self._alone(self._writer.reopen)
        return number

    async def load(self, user_id: str, first: int, last: int) -> list[Row]:
        """Read events; see :meth:`Journal.load`. At most 2,000 rows, or 4 MiB and a row.

        Raises StoreError when the file cannot be read. Cancelled before it begins, or not at all.
        """
        return await trio.to_thread.run_sync(self._load, user_id, first, last, limiter=self._reading)

    def _load(self, user_id: str, first: int, last: int) -> list[Row]:
        writer = self._writer

        def find(end: int) -> list[Place]:
            with writer.lock:
                return places(writer.state, user_id, first, end)

        try:
            return load(writer.reader, find, first, last)
        except sqlite3.Error as error:
            raise StoreError(f"{writer.path}: expected to read events, got {error}") from error

    async def aclose(self, *, clean: bool) -> None:
        """Close; see :meth:`Journal.aclose`. Shielded. Raises StoreError if it could not be closed in order."""
        with trio.CancelScope(shield=True):
            await self._alone(lambda: self._writer.close(clean=clean))

    async def _alone(self, work: Callable[[], T]) -> T:
        """Work in the writer's thread while nothing is read, because it replaces the reader's connection."""
        await self._reading.acquire()
        try:
            return await trio.to_thread.run_sync(work, limiter=self._writing)
        finally:
            self._reading.release()
