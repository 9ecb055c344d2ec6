"""A run: one piece of an agent's work, in a cancel scope of its own.

    agent_started ─ agent_thinking ─ tool_executing ─ tool_completed ─ agent_delta … ─ agent_completed
                                                                                     ├ agent_failed
                                                                                     └ agent_cancelled

The first event and exactly one of the last three are the run's own doing,
whatever happens in between. The last one needs no room and no waiting: its
place in the thread's mailbox is reserved when the run begins, and so it is
emitted from within a cancellation, a shutdown or a full mailbox alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

import attrs
import msgspec
import trio

from actors.errors import ActorsError, Dropped, RunEnded, Unencodable
from actors.events.event import Lifecycle, Payload, check_identifier, check_object, check_string, check_text
from actors.events.surrogates import REPLACEMENT, join
from actors.kernel.affinity import check_trio
from actors.kernel.failures import is_cancellation, leaves, text_of, unwrap
from actors.kernel.nesting import Block
from actors.limits import Limits
from actors.protocol import server_messages
from actors.receipts import Receipt
from actors.runs.asks import Answer, Asks
from actors.stages import Stage
from actors.threads.emitter import Emitter
from actors.threads.messages import Emission

T = TypeVar("T")

TERMINAL = frozenset({Lifecycle.AGENT_COMPLETED, Lifecycle.AGENT_FAILED, Lifecycle.AGENT_CANCELLED})
"""The event types that end a run."""

RESERVED = TERMINAL | {Lifecycle.AGENT_STARTED}
"""The event types that a run emits itself."""

_ERROR_CHARACTERS = 2_000
"""Of an error's text in an event: what a person reads. More of it is in ``runtime.failures``."""

_REPORTED_ERRORS = 16
"""Errors of child runs that are remembered until they come out of their parent: as many as fail at once."""


@attrs.frozen
class Message:
    """What a user said in a thread: the event that ``on_message`` answers."""

    thread_id: str
    user_id: str
    event_id: str
    type: str
    payload: dict[str, Any]


class RunOwner(Protocol):
    """What a run asks of its supervisor."""

    emitter: Emitter
    asks: Asks
    limits: Limits

    def begins(self, run: Run) -> None:
        """A run is about to emit ``agent_started``; from now on it can be ended from outside.

        Raises :class:`~actors.errors.IdempotencyConflict` when another active
        run has its id, :class:`~actors.errors.RuntimeClosed` when none may begin.
        """

    def ended(self, run: Run) -> None:
        """The terminal event was emitted, or cannot be, or the run could not begin."""

    def failed(self, run: Run, error: BaseException) -> None:
        """The application's code raised."""

    def gather(self, run: Run) -> None:
        """Have :meth:`Run.flush` called when the delta window is over."""

    def insist(self, runs: list[Run]) -> None:
        """These runs were asked to end: close those that have not within a time."""

    def parted(self, run: Run, user_id: str | None) -> None:
        """The store has answered for the terminal event: it is in this user's log, or in none."""

    def left(self, run: Run) -> None:
        """The run's code has left its block, or will never enter it."""


@attrs.frozen
class Parting:
    """A run's terminal event on its way to the store; the :class:`~actors.threads.messages.Arrival` of it."""

    run: Run
    receipt: Receipt

    def placed(self) -> None:
        """It is in its owner's log."""
        position = self.receipt.position
        self.run._owner.parted(self.run, None if position is None else position.user_id)

    def refused(self) -> None:
        """It is in none: held, or lost."""
        self.run._owner.parted(self.run, None)


class Tool:
    """One call of a tool. Set :attr:`result` in the block; it goes into ``tool_completed``."""

    def __init__(self, name: str, call_id: str) -> None:
        self.name = name
        self.call_id = call_id
        self.result: Any = None


class Run:
    """One run of an agent in a thread; ``Thread.run`` opens one, ``on_message`` is given one."""

    def __init__(
        self,
        thread_id: str,
        run_id: str,
        agent_name: str,
        owner: RunOwner,
        *,
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
        """What this run answers, if a message started it."""
        self.result: Any = None
        """Goes into ``agent_completed``."""
        self.outcome: Lifecycle | None = None
        """The type of the terminal event, once there is one."""
        self.children: list[Run] = []
        """Child runs, until their code has left its block."""
        self.block: Block | None = None
        """Where the run's code is, while it is there."""
        self.parting = False
        """The terminal event is on its way to the store, or there."""
        self.closed = trio.Event()
        """The terminal event was emitted, or never will be."""
        self.over = trio.Event()
        """The run's code has left its block; the terminal event may have come before that."""
        self.attended = message is not None
        """Whether its user was here since it is known: who sent its message was."""
        self.waiting = False
        """It has to wait for its turn."""
        self._owner = owner
        self._scope = trio.CancelScope()
        self._first: Emission | None = None
        self._last: Emission | None = None
        """The terminal event, of a run that was closed while its first one was on its way."""
        self._reason = ""
        self._calls = 0
        self._births = 0
        self._waits: set[trio.CancelScope] = set()
        """Calls that wait for room; the end of the run ends them."""
        self._texts: list[str] = []
        self._text_bytes = 0
        self._half = ""
        """Half of the character that comes next, once the other half is here."""
        # JSON writes a byte of text as six at most.
        self._most_text_bytes = min(owner.limits.delta_bytes, owner.limits.event_bytes // 8)
        self.batch = 0
        """Counts what was gathered and emitted, so that a window that is over knows whether it still matters."""
        self._spare: Receipt | None = None
        """The newest text that took the one place in the mailbox that is reserved for text."""
        self._reported: deque[BaseException] = deque(maxlen=_REPORTED_ERRORS)
        """What came out of child runs: their failures, and no others."""

    # --- what an agent says ---------------------------------------------------

    async def emit(self, type: str, payload: Payload, *, event_id: str | None = None) -> Receipt:  # noqa: A002
        """Emit an event of this run, as ``Thread.emit`` does; gathered text goes first.

        Raises :class:`~actors.errors.RunEnded` when the run has ended, and
        :class:`~actors.errors.Unencodable` for the types that are the run's own.
        """
        check_identifier("type", type)
        if type in RESERVED:
            raise Unencodable("type", f"any type but {', '.join(sorted(RESERVED))}, which the run emits itself", type)
        return await self._emit(type, payload, event_id)

    async def thinking(self, text: str) -> Receipt:
        """Emit ``agent_thinking``; waits for room, as :meth:`emit` does.

        Raises :class:`~actors.errors.Unencodable` for what is not text, half
        of a character included: the other half cannot come.
        """
        check_text("text", text)
        return await self._emit(Lifecycle.AGENT_THINKING, {"text": text})

    def delta(self, text: str) -> None:
        """Add text to the answer. Never waits.

        Texts gather for ``delta_window_ms``, or until the run's next other
        event, and go out as one ``agent_delta``. Raises
        :class:`~actors.errors.ForeignThread` in another thread (call it there
        with :func:`trio.from_thread.run_sync`),
        :class:`~actors.errors.RunEnded`, :class:`~actors.errors.Unencodable`
        for what is not text or too much of it at once, and
        :class:`trio.WouldBlock` when the thread has taken nothing for so long
        that ``delta_bytes`` are waiting; then this text was not added.

        A text that ends in half of a surrogate pair, as tokens cut emoji, is
        completed by the next one; U+FFFD stands for a half that is not.
        """
        self._check_open()
        most = self._most_text_bytes
        check_string("text", text)
        text, half = join(self._half, text)
        size = _text_bytes(text)
        if size > most:
            raise Unencodable("text", f"at most {most} bytes in one delta", f"{size}")
        if not size:
            self._half = half
            return
        if self._text_bytes + size > most:
            self._flush(reserved=False)
        self._half = half
        self._texts.append(text)
        self._text_bytes += size
        if not self._owner.limits.delta_window_ms:
            self.flush()
        if len(self._texts) == 1:
            self._owner.gather(self)

    async def ask(
        self,
        type: str,  # noqa: A002 - the word of the protocol
        payload: Payload,
        *,
        timeout: float,  # noqa: ASYNC109 - what devices are told, and not only when to give up
    ) -> Answer:
        """Ask the thread's owner something, as ``Thread.ask`` does; the end of the run withdraws the question."""
        self._check_open()
        check_trio("ask")
        self.flush()
        return await self._waiting(lambda: self._owner.asks.ask(self.thread_id, type, payload, timeout, self.run_id))

    @asynccontextmanager
    async def tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> AsyncIterator[Tool]:
        """Call a tool in the block: ``tool_executing`` before it, ``tool_completed`` after it.

        When the block raises, ``tool_completed`` says ``ok`` false with the
        error, and the exception goes on. A ``tool.result`` that JSON cannot
        carry raises :class:`~actors.errors.Unencodable`, and is such an error;
        a name that is not text, or arguments that are no object, raise it
        before anything is emitted.
        """
        check_text("name", name)
        if arguments is not None:
            check_object("arguments", arguments)
        self._check_open()
        check_trio("tool")
        self._calls += 1
        tool = Tool(name, f"call_{self._calls}")
        call = {"tool_name": name, "tool_call_id": tool.call_id}
        await self._emit(Lifecycle.TOOL_EXECUTING, {**call, "arguments": {} if arguments is None else arguments})
        try:
            yield tool
            self._emit_reserved(Lifecycle.TOOL_COMPLETED, {**call, "ok": True, "result": tool.result})
        except BaseException as error:
            with suppress(ActorsError):
                self._emit_reserved(Lifecycle.TOOL_COMPLETED, {**call, "ok": False, "error": described(error)})
            raise

    @asynccontextmanager
    async def run(self, agent_name: str, *, run_id: str | None = None) -> AsyncIterator[Run]:
        """A child run in the block. What cancels this run reaches it, and its exception comes out here."""
        self._check_open()
        check_trio("run")
        self._births += 1
        name = f"{self.run_id}.{self._births}" if run_id is None else run_id
        async with Run(self.thread_id, name, agent_name, self._owner, parent=self).open() as child:
            yield child

    # --- its life -------------------------------------------------------------

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Run]:
        """Begin, and end in the one way that fits what the block did. An exception of the block comes out.

        A cancellation by :meth:`cancel` ends here; one from outside goes on.
        """
        self._owner.emitter.affinity.check_task("run")
        self.block = Block.begin()
        try:
            await self._begin()
            try:
                with self._scope:
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
        """Ask this run and its children to end; ``agent_cancelled`` will say why. Idempotent.

        From now on the terminal event is ``agent_cancelled``, whatever the
        code does: with the result, where it returns one all the same. Code
        that has not stopped after ``cancel_seconds`` is reported in
        ``runtime.failures``, and its run closed without it.
        """
        self._owner.emitter.affinity.check()
        check_identifier("reason", reason)
        if self.outcome is not None or self._scope.cancel_called:
            return
        family = self.family
        for run in family:
            run._reason = run._reason or reason
            run._scope.cancel()
        self._owner.insist(family)

    def abandon(self, reason: str = "host") -> None:
        """End the run and its children now, without their code: it is cancelled, and what it emits is refused."""
        if self.over.is_set():
            return
        self._reason = self._reason or reason
        with suppress(ActorsError):
            self._conclude(Lifecycle.AGENT_CANCELLED, {"reason": self._reason})
        if self.outcome is None:
            self._end(Lifecycle.AGENT_CANCELLED)
        self._scope.cancel()

    def decline(self, reason: str) -> None:
        """End a run that was not opened and never will be: its two events go out, so that everybody hears of it."""
        with suppress(ActorsError):
            last = self._compose_last(Lifecycle.AGENT_CANCELLED, {"reason": reason})
            self._owner.emitter.emit_reserved(self._compose_first())
            self._part(last)
        self._end(Lifecycle.AGENT_CANCELLED)
        self._leave()

    def forget(self) -> None:
        """Give up a run that was not opened and of which no event will tell: its message was not placed."""
        self.closed.set()
        self.over.set()

    @property
    def begun(self) -> bool:
        """Whether ``agent_started`` was emitted."""
        return self._first is not None and self._first.returned

    @property
    def standing(self) -> bytes | None:
        """The run as a device is told of it; ``None`` where the log has yet to say that it begins."""
        if self.waiting:
            about = {"type": Lifecycle.AGENT_STARTED, "payload": self._about}
            event = {**about, "thread_id": self.thread_id, "run_id": self.run_id}
            return _active(msgspec.json.encode(event), waiting=True)
        if self._first is None or not self.begun:
            return None
        return _active(self._first.body + b"}")

    @property
    def first_owner(self) -> str | None:
        """The user in whose log the run began; ``None`` where it is in none yet."""
        position = None if self._first is None else self._first.receipt.position
        return None if position is None else position.user_id

    @property
    def family(self) -> list[Run]:
        """This run, and all below it whose code goes on."""
        return [self, *(one for child in self.children for one in child.family)]

    @property
    def gathering(self) -> bool:
        """Whether there is text that was not emitted yet."""
        return bool(self._texts)

    def flush(self) -> None:
        """Emit the gathered text, if there is room; called when the window is over."""
        with suppress(trio.WouldBlock, ActorsError):
            self._flush(reserved=False)

    async def _begin(self) -> None:
        self._owner.begins(self)
        if self.parent is not None:
            self.parent.children.append(self)
            if self.parent._scope.cancel_called:
                self.cancel(self.parent._reason)
        self._first = first = self._compose_first()
        await self._waiting(lambda: self._owner.emitter.emit(first))
        if self._last is not None:
            self._part(self._last)
        self._check_open()

    def _conclude_normally(self) -> None:
        """The block is over. A cancel that came first counts, also where the code did not heed it."""
        result = {} if self.result is None else {"result": self.result}
        if self._scope.cancel_called:
            self._conclude(Lifecycle.AGENT_CANCELLED, {"reason": self._reason, **result})
        else:
            self._conclude(Lifecycle.AGENT_COMPLETED, result)

    def _conclude_with(self, error: BaseException) -> None:
        """An exception ends the run; what the emitter has to say against that is no news to anybody then."""
        if is_cancellation(error):
            self.abandon()
            return
        errors = list(leaves(error))
        if not all(any(one is known for known in self._reported) for one in errors):
            self._owner.failed(self, error)
        if self.parent is not None:
            self.parent._reported.extend(errors)
        if self._scope.cancel_called:
            self.abandon()
            return
        said = described(error)
        for text in (said["message"], ""):  # without its text where events are that small
            with suppress(ActorsError):
                self._conclude(Lifecycle.AGENT_FAILED, {"error": {**said, "message": text}})
        if self.outcome is None:
            self._end(Lifecycle.AGENT_FAILED)

    def _conclude(self, outcome: Lifecycle, payload: dict[str, Any]) -> None:
        """End the run with this event, after its children, unless it has ended. What cannot be encoded ends nothing."""
        if self.outcome is not None:
            return
        for child in tuple(self.children):
            child.abandon(self._reason or "host")
        last = self._compose_last(outcome, payload)
        try:
            if self.begun:
                self._give_up_half()
                self._flush(reserved=True)
                self._part(last)
            else:
                self._last = last
        finally:
            self._end(outcome)

    def _end(self, outcome: Lifecycle | None) -> None:
        self.outcome = outcome
        self._take_texts()
        for wait in self._waits:
            wait.cancel()
        self.closed.set()
        self._owner.ended(self)

    def _leave(self) -> None:
        self.block = None
        self.over.set()
        if self.parent is not None and self in self.parent.children:
            self.parent.children.remove(self)
        self._owner.left(self)

    # --- emitting -------------------------------------------------------------

    def _check_open(self) -> None:
        self._owner.emitter.affinity.check()
        if self.outcome is not None:
            raise self._ended()

    def _ended(self) -> RunEnded:
        return RunEnded(f"run {self.run_id}: expected a run that is active, it has ended ({self.outcome})")

    async def _emit(self, type_: str, payload: Payload, event_id: str | None = None) -> Receipt:
        """Emit, after the text that was gathered; a run that ends meanwhile ends the wait."""
        self._check_open()
        check_trio("emit")
        emission = self._compose(type_, payload, event_id)

        async def emit() -> Receipt:
            await self._flush_waiting()
            return await self._owner.emitter.emit(emission)

        return await self._waiting(emit)

    async def _waiting(self, act: Callable[[], Awaitable[T]]) -> T:
        """Wait in a way that the end of the run ends, with RunEnded."""
        with trio.CancelScope() as wait:
            self._waits.add(wait)
            try:
                return await act()
            finally:
                self._waits.discard(wait)
        raise self._ended()

    def _emit_reserved(self, type_: str, payload: Payload) -> None:
        self._check_open()
        emission = self._compose(type_, payload)
        self._flush(reserved=True)
        self._owner.emitter.emit_reserved(emission)

    async def _flush_waiting(self) -> None:
        """Emit the gathered text, in the place reserved for it if need be: cancelled, it is neither lost nor doubled.

        While what took that place last is still there, this waits.
        """
        while self._texts:
            with suppress(trio.WouldBlock):
                self._flush(reserved=False)
                return
            if self._spare is None or self._spare.seq is not None or self._spare.stage.final:
                self._spare = self._flush(reserved=True)
            else:
                with suppress(Dropped):
                    await self._spare.reached(Stage.BUFFERED)

    def _flush(self, *, reserved: bool) -> Receipt | None:
        if not self._texts:
            return None
        emitter = self._owner.emitter
        emission = self._compose(Lifecycle.AGENT_DELTA, {"text": "".join(self._texts)})
        receipt = (emitter.emit_reserved if reserved else emitter.emit_nowait)(emission)
        self._take_texts()
        return receipt

    def _give_up_half(self) -> None:
        """The run ends, and no other half comes."""
        if self._half:
            self._half = ""
            self._texts.append(REPLACEMENT)

    def _take_texts(self) -> None:
        self._texts.clear()
        self._text_bytes = 0
        self.batch += 1

    @property
    def _about(self) -> dict[str, str]:
        about = {"agent_name": self.agent_name}
        if self.parent is not None:
            about["parent_run_id"] = self.parent.run_id
        if self.message is not None:
            about["message_id"] = self.message.event_id
        return about

    def _compose_first(self) -> Emission:
        return self._compose(Lifecycle.AGENT_STARTED, self._about)

    def _compose_last(self, outcome: Lifecycle, payload: dict[str, Any]) -> Emission:
        last = self._compose(outcome, payload)
        last.arrival = Parting(self, last.receipt)
        return last

    def _part(self, last: Emission) -> None:
        self._owner.emitter.emit_reserved(last)
        self.parting = True

    def _compose(self, type_: str, payload: Payload, event_id: str | None = None) -> Emission:
        return self._owner.emitter.compose(self.thread_id, type_, payload, self.run_id, event_id)


def described(error: BaseException) -> dict[str, str]:
    """An exception as a client may see it: its type and its text, never its traceback."""
    if is_cancellation(error):
        return {"type": trio.Cancelled.__name__, "message": "cancelled"}
    error = unwrap(error)
    text = text_of(error)
    if len(text) > _ERROR_CHARACTERS:
        text = text[: _ERROR_CHARACTERS - 1] + "…"
    return {"type": type(error).__name__, "message": text.encode(errors="replace").decode()}


def _text_bytes(text: str) -> int:
    check_text("text", text)
    return len(text.encode())


def _active(event: bytes, *, waiting: bool = False) -> bytes:
    return server_messages.encode(server_messages.Active(msgspec.Raw(event), waiting))
