"""A store in memory: answers at once, forgets at the end of the process."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import trio

from actors.delivery.bounds import Bounds, Chunk, RestoredBounds, Spans
from actors.delivery.dead_letters import DeadLetter
from actors.delivery.history import Excerpt
from actors.environment import Environment
from actors.limits import Limits
from actors.stages import Promise
from actors.stores.clock import StoreClock
from actors.stores.state import REFUSALS, StoreState, not_the_owner
from actors.stores.store import (
    A,
    Answer,
    Answered,
    Append,
    DueRun,
    Expiry,
    RestoredHold,
    Shed,
    Trouble,
    View,
)

_SECRET_BYTES = 32


class MemoryView:
    """The :class:`~actors.stores.store.View` of a log in memory: all of it is at hand."""

    __slots__ = ("_state", "_user_id")

    def __init__(self, state: StoreState, user_id: str) -> None:
        self._state = state
        self._user_id = user_id

    @property
    def bounds(self) -> Bounds:
        """The log's epoch, lineage, low and head."""
        return self._state.bounds(self._user_id)

    def read(self, first: int, most_bytes: int) -> Chunk:
        """Read events from an offset on."""
        log = self._state.logs.get(self._user_id)
        return (self._state.log(self._user_id) if log is None else log).read(first, most_bytes)

    async def fill(self, first: int) -> None:
        """Do nothing, because everything is at hand; a checkpoint."""
        await trio.lowlevel.checkpoint()

    def confirm(self, epoch: str, acked: Spans, written: int) -> None:
        """Do nothing, because the books have it, and end with the store."""

    def close(self) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        return f"<MemoryView of {self._user_id}>"


class MemoryStore:
    """The :class:`~actors.stores.store.Store` of a runtime that needs none to outlive it."""

    promise = Promise.NOTHING
    trouble: Trouble | None = None

    def __init__(self) -> None:
        self.secret = b""
        self.state: StoreState
        """Everything that it has, for tests and for studying."""
        self._clock: StoreClock

    def __repr__(self) -> str:
        return f"<MemoryStore {self.state!r}>" if self.secret else "<MemoryStore, not open>"

    def open(self, limits: Limits, environment: Environment) -> None:
        """Begin; :meth:`run` calls it. Opened again, it keeps what it has."""
        if self.secret:
            return
        self.secret = environment.entropy(_SECRET_BYTES)
        self._clock = StoreClock(environment)
        self.state = StoreState(limits, wall_clock=environment.wall_clock, new_epoch=lambda: environment.new_id("ep"))

    async def run(
        self,
        limits: Limits,
        environment: Environment,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep the store until cancelled."""
        self.open(limits, environment)
        task_status.started()
        await trio.sleep_forever()

    # --- acts -------------------------------------------------------------------

    def submit(self, act: A, answered: Answered[A]) -> None:
        """Take an act, and answer it at once."""
        answer: Answer
        try:
            if isinstance(act, Append):
                answer = self.state.append(act, self._clock.at(act.at))
            else:
                answer = self.state.bind(act, self._clock.now())
        except REFUSALS as refusal:
            answer = refusal.with_traceback(None)
        answered(act, answer)

    async def room(self) -> None:
        """Return, because there always is room; a checkpoint."""
        await trio.lowlevel.checkpoint()

    async def settled(self) -> None:
        """Return, because every act was answered at once; a checkpoint."""
        await trio.lowlevel.checkpoint()

    def ack_binding(self, thread_id: str, generation: str) -> None:
        """Discard the reply to the bind that made this generation."""
        self.state.ack_binding(thread_id, generation)

    # --- reading ----------------------------------------------------------------

    def known_owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, or ``None``."""
        return self.state.owner(thread_id)

    def known_bounds(self, user_id: str) -> Bounds | None:
        """Return epoch, lineage, low and head of a log."""
        return self.state.bounds(user_id)

    async def owner(self, thread_id: str) -> str | None:
        """Return the owner of a thread, or ``None``; a checkpoint."""
        await trio.lowlevel.checkpoint()
        return self.state.owner(thread_id)

    async def history(
        self, thread_id: str, user_id: str | None, after_seq: int, most_events: int, most_bytes: int
    ) -> Excerpt:
        """Read a thread's events in its owner's log; a checkpoint."""
        await trio.lowlevel.checkpoint()
        if user_id is not None and (owner := self.state.owner(thread_id)) != user_id:
            raise not_the_owner(thread_id, user_id, owner)
        return self.state.history(thread_id, after_seq, most_events, most_bytes)

    async def follow(self, user_id: str) -> View:
        """Follow a user's log; a checkpoint."""
        await trio.lowlevel.checkpoint()
        return MemoryView(self.state, user_id)

    # --- age, and what an earlier life left ----------------------------------------

    def shed(self) -> Sequence[Shed]:
        """Return the drops of held events since the last call."""
        return self.state.holds.report()

    def expire(self) -> Expiry:
        """Drop what became too old."""
        return Expiry(*self.state.expire(self._clock.now()))

    def forget(self, user_id: str) -> bool:
        """Forget an empty log, but for its end."""
        return self.state.forget(user_id)

    def keep(self, letter: DeadLetter) -> None:
        """Do nothing, because the books have it, and nothing outlives them."""

    def restored_users(self) -> Collection[str]:
        """Return none, because there was no earlier life."""
        return ()

    def restored(self, user_id: str) -> RestoredBounds | None:
        """Return nothing, because there was no earlier life."""
        return None

    def restored_holds(self) -> Sequence[RestoredHold]:
        """Return nothing, because there was no earlier life."""
        return ()

    def due(self) -> Sequence[DueRun]:
        """Return nothing, because there was no earlier life."""
        return ()
