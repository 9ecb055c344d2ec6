"""A run: one piece of an agent's work, in a cancel scope of its own.

    agent_started ─ agent_thinking ─ tool_executing ─ tool_completed ─ agent_delta … ─ agent_completed
                                                                                     ├ agent_failed
                                                                                     └ agent_cancelled

The run itself emits the first event and exactly one of the last three,
whatever happens in between. The last one never waits for room, because its
place in the thread's mailbox is reserved; so a run emits it during a
cancellation, a shutdown and with a full mailbox alike.

This module is the life of a run. Its events go through its
:class:`~actors.runs.output.Output`; its first one is in its
:class:`~actors.runs.beginning.Beginning`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import attrs
import trio

from actors.errors import ActorsError, RunEnded, Unencodable
from actors.events.delivered import Position
from actors.events.event import Lifecycle, Payload, check_identifier, check_object, check_text
from actors.events.traceparent import check_traceparent
from actors.kernel.affinity import check_trio
from actors.kernel.failures import is_cancellation, leaves, text_of, unwrap
from actors.kernel.nesting import Block
from actors.limits import Limits
from actors.observability.tracer import NO_SPAN, Outcome, Span
from actors.receipts import Receipt
from actors.runs.asks import Answer, Asks
from actors.runs.beginning import Beginning
from actors.runs.deltas import DeltaCoalescer
from actors.runs.lead import Lead
from actors.runs.output import Output
from actors.runs.tool_calls import CANCELLED as CANCELLED_TYPE
from actors.runs.tool_calls import ToolCalls
from actors.threads.emitter import Emitter
from actors.threads.messages import Emission

TERMINAL = frozenset({Lifecycle.AGENT_COMPLETED, Lifecycle.AGENT_FAILED, Lifecycle.AGENT_CANCELLED})
"""The event types that end a run."""

RESERVED = TERMINAL | {Lifecycle.AGENT_STARTED}
"""The event types that a run emits itself."""

_ERROR_CHARACTERS = 2_000
"""Length to which an error's text in an event is cut: as much as a person reads. ``runtime.failures`` has more."""

CANCELLED = {"type": CANCELLED_TYPE, "message": "cancelled"}
"""The error of a tool that was cancelled, as a client may see it."""

_REPORTED_ERRORS = 16
"""Errors of child runs that a parent remembers until they come out of it: as many as fail at once."""


@attrs.frozen(kw_only=True)
class Message:
    """A user's message in a thread: the event that ``on_message`` answers."""

    thread_id: str
    user_id: str
    event_id: str
    type: str
    payload: dict[str, Any]
    traceparent: str | None = None
    """The trace that it belongs to, as its event carries it: below its span is that of the run."""


_OUTCOMES: dict[Lifecycle | None, Outcome] = {
    Lifecycle.AGENT_COMPLETED: "completed",
    Lifecycle.AGENT_FAILED: "failed",
    Lifecycle.AGENT_CANCELLED: "cancelled",
    None: "refused",
}
"""The outcomes of a run's span."""


class RunSupervisor(Protocol):
    """The supervisor of runs, as a run sees it."""

    emitter: Emitter
    asks: Asks
    deltas: DeltaCoalescer
    limits: Limits
    lead: Lead | None
    """The bound of runs that have none of their own."""

    def begins(self, run: Run) -> None:
        """Register a run that is about to emit ``agent_started``; from now on it can be cancelled.

        Raises :class:`~actors.errors.IdempotencyConflict` when another run,
        active or closed before its code stopped, has its id,
        :class:`~actors.errors.RuntimeClosed` when none may begin.
        """

    def begin_span(self, run: Run) -> None:
        """Begin the span of a run that is about to emit ``agent_started`` and never begins, if runs are traced."""

    def ended(self, run: Run) -> None:
        """Note that the terminal event was emitted, or cannot be, or that the run could not begin."""

    def failed(self, run: Run, error: BaseException) -> None:
        """Report an exception of the application's code."""

    def insist(self, runs: list[Run]) -> None:
        """Close those of these cancelled runs that do not end within ``cancel_seconds``."""

    def last_placed(self, run: Run, last: Position | None) -> None:
        """Take note of the position of the terminal event; with ``None``, that it will be in no log."""

    def left(self, run: Run) -> None:
        """Note that the run's code has left its block, or will never enter it."""


@attrs.frozen
class TerminalArrival:
    """The :class:`~actors.threads.messages.Arrival` of a run's terminal event."""

    run: Run
    receipt: Receipt

    def placed(self) -> None:
        """Tell the supervisor where it is."""
        self.run._supervisor.last_placed(self.run, self.receipt.position)

    def refused(self) -> None:
        """Tell the supervisor that it is in no log: held, or lost."""
        self.run._supervisor.last_placed(self.run, None)


class Tool:
    """One call of a tool. Set ``result`` in the block: a JSON value, which goes into ``tool_completed``."""

    def __init__(self, name: str, call_id: str, *, span: Span = NO_SPAN) -> None:
        self.name = name
        self.call_id = call_id
        self.result: Any = None
        self.span = span
        """The span of the call, current in its block; of no effect where nothing is traced."""


class Run:
    """One run of an agent in a thread; ``Thread.run`` opens one, ``on_message`` gets one."""

    def __init__(
        self,
        thread_id: str,
        run_id: str,
        *,
        agent_name: str,
        supervisor: RunSupervisor,
        parent: Run | None = None,
        message: Message | None = None,
    ) -> None:
        check_identifier("run_id", run_id)
        check_identifier("agent_name", agent_name)
        self.thread_id = thread_id
        self.run_id = run_id
        self.agent_name = agent_name
        self.parent = parent
        self.message = message
        """The message that this run answers, if one started it."""
        self.traceparent: str | None = None if message is None else message.traceparent
        """The trace in its first event: that of its span once it begins and is traced, else the one above it."""
        self.span: Span = NO_SPAN
        """The span of the run, current in its code; of no effect where nothing is traced."""
        self.result: Any = None
        """The result, which goes into ``agent_completed``."""
        self.outcome: Lifecycle | None = None
        """The type of the terminal event, once there is one."""
        self.children: list[Run] = []
        """The child runs that have not left their blocks."""
        self.block: Block | None = None
        """The block of the run's code, while a task is in it."""
        self.closed: trio.Event = trio.Event()
        """Set once the terminal event was emitted, or never will be."""
        self.over: trio.Event = trio.Event()
        """Set once the run's code has left its block; the terminal event may have come before that."""
        self.attended: bool = message is not None
        """True once the thread's owner was connected during the run; the sender of its message was."""
        self.output: Output = Output(
            thread_id,
            run_id,
            emitter=supervisor.emitter,
            deltas=supervisor.deltas,
            limits=supervisor.limits,
            lead=supervisor.lead if parent is None else parent.output.lead,
        )
        self.beginning: Beginning = Beginning(thread_id, run_id, about=_about(agent_name, parent, message))
        self._supervisor = supervisor
        self._scope = trio.CancelScope()
        self._last: Emission | None = None
        """The terminal event of a run that was closed while its first one was on its way."""
        self._reason = ""
        instruments = supervisor.emitter.instruments
        self._calls = ToolCalls(self.output, instruments, thread_id=thread_id, run_id=run_id)
        self._births = 0
        self._reported: deque[BaseException] = deque(maxlen=_REPORTED_ERRORS)
        """The failures that came out of child runs."""

    def __repr__(self) -> str:
        if self.outcome is not None:
            state = self.outcome + ("" if self.over.is_set() else ", its code goes on")
        elif self.beginning.waiting:
            state = "waiting for its turn"
        else:
            state = "active" if self.beginning.emitted else "not begun"
        cancelled = ", asked to end" if self.outcome is None and self._scope.cancel_called else ""
        return f"<Run {self.run_id} of {self.agent_name} in {self.thread_id}: {state}{cancelled}>"

    # --- an agent's output ----------------------------------------------------

    async def emit(self, type: str, payload: Payload, *, event_id: str | None = None) -> Receipt:  # noqa: A002
        """Emit an event of this run, as ``Thread.emit`` does, after the gathered text. A checkpoint.

        Raises :class:`~actors.errors.RunEnded` when the run has ended, or ends
        while this waits for room, and :class:`~actors.errors.Unencodable` for
        the types that the run emits itself. Cancelled, the event is not
        emitted; the gathered text goes out once, now or later.
        """
        _check_type(type)
        return await self.output.emit(type, payload, event_id)

    def emit_nowait(self, type: str, payload: Payload, *, event_id: str | None = None) -> Receipt:  # noqa: A002
        """Emit an event of this run without waiting, after the gathered text.

        Raises what :meth:`emit` does, and :class:`trio.WouldBlock` without
        room; then the event was not emitted.
        """
        _check_type(type)
        return self.output.emit_nowait(type, payload, event_id)

    async def thinking(self, text: str) -> Receipt:
        """Emit ``agent_thinking``; waits and raises as :meth:`emit` does.

        Raises :class:`~actors.errors.Unencodable` for anything that is not
        text, half of a character included, because the other half cannot come.
        """
        check_text("text", text)
        return await self.output.emit(Lifecycle.AGENT_THINKING, {"text": text})

    def delta(self, text: str) -> None:
        """Add text to the answer. Never waits.

        Texts gather for ``delta_window_ms``, or until the run's next other
        event, and go out as one ``agent_delta``. Raises
        :class:`~actors.errors.ForeignThread` in another thread (call it there
        with :func:`trio.from_thread.run_sync`),
        :class:`~actors.errors.RunEnded`, :class:`~actors.errors.Unencodable`
        for anything that is not text or too much of it at once, and
        :class:`trio.WouldBlock` when the thread has taken nothing for so long
        that ``delta_bytes`` are waiting; then this text was not added.

        With ``ahead``, text gathers for longer than a window while devices are
        that far behind, so that it becomes fewer events and not fewer words:
        until they have taken some, the run's next other event, or
        ``delta_bytes``, beyond which it goes out all the same. What waits then
        is the next awaited emit.

        A text that ends in half of a surrogate pair, as tokens cut emoji, is
        completed by the next one; U+FFFD replaces a half that is not.
        """
        self.output.add(text)

    async def ask(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        timeout: float,  # noqa: ASYNC109 - it is sent to the devices, and is not only the time to give up
    ) -> Answer:
        """Ask the thread's owner, as ``Thread.ask`` does; the end of the run withdraws the question, with RunEnded."""
        self.output.check_open()
        check_trio("ask")
        self.output.flush(ahead=True)
        asks = self._supervisor.asks
        return await self.output.wait(lambda: asks.ask(self.thread_id, type, payload, timeout, self.run_id))

    @asynccontextmanager
    async def tool(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, call_id: str | None = None
    ) -> AsyncIterator[Tool]:
        """Call a tool in the block: ``tool_executing`` before it, ``tool_completed`` after it.

        When the block raises, ``tool_completed`` says ``ok`` false with the
        error, and the exception goes on. A ``tool.result`` that JSON cannot
        carry raises :class:`~actors.errors.Unencodable`, and is such an error;
        a name that is not text, or arguments that are no object, raise it
        before anything is emitted. ``call_id`` is an id that the caller has
        for the call, as models give one; raises as :meth:`tool_started` does.
        """
        tool = await self.tool_started(name, arguments, call_id=call_id)
        try:
            with tool.span.current():
                yield tool
            self.tool_completed(tool.call_id, tool.result)
        except BaseException as error:
            with suppress(ActorsError):
                self.tool_completed(tool.call_id, error=error)
            raise

    async def tool_started(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, call_id: str | None = None
    ) -> Tool:
        """Emit ``tool_executing`` for a call that is not a block of this code, as frameworks tell of theirs.

        :meth:`tool_completed` ends it; the end of the run does where that was
        not called. Waits and raises as :meth:`emit` does, and raises
        :class:`~actors.errors.IdempotencyConflict` for a ``call_id`` that the
        run has had before. Without one the call gets an id that is new in the
        run.
        """
        check_text("name", name)
        if arguments is not None:
            check_object("arguments", arguments)
        self.output.check_open()
        check_trio("tool")
        found = await self._calls.start(name, {} if arguments is None else arguments, call_id, self.span)
        return Tool(name, found, span=self._calls.span_of(found))

    def tool_completed(self, call_id: str, result: Any = None, *, error: BaseException | str | None = None) -> None:
        """Emit ``tool_completed`` for a call that was started, with its result, or ``ok`` false and its error.

        Never waits. Raises :class:`~actors.errors.Unencodable` for a result
        that JSON cannot carry, after which the call is still open, and for an
        id that is not that of an open call; :class:`~actors.errors.RunEnded`
        when the run has ended, and with it the call.
        """
        self.output.check_open()
        if error is None:
            self._calls.complete(call_id, {"ok": True, "result": result})
        else:
            failure = described(error) if isinstance(error, BaseException) else _failure("ToolError", error)
            self._calls.complete(call_id, {"ok": False, "error": failure})

    @asynccontextmanager
    async def run(
        self, agent_name: str, *, run_id: str | None = None, traceparent: str | None = None
    ) -> AsyncIterator[Run]:
        """Open a child run in the block, after the gathered text. A cancel of this run reaches it, and its exception
        comes out here.

        Raises as ``Thread.run`` does. Without ``traceparent`` its span is below the one that is current in this run.
        """
        if traceparent is not None:
            check_traceparent(traceparent)
        await self.output.flushed()
        self._births += 1
        name = f"{self.run_id}.{self._births}" if run_id is None else run_id
        child = Run(self.thread_id, name, agent_name=agent_name, supervisor=self._supervisor, parent=self)
        child.traceparent = traceparent
        async with child.open():
            yield child

    # --- life cycle -----------------------------------------------------------

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Run]:
        """Begin, run the block, and end with the terminal event that fits its outcome. Its exception propagates.

        A cancellation by :meth:`cancel` ends here; one from outside propagates.
        """
        self._supervisor.emitter.affinity.check_task("run")
        self.block = Block.begin()
        try:
            await self._begin()
            try:
                with self._scope, self.span.current():
                    yield self
                self._conclude_normally()
            except BaseException as error:
                self._conclude_with(error)
                raise
        finally:
            if self.outcome is None:
                self._end(None)
            self._leave()

    def cancel(self, reason: str = "application") -> None:
        """Cancel this run and its children; ``agent_cancelled`` has the reason. Idempotent.

        From now on the terminal event is ``agent_cancelled``, whatever the
        code does; a result that it still returns goes into that event. Code
        that has not stopped after ``cancel_seconds`` is reported in
        ``runtime.failures``, and its run closed without it. Raises
        :class:`~actors.errors.Unencodable` for a reason that is no identifier.
        """
        self._supervisor.emitter.affinity.check()
        check_identifier("reason", reason)
        if self.outcome is not None or self._scope.cancel_called:
            return
        family = self.family
        for run in family:
            run._reason = run._reason or reason
            run._scope.cancel()
        self._supervisor.insist(family)

    def abandon(self, reason: str = "host") -> None:
        """End the run and its children now: their code is cancelled, not awaited, and can emit nothing more."""
        if self.over.is_set():
            return
        self._reason = self._reason or reason
        with suppress(ActorsError):
            self._conclude(Lifecycle.AGENT_CANCELLED, {"reason": self._reason})
        if self.outcome is None:
            self._end(Lifecycle.AGENT_CANCELLED)
        self._scope.cancel()

    def decline(self, reason: str) -> None:
        """End a run that was not opened and never will be, with its first and last event, for its devices."""
        self._supervisor.begin_span(self)
        with suppress(ActorsError):
            last = self._compose_last(Lifecycle.AGENT_CANCELLED, {"reason": reason})
            first = self.beginning.compose(self.output, self.traceparent)
            self._supervisor.emitter.emit_nowait(first, reserved=True)
            self.output.emit_last(last)
        self._end(Lifecycle.AGENT_CANCELLED)
        self._leave()

    def forget(self) -> None:
        """Give up a run that was not opened, without an event, because its message was not placed."""
        self.closed.set()
        self.over.set()

    @property
    def family(self) -> list[Run]:
        """This run, and all below it that have not left their blocks."""
        return [self, *(one for child in self.children for one in child.family)]

    async def _begin(self) -> None:
        self._supervisor.begins(self)
        if self.parent is not None:
            self.parent.children.append(self)
            if self.parent._scope.cancel_called:
                self.cancel(self.parent._reason)
        first = self.beginning.begin(self.output, self.traceparent)
        await self.output.wait(lambda: self._supervisor.emitter.emit(first))
        if self._last is not None:
            self.output.emit_last(self._last)
        self.output.check_open()

    def _conclude_normally(self) -> None:
        """Complete the run after its block; a cancel that came first counts, even if the code ignored it."""
        result = {} if self.result is None else {"result": self.result}
        if self._scope.cancel_called:
            self._conclude(Lifecycle.AGENT_CANCELLED, {"reason": self._reason, **result})
        else:
            self._conclude(Lifecycle.AGENT_COMPLETED, result)

    def _conclude_with(self, error: BaseException) -> None:
        """End the run with an exception of its block, which takes precedence over errors in emitting it."""
        if is_cancellation(error):
            self.abandon()
            return
        errors = list(leaves(error))
        if not all(any(one is known for known in self._reported) for one in errors):
            self._supervisor.failed(self, error)
        if self.parent is not None:
            self.parent._reported.extend(errors)
        if self._scope.cancel_called:
            self.abandon()
            return
        failure = described(error)
        self.span.fail(failure["type"], failure["message"], error)
        for text in (failure["message"], ""):  # without its text where the limit of an event is too small for it
            with suppress(ActorsError):
                self._conclude(Lifecycle.AGENT_FAILED, {"error": {**failure, "message": text}})
        if self.outcome is None:
            self._end(Lifecycle.AGENT_FAILED)

    def _conclude(self, outcome: Lifecycle, payload: dict[str, Any]) -> None:
        """End the run with this event, after its children, unless it has ended; no effect if it cannot be encoded."""
        if self.outcome is not None:
            return
        for child in tuple(self.children):
            child.abandon(self._reason or "host")
        cancelled = self._scope.cancel_called or outcome is Lifecycle.AGENT_CANCELLED
        self._calls.close(CANCELLED if cancelled else _failure(RunEnded.__name__, "the run ended before the tool did"))
        last = self._compose_last(outcome, payload)
        try:
            if self.beginning.emitted:
                self.output.emit_last(last)
            else:
                self._last = last
        finally:
            self._end(outcome)

    def _compose_last(self, outcome: Lifecycle, payload: dict[str, Any]) -> Emission:
        last = self.output.compose(outcome, payload)
        last.arrival = TerminalArrival(self, last.receipt)
        return last

    def _end(self, outcome: Lifecycle | None) -> None:
        self.outcome = outcome
        self.output.close(outcome)
        self.closed.set()
        self.span.end(_OUTCOMES[outcome])
        self._supervisor.ended(self)

    def _leave(self) -> None:
        self.block = None
        self.over.set()
        if self.parent is not None and self in self.parent.children:
            self.parent.children.remove(self)
        self._supervisor.left(self)


def _about(agent_name: str, parent: Run | None, message: Message | None) -> dict[str, str]:
    """Return the payload of ``agent_started``."""
    about = {"agent_name": agent_name}
    if parent is not None:
        about["parent_run_id"] = parent.run_id
    if message is not None:
        about["message_id"] = message.event_id
    return about


def described(error: BaseException) -> dict[str, str]:
    """Describe an exception as a client may see it: its type and its text, never its traceback."""
    if is_cancellation(error):
        return CANCELLED
    error = unwrap(error)
    return _failure(type(error).__name__, text_of(error))


def _failure(type_: str, text: str) -> dict[str, str]:
    if len(text) > _ERROR_CHARACTERS:
        text = text[: _ERROR_CHARACTERS - 1] + "…"
    return {"type": type_, "message": text.encode(errors="replace").decode()}


def _check_type(type_: str) -> None:
    """Leave to the run the events that begin and end it."""
    check_identifier("type", type_)
    if type_ in RESERVED:
        raise Unencodable("type", f"any type but {', '.join(sorted(RESERVED))}, which the run emits itself", came=type_)
