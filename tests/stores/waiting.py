"""A store that has to be waited for, as one with a disk or a network has: for what runs above it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from actors.environment import Environment
from actors.limits import Limits
from actors.stores.memory import MemoryStore
from actors.stores.store import Append, Binding, Placement


class WaitingStore(MemoryStore):
    """Takes ``delay_seconds`` for each call, and first does what ``interfere`` does."""

    def __init__(self, limits: Limits, environment: Environment, delay_seconds: float = 0.01) -> None:
        super().__init__(limits, environment)
        self.batches: list[int] = []
        self.interfere: Callable[[], None] = lambda: None
        """Called before an answer; may raise in its place."""
        self.lose_answer: Callable[[], None] = lambda: None
        """Called after events were taken; may raise in place of the answer."""
        self._delay_seconds = delay_seconds

    def append_nowait(self, append: Append, now: float) -> Placement:
        raise trio.WouldBlock

    async def append(self, appends: Sequence[Append], now: float) -> Sequence[Placement | Exception]:
        await trio.sleep(self._delay_seconds)
        self.interfere()
        self.batches.append(len(appends))
        answers = [self._answer(append, now) for append in appends]
        self.lose_answer()
        return answers

    def bind_nowait(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        raise trio.WouldBlock

    async def bind(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        await trio.sleep(self._delay_seconds)
        return super().bind_nowait(thread_id, user_id, now, take=take)

    def _answer(self, append: Append, now: float) -> Placement | Exception:
        try:
            return super().append_nowait(append, now)
        except Exception as refusal:  # noqa: BLE001 - the contract: each append has an answer of its own
            return refusal
