"""Logs that are in the journal alone: loaded when they are read."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from actors.delivery.bounds import Bounds, Chunk, Spans
from actors.stores.journal import Journal
from actors.stores.progress import Progress
from actors.stores.state import StoreState

_LOAD_EVENTS = 256
"""Events loaded at once, newest first: a device that was away for a moment needs the last few."""


class LogLoader:
    """Brings events of logs to hand, and notes those that are damaged."""

    __slots__ = ("_damaged", "_journal", "_state")

    def __init__(self, state: StoreState, journal: Journal) -> None:
        self._state = state
        self._journal = journal
        self._damaged: list[tuple[str, int, int]] = []

    def __repr__(self) -> str:
        return f"<LogLoader damaged={len(self._damaged)}>"

    async def fill(self, user_id: str, first: int) -> None:
        """Bring events of a log to hand, from an offset on; a checkpoint. Raises as :meth:`Journal.load` does."""
        await trio.lowlevel.checkpoint()
        while (log := self._state.log(user_id)).at_hand > max(first, log.low) and log.low <= log.shown:
            last = log.at_hand - 1
            begin = max(first, log.low, last - _LOAD_EVENTS + 1)
            texts = await self._load(user_id, begin, last)
            if self._state.logs.get(user_id) is log and log.at_hand == last + 1:  # no other task has loaded them
                log.load(begin, [texts.get(offset) for offset in range(begin, last + 1)])
                self._note_damage(user_id, [one for one in range(max(begin, log.low), last + 1) if not texts.get(one)])

    def damaged(self) -> tuple[tuple[str, int, int], ...]:
        """Return users, and ranges of offsets, that were found damaged since the last call."""
        damaged, self._damaged = tuple(self._damaged), []
        return damaged

    async def _load(self, user_id: str, first: int, last: int) -> dict[int, bytes | None]:
        texts: dict[int, bytes | None] = {}
        while first <= last:
            rows = await self._journal.load(user_id, first, last)
            if not rows:  # they have left the log meanwhile
                break
            texts.update((row.offset, row.text) for row in rows)
            first = rows[-1].offset + 1
        return texts

    def _note_damage(self, user_id: str, offsets: Sequence[int]) -> None:
        for offset in offsets:
            last = self._damaged[-1] if self._damaged else None
            if last is not None and (last[0], last[2] + 1) == (user_id, offset):
                self._damaged[-1] = user_id, last[1], offset
            else:
                self._damaged.append((user_id, offset, offset))


class LocalView:
    """The :class:`~actors.stores.store.View` of a log that may be in the journal alone."""

    __slots__ = ("_loader", "_progress", "_state", "_user_id")

    def __init__(self, user_id: str, state: StoreState, *, loader: LogLoader, progress: Progress) -> None:
        self._user_id = user_id
        self._state = state
        self._loader = loader
        self._progress = progress

    @property
    def bounds(self) -> Bounds:
        """The log's epoch, lineage, low and head."""
        return self._state.bounds(self._user_id)

    def read(self, first: int, most_bytes: int) -> Chunk:
        """Read events from an offset on; raises NotAtHand for those in the journal alone."""
        return self._state.log(self._user_id).read(first, most_bytes)

    async def fill(self, first: int) -> None:
        """Load events from an offset on."""
        await self._loader.fill(self._user_id, first)

    def confirm(self, epoch: str, acked: Spans, written: int) -> None:
        """Have the journal keep what devices acked; with the next commit, or within two seconds."""
        if epoch == self.bounds.epoch:
            self._progress.confirm(self._user_id, self._state.log(self._user_id), acked, written)

    def close(self) -> None:
        """Do nothing, because the store lets go of logs when it is told to forget."""

    def __repr__(self) -> str:
        return f"<LocalView of {self._user_id}>"
