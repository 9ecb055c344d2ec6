"""What became of an event: receipts, the states they read it from, and fates.

A :class:`Receipt` has no state of its own beyond *where its event is*: a
:class:`EventState` and a number in it. The state is shared by many events (an
unbound thread's hold, 64 offsets of a user's log), and the stage is read from
it at the moment of asking. A receipt therefore costs nothing to keep true, and
cannot contradict the runtime's accounts: it is computed from them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import Protocol

import attrs
import msgspec
import trio

from actors.errors import Dropped, StoreUnavailable, Unconfirmed
from actors.kernel.affinity import check_trio
from actors.kernel.failures import Barrier, complain
from actors.stages import Cause, Stage


class EventState(Protocol):
    """Where events are, many at once; each is known in it by a number."""

    def stage(self, number: int) -> Stage:
        """How far the event with this number has come."""
        ...

    def cause(self, number: int) -> Cause | None:
        """Why the event with this number was dropped, if it was."""
        ...

    def position(self, number: int) -> Position | None:
        """Where the event with this number stands in its owner's log, once it does."""
        ...

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Call back after the next changes here; returns what ends the watch."""
        ...

    def notify(self) -> None:
        """Call everybody who watches."""


@attrs.frozen
class Position:
    """An event's standing in a log: placed once, for ever."""

    user_id: str
    epoch: str
    offset: int


def _ringer(bell: trio.Event) -> Callable[[], object]:
    """What rings a bell for a task that waits here, whichever thread the change comes in."""
    thread, token = get_ident(), trio.lowlevel.current_trio_token()

    def ring() -> None:
        if get_ident() == thread:
            bell.set()
        else:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(bell.set)

    return ring


def _complain(error: BaseException) -> None:
    complain("a callback of Receipt.watch", error)


class Watchers:
    """Callbacks owed to whoever waits for a state to change; none, most of the time."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: set[Callable[[], object]] | None = None

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Add a callback; the returned function takes it away again, and may be called twice."""
        if self._callbacks is None:
            self._callbacks = set()
        callbacks = self._callbacks
        callbacks.add(callback)
        return lambda: callbacks.discard(callback)

    def notify(self) -> None:
        """Call everybody who watches."""
        if self._callbacks:
            for callback in tuple(self._callbacks):
                with Barrier(_complain):
                    callback()


class Queued(Watchers):
    """The state of one event that waits in a mailbox."""

    __slots__ = ()

    def stage(self, number: int) -> Stage:
        """It is in the runtime's hands, and no more than that is known."""
        return Stage.ACCEPTED

    def cause(self, number: int) -> Cause | None:
        """It is not dropped."""
        return None

    def position(self, number: int) -> Position | None:
        """It has none yet."""
        return None


QUEUED = Queued()
"""The state of every event that is still in its emitter's own call: nobody can watch it yet."""


class Doubtful(Queued):
    """The state of events that the store may have taken or not, and about which nobody asks it any more."""

    __slots__ = ()

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Nothing changes here any more."""
        return lambda: None


DOUBTFUL = Doubtful()


class Lost:
    """The state of events that were dropped for one cause before they had any other."""

    __slots__ = ("_cause",)

    def __init__(self, cause: Cause) -> None:
        self._cause = cause

    def stage(self, number: int) -> Stage:
        """Dropped, for ever."""
        return Stage.DROPPED

    def cause(self, number: int) -> Cause | None:
        """The one cause."""
        return self._cause

    def position(self, number: int) -> Position | None:
        """It never had one."""
        return None

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Nothing changes here any more."""
        return lambda: None

    def notify(self) -> None:
        """Nobody watches."""


class Receipt(msgspec.Struct, gc=False, eq=False):
    """What ``emit`` returns: the truth about one event, now and later.

    ``event_id``, ``thread_id`` and ``accepted_at`` (wall clock, seconds since
    the epoch, for display) are fixed, and so is ``seq``, the event's number in
    its thread, once the store took it. Everything else is read from the
    runtime's accounts at the moment of asking.
    """

    # Out of the cyclic collector's sight: the runtime remembers 100,000 of
    # these, and nothing that a receipt refers to refers back to it.
    event_id: str
    thread_id: str
    accepted_at: float
    state: EventState
    """Where the event is, and ``number`` its number there: the runtime's, for it to change."""
    seq: int | None = None
    number: int = 0

    def move(self, state: EventState, number: int) -> None:
        """Record where the event is from now on (called by the runtime, not by its users)."""
        before, self.state, self.number = self.state, state, number
        if before is not QUEUED:
            before.notify()

    def follow(self, first: Receipt) -> None:
        """Stand where the first receipt of the same event stands (called by the runtime)."""
        self.seq = first.seq
        self.move(first.state, first.number)

    @property
    def stage(self) -> Stage:
        """How far the event has come. It never goes back."""
        return self.state.stage(self.number)

    @property
    def cause(self) -> Cause | None:
        """Why the event was dropped, or went unconfirmed, if it did."""
        return self.state.cause(self.number)

    @property
    def position(self) -> Position | None:
        """User, epoch and offset, once the event is in its owner's log."""
        return self.state.position(self.number)

    @property
    def offset(self) -> int | None:
        """Its number in its owner's log, once it is there."""
        position = self.state.position(self.number)
        return None if position is None else position.offset

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Call back when the stage may have advanced; returns what ends the watch.

        A callback runs inside the runtime's own step: it must not block, and
        what it raises is said in the log. The state of an event changes during its life, so whoever
        watches for long renews the watch after each call.
        """
        return self.state.watch(callback)

    async def reached(self, stage: Stage) -> None:
        """Wait until the event has been through ``stage``.

        Raises :class:`~actors.errors.Dropped` (or its kind
        :class:`~actors.errors.Unconfirmed`) as soon as that can no longer
        happen, and :class:`~actors.errors.StoreUnavailable` as soon as it can
        no longer be known. A checkpoint; cancelling it changes nothing about the event.
        Any Trio task may wait, also one of another run of Trio's in another thread.
        """
        check_trio("reached", "ask receipt.stage, or wait in a task of Trio's")
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._settled(stage):
            bell = trio.Event()
            unwatch = self.watch(_ringer(bell))
            try:
                await bell.wait()
            finally:
                unwatch()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _settled(self, awaited: Stage) -> bool:
        if self.state is DOUBTFUL and awaited is not Stage.ACCEPTED:
            text = f"event {self.event_id}: expected the store to say whether it took it, and nobody asks any more"
            raise StoreUnavailable(text)
        stage = self.stage
        if stage.covers(awaited) or (awaited is Stage.STORED and self.position is not None):
            return True
        if not stage.final:
            return False
        cause = self.cause
        if cause is None:
            raise ValueError(f"event {self.event_id} was acked and will not be {awaited.name}")
        if stage is Stage.UNCONFIRMED:
            text = f"event {self.event_id} was written, and left ({cause}) before a device confirmed it"
            raise Unconfirmed(text, cause)
        raise Dropped(f"event {self.event_id} was dropped ({cause}) and will not be {awaited.name}", cause)

    def __repr__(self) -> str:
        where = "" if self.seq is None else f" seq={self.seq}"
        offset = self.offset
        where += "" if offset is None else f" offset={offset}"
        return f"<Receipt {self.event_id} thread={self.thread_id}{where} {self.stage.name}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Receipt):
            return NotImplemented
        return (self.thread_id, self.event_id) == (other.thread_id, other.event_id)

    def __hash__(self) -> int:
        return hash((self.thread_id, self.event_id))


@attrs.frozen
class Fate:
    """An answer to "where is this event, and why": :meth:`Runtime.explain` returns it.

    ``str(fate)`` reads as a sentence. ``receipt`` is ``None`` when the event
    is beyond the runtime's bounded memory, or was never here, or when the id
    alone does not say which of several events is meant.
    """

    event_id: str
    receipt: Receipt | None
    steps: tuple[str, ...]
    threads: tuple[str, ...] = ()
    """The threads that have an event of this id, where there are several and none was named."""

    @property
    def known(self) -> bool:
        """Whether the runtime still remembers the event."""
        return self.receipt is not None

    def __str__(self) -> str:
        return " → ".join(self.steps)
