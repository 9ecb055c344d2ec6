"""The stores of a simulation: one in memory, and one over a journal on a simulated disk."""

from __future__ import annotations

import trio

from actors.delivery.bounds import Bounds
from actors.stages import Promise
from actors.stores.local import LocalStore
from actors.stores.memory import MemoryStore
from actors.stores.store import A, Answer, Answered
from actors.testing.journal import Disk, SimJournal

_ROOM_ACTS = 6
"""Acts that a simulated store has room for: few, so that mailboxes fill up behind it."""


class FaultyMemoryStore(MemoryStore):
    """A memory store that may be made to lose the newest events of a log, as a failover of an engine may."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: SimJournal = SimJournal(Disk())
        """Not used, so that its faults have no effect."""

    def fork(self, user_id: str, offset: int) -> Bounds:
        """Lose a log's events beyond an offset, and go on in another epoch that continues it up to there."""
        return self.state.fork(user_id, offset)

    def bounds(self, user_id: str) -> Bounds:
        """Return a log's epoch, lineage, low and head."""
        return self.state.bounds(user_id)


class FaultyStore(LocalStore):
    """A local store over a journal of which each commit takes ``seconds``. Without a disk, it outlives nothing."""

    def __init__(self, seconds: float, disk: Disk | None = None) -> None:
        self.journal: SimJournal = SimJournal(Disk() if disk is None else disk, seconds)
        super().__init__(self.journal)
        self.promise: Promise = Promise.NOTHING if disk is None else self.journal.promise
        self._waiting = 0
        """Acts that are not answered."""
        self._answered = trio.Event()
        """Set, and made anew, with each answer."""

    def submit(self, act: A, answered: Answered[A]) -> None:
        """Take an act, if there is room."""
        if self._waiting >= _ROOM_ACTS:
            raise trio.WouldBlock

        def answer(act: A, answer: Answer) -> None:
            self._waiting -= 1
            self._answered.set()
            self._answered = trio.Event()
            answered(act, answer)

        self._waiting += 1
        try:
            super().submit(act, answer)
        except BaseException:
            self._waiting -= 1
            raise

    async def room(self) -> None:
        """Wait until there is room for an act; a checkpoint."""
        await super().room()
        while self._waiting >= _ROOM_ACTS:
            await self._answered.wait()

    def bounds(self, user_id: str) -> Bounds:
        """Return what is shown of a log: epoch, lineage, low and head."""
        return self.state.bounds(user_id)
