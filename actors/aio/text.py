"""The text of a run on its way from asyncio into the runtime's loop.

    delta ─ gathers, a turn of the host's loop or 5 ms ─▶ take ─ room ─▶ the run's own buffer
                                                            └ none: waits here, in order

A crossing costs ten times a token, so the tokens of one turn cross together,
and those that follow within 5 ms wait for each other.
What crossed waits for room over there, because a callback can neither wait nor
refuse. Events that the run emits afterwards wait behind it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from threading import get_ident

import trio

from actors.aio.bridge import Bridge
from actors.aio.line import Line
from actors.errors import ActorsError, ForeignThread, RuntimeClosed
from actors.limits import MIB, Limits
from actors.runs.run import Run
from actors.runs.text_buffer import TextBuffer

_MOST_BYTES = MIB
"""Text of one run on its way: a library's worth for a reader, a moment's for the memory."""


_PAUSE_SECONDS = 0.005
"""The time between two crossings of a run's text: a sixth of the window in which it gathers over there."""


class TextLane:
    """The way of one run's text; the first half of it is the host's, the second the runtime's."""

    def __init__(self, bridge: Bridge, run: Run, *, limits: Limits) -> None:
        self._bridge = bridge
        self._run = run
        # JSON writes a byte of text as six at most, and the run takes so much at once.
        self._buffer = TextBuffer(min(limits.delta_bytes, limits.event_bytes // 8))
        self._sent = 0
        """Bytes that the host has sent; written here alone."""
        self._taken = 0
        """Bytes of those that the run took; written over there alone."""
        self._turn: asyncio.Handle | None = None
        """The end of the time in which text gathers."""
        self._pause_seconds = min(_PAUSE_SECONDS, limits.delta_window_ms / 1000)
        self._next = 0.0
        """The time of the host's loop at which text may cross again."""
        self._error: ActorsError | None = None
        """The run's refusal of text that was sent. The next call hears of it."""
        self.line: Line = Line()
        """The run's text and calls that wait, over there, in their order."""

    def __repr__(self) -> str:
        return f"<TextLane of {self._run.run_id}: {self._buffer!r}, {self._sent - self._taken} B on their way>"

    # --- in the host's loop ---------------------------------------------------------

    def add(self, text: str) -> None:
        """Add text. Never waits; raises as ``Run.delta`` does."""
        if get_ident() != self._bridge.thread:
            instead = "loop.call_soon_threadsafe(run.delta, text)"
            raise ForeignThread(
                f"delta: expected a call in the thread of the host's loop, got one in another; {instead}"
            )
        self._check()
        buffer = self._buffer
        if self._sent - self._taken + buffer.size > _MOST_BYTES:
            raise trio.WouldBlock
        if not buffer.add(text):
            self.send()
            buffer.add(text)
        if self._turn is None and buffer.size:
            loop = self._bridge.loop
            now = loop.time()
            self._turn = (
                loop.call_later(self._next - now, self._cross) if now < self._next else loop.call_soon(self._cross)
            )

    def send(self) -> None:
        """Send the gathered text. Raises RuntimeClosed."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        buffer = self._buffer
        if buffer.size:
            text, size = buffer.text, buffer.size
            buffer.clear()
            self._sent += size
            self._next = self._bridge.loop.time() + self._pause_seconds
            self._bridge.soon(self._take, text, size)

    def end(self) -> None:
        """Send the last text; half of a character that is left becomes U+FFFD."""
        self._buffer.give_up_half()
        with suppress(RuntimeClosed):
            self.send()

    def _cross(self) -> None:
        self._turn = None
        with suppress(RuntimeClosed):
            self.send()

    # --- in the runtime's loop ------------------------------------------------------

    def _take(self, text: str, size: int) -> None:
        """Give the run its text, or have it wait behind what waits."""
        if self.line.empty:
            try:
                self._add(text, size)
            except trio.WouldBlock:
                pass
            else:
                return
        try:
            self._bridge.nursery.start_soon(self.line.join(partial(self._add_waiting, text, size)))
        except RuntimeClosed as error:
            self._error = error

    def _add(self, text: str, size: int) -> None:
        try:
            self._run.delta(text)
        except ActorsError as error:
            self._error = error
        self._taken += size

    async def _add_waiting(self, text: str, size: int) -> None:
        while True:
            try:
                self._add(text, size)
                return
            except trio.WouldBlock:
                try:
                    await self._run.output.flushed()
                except ActorsError as error:
                    self._error = error
                    self._taken += size
                    return

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)
