"""Stores that take events, or commit them, when the test lets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from actors.stages import Promise
from actors.stores.journal import Effect, Held, Placed
from actors.stores.local import LocalStore
from actors.stores.memory import MemoryStore
from actors.stores.store import Act, Answered, Append
from actors.testing.journal import Disk
from tests.stores.waiting import WaitingJournal

_PATIENCE_SECONDS = 60.0
"""A commit is shielded: a test that failed before it released its store would hang."""


class HeldJournal(WaitingJournal):
    """Commits no event until it is ``released``."""

    def __init__(self) -> None:
        super().__init__(Disk(), 0.0)
        self.asked = trio.Event()
        """Set once there is an event to commit."""
        self.released = trio.Event()

    async def commit(self, number: int, effects: Sequence[Effect]) -> None:
        if any(isinstance(effect, Placed | Held) for effect in effects):
            self.asked.set()
            with trio.move_on_after(_PATIENCE_SECONDS):
                await self.released.wait()
        await super().commit(number, effects)


class HeldStore(LocalStore):
    """A store that takes events at once, and answers for them once its journal is released."""

    def __init__(self) -> None:
        self.journal = HeldJournal()
        super().__init__(self.journal)
        self.promise = Promise.NOTHING


class FullStore(MemoryStore):
    """A store in memory that has no room for events until its ``gate`` is open; changes of owner find some."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        if isinstance(act, Append) and not self.gate.is_set():
            raise trio.WouldBlock
        super().submit(act, answered)

    async def room(self) -> None:
        await self.gate.wait()


class OneByOneStore(MemoryStore):
    """A store in memory that has room for one event at a time, and answers when it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: tuple[Append, Answered[Any]] | None = None
        self.vacated = trio.Event()

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        if not isinstance(act, Append):
            super().submit(act, answered)
        elif self.taken is not None:
            raise trio.WouldBlock
        else:
            self.taken = act, answered

    def answer(self) -> None:
        """Answer for the event that was taken, whose place stays occupied until it is ``vacated``."""
        assert self.taken is not None
        super().submit(*self.taken)

    def vacate(self) -> None:
        """Have room for another event."""
        self.taken = None
        self.vacated.set()
        self.vacated = trio.Event()

    async def room(self) -> None:
        await self.vacated.wait()
