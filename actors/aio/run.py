"""A run, from asyncio: what an agent emits crosses into the runtime's thread in the order in which it was emitted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import msgspec
import trio

import actors.runs.run
from actors.aio.block import Block
from actors.aio.bridge import Bridge, trace_of
from actors.aio.frozen import frozen, frozen_value
from actors.aio.receipt import Receipt
from actors.aio.text import TextLane
from actors.errors import ActorsError, RuntimeClosed
from actors.events.event import Lifecycle, Payload, check_identifier, check_object, check_text
from actors.limits import Limits
from actors.runs.asks import Answer
from actors.runs.run import Message, Tool

T = TypeVar("T")


class Cancelled(Exception):
    """The error of a tool that was cancelled, as events name it."""


class Run:
    """One run of an agent; ``on_message`` gets one, ``Thread.run`` and :meth:`run` open one.

    Its methods are for tasks of the host's loop, and raise
    :class:`~actors.errors.RunEnded` once the run has ended.
    """

    def __init__(self, bridge: Bridge, inner: actors.runs.run.Run, *, limits: Limits) -> None:
        self.inner = inner
        """The run over there, for code over there."""
        self.thread_id: str = inner.thread_id
        self.run_id: str = inner.run_id
        self.agent_name: str = inner.agent_name
        self.message: Message | None = inner.message
        """The message that this run answers, if one started it."""
        self.result: Any = None
        """The result, which goes into ``agent_completed``: a JSON value."""
        self._bridge = bridge
        self._limits = limits
        self._text = TextLane(bridge, inner, limits=limits)

    def __repr__(self) -> str:
        return f"<aio.Run {self.run_id} of {self.agent_name} in {self.thread_id}>"

    # --- an agent's output ----------------------------------------------------

    async def emit(self, type: str, payload: Payload, *, event_id: str | None = None) -> Receipt:  # noqa: A002
        """Emit an event of this run, after the text so far; waits for room.

        Raises as ``actors.Run.emit`` does. Cancelled, the event may be on its
        way already: emit again under an ``event_id`` to know it.
        """
        ready = frozen(type, payload, self._limits)

        def now() -> Receipt:
            return Receipt(self._bridge, self.inner.emit_nowait(type, ready, event_id=event_id))

        async def later() -> Receipt:
            return Receipt(self._bridge, await self.inner.emit(type, ready, event_id=event_id))

        self._text.send()
        return await self._bridge.attempt(now, later, self._text.line)

    async def thinking(self, text: str) -> Receipt:
        """Emit ``agent_thinking``; waits and raises as :meth:`emit` does."""
        check_text("text", text)
        return await self.emit(Lifecycle.AGENT_THINKING, {"text": text})

    def delta(self, text: str) -> None:
        """Add text to the answer. Never waits.

        Texts of one turn of the loop cross together, and gather over there as
        those of ``actors.Run.delta`` do. Raises
        :class:`~actors.errors.Unencodable` for what is not text or too much of
        it at once, :class:`~actors.errors.RunEnded` and
        :class:`~actors.errors.RuntimeClosed` once that is known here,
        :class:`~actors.errors.ForeignThread` in another thread, and
        :class:`trio.WouldBlock` while a mebibyte waits for room: then
        ``await run.flushed()`` first.
        """
        self._text.add(text)

    async def flushed(self) -> None:
        """Wait until all text so far has gone out to the thread: the back-pressure of :meth:`delta`."""
        await self._wait(self.inner.output.flushed)

    async def ask(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        timeout: float,  # noqa: ASYNC109 - it is sent to the devices, and is not only the time to give up
    ) -> Answer:
        """Ask the thread's owner, and wait for the first answer of a device.

        Raises :class:`~actors.errors.Unanswered`, with the reason, when there
        is none within ``timeout`` seconds. Cancelled, the question is withdrawn.
        """
        ready = frozen(type, payload, self._limits)
        return await self._wait(lambda: self.inner.ask(type, ready, timeout=timeout), passing=True)

    # --- tools ------------------------------------------------------------------

    @asynccontextmanager
    async def tool(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, call_id: str | None = None
    ) -> AsyncIterator[Tool]:
        """Call a tool in the block: ``tool_executing`` before it, ``tool_completed`` after it.

        When the block raises, ``tool_completed`` says ``ok`` false with the
        error, and the exception goes on. ``tool.result`` is a JSON value.
        ``call_id`` is the framework's own id of the call, new in the run.
        """
        tool = await self.tool_started(name, arguments, call_id=call_id)
        try:
            with tool.span.current():
                yield tool
            await self.tool_completed(tool.call_id, tool.result)
        except BaseException as error:
            with suppress(ActorsError):
                self._complete_soon(tool.call_id, error)
            raise

    async def tool_started(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, call_id: str | None = None
    ) -> Tool:
        """Emit ``tool_executing``; :meth:`tool_completed` ends the call, or the end of the run does.

        Waits and raises as :meth:`emit` does, and raises
        :class:`~actors.errors.IdempotencyConflict` for a ``call_id`` that the
        run has had before.
        """
        check_text("name", name)
        if call_id is not None:
            check_identifier("call_id", call_id)
        if arguments is not None:
            check_object("arguments", arguments)
        ready = frozen_value("arguments", {} if arguments is None else arguments, self._limits)
        return await self._wait(
            # Raw JSON, which is an object, is as good as the mapping that it was.
            lambda: self.inner.tool_started(name, ready, call_id=call_id),  # type: ignore[arg-type]
        )

    async def tool_completed(
        self, call_id: str, result: Any = None, *, error: BaseException | str | None = None
    ) -> None:
        """Emit ``tool_completed`` for a call that was started; never waits for room. Raises as over there."""
        ready = frozen_value("result", result, self._limits)

        def now() -> None:
            self.inner.tool_completed(call_id, ready, error=error)

        async def later() -> None:
            now()

        self._text.send()
        await self._bridge.attempt(now, later, self._text.line)

    def _complete_soon(self, call_id: str, error: BaseException) -> None:
        """Complete a call with an error, in order, and without waiting, because its block may be cancelled."""
        self._text.send()
        told = Cancelled("cancelled") if isinstance(error, asyncio.CancelledError) else error

        def complete() -> None:
            with suppress(ActorsError):  # it is completed, or the run has ended
                self.inner.tool_completed(call_id, error=told)

        self._bridge.soon(complete)

    # --- runs within it -----------------------------------------------------------

    @asynccontextmanager
    async def run(
        self, agent_name: str, *, run_id: str | None = None, traceparent: str | None = None
    ) -> AsyncIterator[Run]:
        """Open a child run in the block. A cancel of this run reaches it, and its exception comes out here."""
        self._text.send()
        trace = trace_of(self._bridge, traceparent)
        manager = partial(self.inner.run, agent_name, run_id=run_id, traceparent=trace)
        async with opened(self._bridge, manager, self._limits) as child:
            yield child

    def cancel(self, reason: str = "application") -> None:
        """Cancel this run and its children; ``agent_cancelled`` has the reason. Does not wait. Idempotent."""
        check_identifier("reason", reason)
        self._bridge.soon(self.inner.cancel, reason)

    def conclude(self, result: msgspec.Raw | None = None) -> None:
        """Send what is left of the text, and the result; the run's last event follows."""
        self._text.end()
        if result is not None:
            with suppress(RuntimeClosed):
                self._bridge.soon(setattr, self.inner, "result", result)

    async def drained(self) -> None:
        """Wait, over there, until all text is in the run. A checkpoint only if some waits for room."""
        if not self._text.line.empty:
            await self._text.line.join(trio.lowlevel.checkpoint)()

    async def _wait(self, function: Callable[[], Awaitable[T]], *, passing: bool = False) -> T:
        """Await a function over there, in line behind what waits; ``passing`` lets the next go when it begins."""
        self._text.send()

        def never() -> T:
            raise trio.WouldBlock

        return await self._bridge.attempt(never, function, self._text.line, passing=passing)


@asynccontextmanager
async def opened(
    bridge: Bridge, manager: Callable[[], AbstractAsyncContextManager[actors.runs.run.Run]], limits: Limits
) -> AsyncIterator[Run]:
    """Run the block in a run of the other loop."""
    block = Block(bridge, manager, cancel=lambda inner: inner.cancel("host"))
    run = Run(bridge, await block.enter(), limits=limits)
    try:
        with run.inner.span.current():
            yield run
        ready = frozen_value("result", run.result, limits)
    except BaseException as error:
        run.conclude()
        if not await block.leave(error, run.drained):
            raise
    else:
        run.conclude(ready)
        await block.leave(None, run.drained)
