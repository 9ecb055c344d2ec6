"""A store with faults: one that must be waited for, stalls, and loses calls or their answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import trio

from actors.environment import Environment
from actors.errors import StoreUnavailable
from actors.limits import Limits
from actors.stores.memory import MemoryStore
from actors.stores.store import Append, Binding, Placement

T = TypeVar("T")

Fault = Literal["lost", "unanswered", "broken"]
"""Faults of a call: never carried out; carried out, and the answer lost; failed outside of the contract."""


class Broken(Exception):
    """A store's own bug: none of the errors that its contract knows."""


class FaultyStore(MemoryStore):
    """A memory store behind a wire of its own. Each call takes ``seconds``, once a stall is over."""

    def __init__(self, limits: Limits, environment: Environment, *, seconds: float | None) -> None:
        super().__init__(limits, environment)
        self.stalled_until = 0.0
        self.faults: deque[Fault] = deque()
        """The faults of the next calls."""
        self.calls = 0
        self.fail_call = 0
        """The one call to fail, counted from 1, as ``fail_with`` says."""
        self.fail_with: Fault = "lost"
        self.failed: list[Fault] = []
        self._seconds = seconds

    def append_nowait(self, append: Append, now: float) -> Placement:
        """Append as a memory store does, or never at once."""
        if self._seconds is not None:
            raise trio.WouldBlock
        return super().append_nowait(append, now)

    async def append(self, appends: Sequence[Append], now: float) -> Sequence[Placement | Exception]:
        """Take events, after a while, if nothing happens to the call."""
        return await self._call(lambda: [self._answer(append, now) for append in appends])

    def bind_nowait(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        """Bind as a memory store does, or never at once."""
        if self._seconds is not None:
            raise trio.WouldBlock
        return super().bind_nowait(thread_id, user_id, now, take=take)

    async def bind(self, thread_id: str, user_id: str | None, now: float, *, take: bool) -> Binding:
        """Change an owner, after a while, if nothing happens to the call."""
        bind = super().bind_nowait
        return await self._call(lambda: bind(thread_id, user_id, now, take=take))

    def heal(self) -> None:
        """End all faults of calls."""
        self.stalled_until = 0.0
        self.faults.clear()

    def _answer(self, append: Append, now: float) -> Placement | Exception:
        try:
            return super().append_nowait(append, now)
        except Exception as refusal:  # noqa: BLE001 - the contract: each append has an answer of its own
            return refusal

    async def _call(self, act: Callable[[], T]) -> T:
        """Carry out one call, with the fault that it has."""
        await trio.sleep(self._seconds or 0.0)
        while self.stalled_until > trio.current_time():  # noqa: ASYNC110 - the end may be moved
            await trio.sleep_until(min(self.stalled_until, trio.current_time() + 0.25))
        fault = self._next_fault()
        if fault == "lost":
            raise StoreUnavailable("the call was lost")
        if fault == "broken":
            raise Broken("the store broke")
        answer = act()
        if fault == "unanswered":
            raise StoreUnavailable("the answer was lost")
        return answer

    def _next_fault(self) -> Fault | None:
        self.calls += 1
        fault = self.faults.popleft() if self.faults else None
        if self.calls == self.fail_call:
            fault = self.fail_with
        if fault is not None:
            self.failed.append(fault)
        return fault
