"""The events of one run on their way to its thread, in the order in which the run emitted them.

Text gathers in a buffer, and goes out before the run's next other event. Two
places in the thread's mailbox are reserved beyond its capacity, for emissions
that cannot wait: one for text, and one for an event that ends something.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import trio

from actors.errors import ActorsError, Dropped, RunEnded, StoreUnavailable
from actors.events.event import Lifecycle, Payload
from actors.kernel.affinity import check_trio
from actors.limits import Limits
from actors.receipts import Receipt
from actors.runs.deltas import DeltaCoalescer
from actors.runs.lead import Lead
from actors.runs.text_buffer import TextBuffer
from actors.stages import Stage
from actors.stores.store import Edge
from actors.threads.emitter import Emitter
from actors.threads.messages import Emission

T = TypeVar("T")

_EDGES: dict[str, Edge] = {
    Lifecycle.AGENT_STARTED: "opens",
    Lifecycle.AGENT_COMPLETED: "closes",
    Lifecycle.AGENT_FAILED: "closes",
    Lifecycle.AGENT_CANCELLED: "closes",
}
"""The events at the edges of a run, between which the store takes its others."""


class Output:
    """The way out for the events of one run, closed with the run.

    Invariant: no event overtakes text that was added before it.
    """

    def __init__(
        self,
        thread_id: str,
        run_id: str,
        *,
        emitter: Emitter,
        deltas: DeltaCoalescer,
        limits: Limits,
        lead: Lead | None = None,
    ) -> None:
        self.lead = lead
        """The bound of what devices have not acked; ``None`` for none."""
        self._thread_id = thread_id
        self._run_id = run_id
        self._emitter = emitter
        self._deltas = deltas
        self._has_window = bool(limits.delta_window_ms)
        # JSON writes a byte of text as six at most.
        self._buffer = TextBuffer(min(limits.delta_bytes, limits.event_bytes // 8))
        self._due = -1
        """The newest batch that has a window; each gets one."""
        self._closed = False
        self._outcome: Lifecycle | None = None
        self._waits: set[trio.CancelScope] = set()
        """Calls that wait for room, or for an answer; the end of the run ends them."""
        self.last_emitted: bool = False
        """True once the run's last event is on its way to the store, or there."""
        self._spare: Receipt | None = None
        """The newest text that took the one place in the mailbox that is reserved for text."""

    def __repr__(self) -> str:
        state = f"closed ({self._outcome})" if self._closed else f"{len(self._waits)} calls wait"
        return f"<Output of {self._run_id}: {state}, {self._buffer!r}>"

    @property
    def gathering(self) -> bool:
        """True if there is text that was not emitted yet."""
        return self._buffer.size > 0

    @property
    def batch(self) -> int:
        """The number of the batch that gathers; it changes when the batch is emitted, or dropped."""
        return self._buffer.batch

    def check_open(self) -> None:
        """Raise :class:`~actors.errors.RunEnded` after the run's end, ForeignThread or ForeignLoop elsewhere."""
        self._emitter.affinity.check()
        if self._closed:
            raise self._ended()

    def compose(
        self, type_: str, payload: Payload, event_id: str | None = None, traceparent: str | None = None
    ) -> Emission:
        """Encode an event of the run, without emitting it; raises as the emitter's ``compose`` does."""
        emission = self._emitter.compose(
            self._thread_id, type_, payload, self._run_id, event_id, traceparent=traceparent
        )
        emission.run_id, emission.edge = self._run_id, _EDGES.get(type_, "")
        return emission

    async def emit(self, type_: str, payload: Payload, event_id: str | None = None) -> Receipt:
        """Emit an event after the gathered text, waiting for room; raises RunEnded when the run ends meanwhile."""
        self.check_open()
        check_trio("emit")
        emission = self.compose(type_, payload, event_id)

        async def emit() -> Receipt:
            window = None if self.lead is None else await self.lead.room(self._thread_id)
            await self._flush_waiting()
            if window is not None:
                return await window.emit(emission, self._emitter.emit(emission))
            return await self._emitter.emit(emission)

        return await self.wait(emit)

    def emit_nowait(self, type_: str, payload: Payload, event_id: str | None = None) -> Receipt:
        """Emit an event after the gathered text, without waiting; raises :class:`trio.WouldBlock` without room."""
        self.check_open()
        window = None if self.lead is None else self.lead.room_nowait(self._thread_id)
        emission = self.compose(type_, payload, event_id)
        self._flush(reserved=False)
        receipt = self._emitter.emit_nowait(emission)
        if window is not None:
            window.note(receipt, len(emission.body))
        return receipt

    def emit_reserved(self, type_: str, payload: Payload) -> None:
        """Emit an event after the gathered text, in the place that is reserved for it."""
        self.check_open()
        emission = self.compose(type_, payload)
        self._flush(reserved=True)
        receipt = self._emitter.emit_nowait(emission, reserved=True)
        if self.lead is not None:
            self.lead.note(receipt, len(emission.body))

    def emit_last(self, emission: Emission) -> None:
        """Emit the run's last event after all its text, in the place that is reserved for it."""
        self._buffer.give_up_half()
        with suppress(StoreUnavailable):  # a store that refuses text takes the end of a run
            self._flush(reserved=True)
        self._emitter.emit_nowait(emission, reserved=True)
        self.last_emitted = True

    def add(self, text: str) -> None:
        """Add text to what gathers. Raises :class:`trio.WouldBlock`, and adds nothing, when there is no room."""
        self.check_open()
        buffer = self._buffer
        if not buffer.add(text):
            self._flush(reserved=False)
            buffer.add(text)
        if not self._has_window:
            self.flush()
        if buffer.size and buffer.batch != self._due:
            self._due = buffer.batch
            self._deltas.gather(self)

    def flush(self, *, ahead: bool = False) -> None:
        """Emit the gathered text if there is room; with ``ahead``, also beyond the bound of the run's lead."""
        with suppress(trio.WouldBlock, ActorsError):
            if self.lead is not None and not ahead:
                self.lead.room_nowait(self._thread_id)
            self._flush(reserved=False)

    async def flushed(self) -> None:
        """Wait until the gathered text has gone out. A checkpoint; raises RunEnded when the run has ended, or does."""
        self.check_open()
        check_trio("flushed")
        await trio.lowlevel.checkpoint()

        async def flush() -> None:
            if self.lead is not None and self.gathering:
                await self.lead.room(self._thread_id)
            await self._flush_waiting()

        await self.wait(flush)

    async def wait(self, act: Callable[[], Awaitable[T]]) -> T:
        """Await ``act``; raises RunEnded when the run ends meanwhile."""
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                return await act()
            finally:
                self._waits.discard(scope)
        raise self._ended()

    def close(self, outcome: Lifecycle | None) -> None:
        """End the output with its run: text is dropped, calls that wait raise RunEnded, and so does every later one."""
        self._closed = True
        self._outcome = outcome
        self._buffer.clear()
        for scope in self._waits:
            scope.cancel()

    def _ended(self) -> RunEnded:
        return RunEnded(f"run {self._run_id}: expected a run that is active, it has ended ({self._outcome})")

    async def _flush_waiting(self) -> None:
        """Emit the gathered text, in the place reserved for it if need be, or wait until that place is free.

        Cancelled, the text is neither lost nor doubled.
        """
        while self.gathering:
            with suppress(trio.WouldBlock):
                self._flush(reserved=False)
                return
            if self._spare is None or self._spare.seq is not None or self._spare.stage.final:
                self._spare = self._flush(reserved=True)
            else:
                with suppress(Dropped):
                    await self._spare.reached(Stage.BUFFERED)

    def _flush(self, *, reserved: bool) -> Receipt | None:
        if not self.gathering:
            return None
        emission = self.compose(Lifecycle.AGENT_DELTA, {"text": self._buffer.text})
        receipt = self._emitter.emit_nowait(emission, reserved=reserved)
        if self.lead is not None:
            self.lead.note(receipt, len(emission.body))
        self._buffer.clear()
        return receipt
