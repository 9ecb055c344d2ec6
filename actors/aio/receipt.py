"""Receipts and fates for asyncio: what was true of an event when it was last looked at, in the runtime's own thread."""

from __future__ import annotations

import attrs

import actors.receipts
from actors.aio.bridge import Bridge
from actors.errors import RuntimeClosed
from actors.events.delivered import Position
from actors.stages import Cause, Promise, Stage


@attrs.frozen(kw_only=True)
class Seen:
    """All that a receipt said at one moment."""

    seq: int | None
    stage: Stage
    cause: Cause | None
    promise: Promise
    position: Position | None


def look(receipt: actors.receipts.Receipt) -> Seen:
    """Read a receipt, in the runtime's thread, because its fields change there, one after the other."""
    return Seen(
        seq=receipt.seq,
        stage=receipt.stage,
        cause=receipt.cause,
        promise=receipt.promise,
        position=receipt.position,
    )


class Receipt:
    """The answer to ``emit``, as it was when it was last looked at: by ``emit``, :meth:`refresh` or :meth:`reached`."""

    __slots__ = ("_bridge", "_seen", "accepted_at", "event_id", "inner", "thread_id")

    def __init__(self, bridge: Bridge, inner: actors.receipts.Receipt) -> None:
        """Take a receipt, and look at it; to be called in the runtime's thread."""
        self._bridge = bridge
        self.inner: actors.receipts.Receipt = inner
        """The receipt over there."""
        self.event_id: str = inner.event_id
        self.thread_id: str = inner.thread_id
        self.accepted_at: float = inner.accepted_at
        """Wall clock, seconds since 1970, for display."""
        self._seen = look(inner)

    @property
    def seq(self) -> int | None:
        """The event's number in its thread, once the store took it."""
        return self._seen.seq

    @property
    def stage(self) -> Stage:
        """The event's stage. It never goes back."""
        return self._seen.stage

    @property
    def cause(self) -> Cause | None:
        """The cause for which the event was dropped, or went unconfirmed, if it did."""
        return self._seen.cause

    @property
    def promise(self) -> Promise:
        """The worst that the event survives where it is."""
        return self._seen.promise

    @property
    def position(self) -> Position | None:
        """User, epoch and offset, once the event is in its owner's log."""
        return self._seen.position

    @property
    def offset(self) -> int | None:
        """The event's number in its owner's log, once it is there."""
        position = self._seen.position
        return None if position is None else position.offset

    async def refresh(self) -> Stage:
        """Look again, and return the stage; after the runtime's end, too."""
        if self._bridge.over:
            self._look()
        else:
            await self._bridge.ask(self._look)
        return self.stage

    async def reached(self, stage: Stage) -> None:
        """Wait until the event has been through a stage.

        Raises :class:`~actors.errors.Dropped`, or its kind
        :class:`~actors.errors.Unconfirmed`, as soon as that can no longer
        happen, :class:`~actors.errors.StoreUnavailable` as soon as it can no
        longer be known, and :class:`~actors.errors.RuntimeClosed` when the
        runtime ends before. Cancelling it changes nothing about the event.
        """
        if self.stage.covers(stage):
            return
        try:
            await self._bridge.call(self._reached, stage)
        except RuntimeClosed:
            if self._bridge.over:
                self._look()
            if not self.stage.covers(stage):
                raise

    def __repr__(self) -> str:
        where = "" if self.seq is None else f" seq={self.seq}"
        where += "" if self.offset is None else f" offset={self.offset}"
        return f"<Receipt {self.event_id} thread={self.thread_id}{where} {self.stage.name}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Receipt):
            return NotImplemented
        return (self.thread_id, self.event_id) == (other.thread_id, other.event_id)

    def __hash__(self) -> int:
        return hash((self.thread_id, self.event_id))

    def _look(self) -> None:
        # One assignment, so that the other thread reads all of it or nothing.
        self._seen = look(self.inner)

    async def _reached(self, stage: Stage) -> None:
        try:
            await self.inner.reached(stage)
        finally:
            self._look()


@attrs.frozen(kw_only=True)
class Fate:
    """The answer of ``explain`` to "where is this event, and why?"; ``str(fate)`` reads as a sentence."""

    event_id: str
    receipt: Receipt | None
    """None when the runtime's bounded memory has lost the event, or never had it, or does not know which is meant."""
    steps: tuple[str, ...]
    threads: tuple[str, ...]
    """The threads that have an event of this id, where there are several and none was named."""

    @property
    def known(self) -> bool:
        """True if the runtime still remembers the event."""
        return self.receipt is not None

    @property
    def promise(self) -> Promise:
        """The worst that the event survives where it is; NOTHING of one that is not known."""
        return Promise.NOTHING if self.receipt is None else self.receipt.promise

    def __str__(self) -> str:
        return " → ".join(self.steps)


def fate_from(bridge: Bridge, fate: actors.receipts.Fate) -> Fate:
    """Translate a fate, in the runtime's thread."""
    return Fate(
        event_id=fate.event_id,
        receipt=None if fate.receipt is None else Receipt(bridge, fate.receipt),
        steps=fate.steps,
        threads=fate.threads,
    )
