"""A store that has to be waited for, as one with a disk has: for what runs above it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.stages import Promise
from actors.stores.journal import Effect, Placed
from actors.stores.local import LocalStore
from actors.testing.journal import Disk, SimJournal


class WaitingJournal(SimJournal):
    """Takes ``delay_seconds`` for each commit, and does what ``interfere`` does before it."""

    def __init__(self, disk: Disk, delay_seconds: float) -> None:
        super().__init__(disk, delay_seconds)
        self.batches: list[int] = []
        """The numbers of events in each commit."""
        self.interfere: Callable[[], None] = lambda: None

    async def commit(self, number: int, effects: Sequence[Effect]) -> None:
        await super().commit(number, effects)
        self.interfere()
        self.batches.append(sum(isinstance(effect, Placed) for effect in effects))


class WaitingStore(LocalStore):
    """Answers after a commit, which takes a while; its disk ends with it."""

    def __init__(self, delay_seconds: float = 0.01) -> None:
        self.journal = WaitingJournal(Disk(), delay_seconds)
        super().__init__(self.journal)
        self.promise = Promise.NOTHING
