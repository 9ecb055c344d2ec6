"""Receipts and fates: the answers to "where is this event?".

A :class:`Receipt` has no state of its own beyond *where its event is*: an
:class:`~actors.events.states.EventState` and a number in it. Many events share
a state (an unbound thread's hold, 64 offsets of a user's log), and the receipt
reads its stage when it is asked. A receipt therefore costs nothing to keep
true, and cannot contradict the runtime's accounts, because it is computed from
them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import get_ident

import attrs
import msgspec
import trio

from actors.errors import Dropped, StoreUnavailable, Unconfirmed
from actors.events.delivered import Position
from actors.events.states import DOUBTFUL, QUEUED, EventState
from actors.kernel.affinity import check_trio
from actors.stages import Cause, Promise, Stage


def _ringer(bell: trio.Event) -> Callable[[], object]:
    """Make a callback that rings a bell for a task of this thread, in whichever thread the change comes."""
    thread, token = get_ident(), trio.lowlevel.current_trio_token()

    def ring() -> None:
        if get_ident() == thread:
            bell.set()
        else:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(bell.set)

    return ring


class Receipt(msgspec.Struct, gc=False, eq=False):
    """The answer to ``emit``: the truth about one event, now and later.

    ``event_id``, ``thread_id`` and ``accepted_at`` (wall clock, seconds since
    the epoch, for display) are fixed, and so is ``seq``, the event's number in
    its thread, once the store took it. A receipt reads everything else from
    the runtime's accounts, when it is asked.
    """

    # Hidden from the cyclic collector, because the runtime remembers 100,000 of
    # these, and nothing that a receipt refers to refers back to it.
    event_id: str
    thread_id: str
    accepted_at: float
    state: EventState
    """The state that has the event, under ``number``. Only the runtime changes the two."""
    seq: int | None = None
    number: int = 0

    def move(self, state: EventState, number: int) -> None:
        """Read from another state from now on (called by the runtime, not by applications)."""
        before, self.state, self.number = self.state, state, number
        if before is not QUEUED:
            before.notify()

    def follow(self, first: Receipt) -> None:
        """Read from where the first receipt of the same event reads (called by the runtime)."""
        self.seq = first.seq
        self.move(first.state, first.number)

    @property
    def stage(self) -> Stage:
        """The event's stage. It never goes back."""
        return self.state.stage(self.number)

    @property
    def cause(self) -> Cause | None:
        """The cause for which the event was dropped, or went unconfirmed, if it did."""
        return self.state.cause(self.number)

    @property
    def promise(self) -> Promise:
        """The worst that the event survives where it is: NOTHING, the end of the PROCESS, or a loss of POWER."""
        return self.state.promise(self.number)

    @property
    def position(self) -> Position | None:
        """User, epoch and offset, once the event is in its owner's log."""
        return self.state.position(self.number)

    @property
    def offset(self) -> int | None:
        """The event's number in its owner's log, once it is there."""
        position = self.state.position(self.number)
        return None if position is None else position.offset

    def watch(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Call back when the stage may have advanced; returns the function that ends the watch.

        A callback runs inside the runtime's own step: it must not block, and
        the runtime logs what it raises. An event moves from state to state, so
        a caller that watches for long renews the watch after each call.
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
        settled = self._settled(stage)
        if settled:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while not settled:
            bell = trio.Event()
            unwatch = self.watch(_ringer(bell))
            try:
                await bell.wait()
            finally:
                unwatch()
            settled = self._settled(stage)

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


@attrs.frozen(kw_only=True)
class Fate:
    """The answer of :meth:`Runtime.explain` to "where is this event, and why?".

    ``str(fate)`` reads as a sentence. ``receipt`` is ``None`` when the
    runtime's bounded memory has lost the event or never had it, or when the
    id alone does not say which of several events is meant.
    """

    event_id: str
    receipt: Receipt | None
    steps: tuple[str, ...]
    threads: tuple[str, ...] = ()
    """The threads that have an event of this id, where there are several and none was named."""

    @property
    def promise(self) -> Promise:
        """The worst that the event survives where it is; NOTHING of one that is not known."""
        return Promise.NOTHING if self.receipt is None else self.receipt.promise

    @property
    def known(self) -> bool:
        """True if the runtime still remembers the event."""
        return self.receipt is not None

    def __str__(self) -> str:
        return " → ".join(self.steps)
