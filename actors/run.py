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

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

import attrs
import trio

from actors.emission import Emission
from actors.emitter import Emitter
from actors.errors import ActorsError, RunEnded, Unencodable
from actors.events import Lifecycle, Payload, check_identifier
from actors.limits import Limits
from actors.receipts import Receipt

T = TypeVar("T")

TERMINAL = frozenset({Lifecycle.AGENT_COMPLETED, Lifecycle.AGENT_FAILED, Lifecycle.AGENT_CANCELLED})
"""The event types that end a run."""

RESERVED = TERMINAL | {Lifecycle.AGENT_STARTED}
"""The event types that a run emits itself."""

_ERROR_CHARACTERS = 2_000
"""Of an error's text in an event: what a person reads. All of it is in ``runtime.failures``."""


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
    limits: Limits

    def began(self, run: Run) -> None:
        """``agent_started`` was emitted."""

    def ended(self, run: Run) -> None:
        """The terminal event was emitted, or cannot be."""

    def failed(self, run: Run, error: BaseException) -> None:
        """The application's code raised."""

    def gather(self, run: Run) -> None:
        """Have :meth:`Run.flush` called when the delta window is over."""


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
        """Child runs that are active."""
        self.over = trio.Event()
        """The run's code has left its block; the terminal event may have come before that."""
        self.attended = False
        """Whether its user was seen while it was active."""
        self._owner = owner
        self._scope = trio.CancelScope()
        self._begun = False
        self._reason = ""
        self._calls = 0
        self._births = 0
        self._waits: set[trio.CancelScope] = set()
        """Calls that wait for room; the end of the run ends them."""
        self._texts: list[str] = []
        self._text_bytes = 0
        # JSON writes a byte of text as six at most.
        self._most_text_bytes = min(owner.limits.delta_bytes, owner.limits.event_bytes // 8)
        self.batch = 0
        """Counts what was gathered and emitted, so that a window that is over knows whether it still matters."""
        self._reported: BaseException | None = None

    # --- what an agent says ---------------------------------------------------

    async def emit(self, type: str, payload: Payload, *, event_id: str | None = None) -> Receipt:  # noqa: A002
        """Emit an event of this run, as ``Thread.emit`` does; gathered text goes first.

        Raises :class:`~actors.errors.RunEnded` when the run has ended, and
        :class:`~actors.errors.Unencodable` for the types that are the run's own.
        """
        if type in RESERVED:
            raise Unencodable("type", f"any type but {', '.join(sorted(RESERVED))}, which the run emits itself", type)
        return await self._emit(type, payload, event_id)

    async def thinking(self, text: str) -> Receipt:
        """Emit ``agent_thinking``; waits for room, as :meth:`emit` does."""
        return await self._emit(Lifecycle.AGENT_THINKING, {"text": text})

    def delta(self, text: str) -> None:
        """Add text to the answer. Never waits.

        Texts gather for ``delta_window_ms``, or until the run's next other
        event, and go out as one ``agent_delta``. Raises
        :class:`~actors.errors.RunEnded`, :class:`~actors.errors.Unencodable`
        for what is not text or too much of it at once, and
        :class:`trio.WouldBlock` when the thread has taken nothing for so long
        that ``delta_bytes`` are waiting; then this text was not added.
        """
        self._check_open()
        most = self._most_text_bytes
        size = _text_bytes(text)
        if size > most:
            raise Unencodable("text", f"at most {most} bytes in one delta", f"{size}")
        if self._text_bytes + size > most:
            self._flush(reserved=False)
        if size:
            self._texts.append(text)
            self._text_bytes += size
        if not self._owner.limits.delta_window_ms:
            self.flush()
        if len(self._texts) == 1:
            self._owner.gather(self)

    @asynccontextmanager
    async def tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> AsyncIterator[Tool]:
        """Call a tool in the block: ``tool_executing`` before it, ``tool_completed`` after it.

        When the block raises, ``tool_completed`` says ``ok`` false with the
        error, and the exception goes on. A ``tool.result`` that JSON cannot
        carry raises :class:`~actors.errors.Unencodable`, and is such an error.
        """
        self._calls += 1
        tool = Tool(name, f"call_{self._calls}")
        call = {"tool_name": name, "tool_call_id": tool.call_id}
        await self._emit(Lifecycle.TOOL_EXECUTING, {**call, "arguments": arguments or {}})
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
        self._births += 1
        name = run_id or f"{self.run_id}.{self._births}"
        async with Run(self.thread_id, name, agent_name, self._owner, parent=self).open() as child:
            yield child

    # --- its life -------------------------------------------------------------

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Run]:
        """Begin, and end in the one way that fits what the block did. An exception of the block comes out.

        A cancellation by :meth:`cancel` ends here; one from outside goes on.
        """
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
            self.over.set()

    def cancel(self, reason: str = "application") -> None:
        """Ask this run and its children to end; ``agent_cancelled`` will say why. Idempotent."""
        if self.outcome is not None:
            return
        self._reason = self._reason or reason
        for child in tuple(self.children):
            child.cancel(reason)
        self._scope.cancel()

    def abandon(self, reason: str) -> None:
        """End the run now, without its code: that did not stop. Whatever it emits from now on is refused."""
        for child in tuple(self.children):
            child.abandon(reason)
        self._reason = self._reason or reason
        if self._begun:
            self._conclude(Lifecycle.AGENT_CANCELLED, {"reason": self._reason})
        elif self.outcome is None:
            self._end(Lifecycle.AGENT_CANCELLED)

    @property
    def family(self) -> list[Run]:
        """This run and all that are active below it."""
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
        check_identifier("run_id", self.run_id)
        check_identifier("agent_name", self.agent_name)
        about: dict[str, Any] = {"agent_name": self.agent_name}
        if self.parent is not None:
            about["parent_run_id"] = self.parent.run_id
        if self.message is not None:
            about["message_id"] = self.message.event_id
        emission = self._compose(Lifecycle.AGENT_STARTED, about)
        await self._waiting(lambda: self._owner.emitter.emit(emission))
        self._begun = True
        if self.outcome is not None:  # closed while its first event was on its way: the last one follows at once
            self._owner.emitter.emit_reserved(self._compose(self.outcome, {"reason": self._reason}))
            raise self._ended()
        if self.parent is not None:
            self.parent.children.append(self)
        self._owner.began(self)

    def _conclude_normally(self) -> None:
        if self._scope.cancelled_caught:
            self._conclude(Lifecycle.AGENT_CANCELLED, {"reason": self._reason})
        else:
            self._conclude(Lifecycle.AGENT_COMPLETED, {} if self.result is None else {"result": self.result})

    def _conclude_with(self, error: BaseException) -> None:
        """An exception ends the run; what the emitter has to say against that is no news to anybody then."""
        with suppress(ActorsError):
            if is_cancellation(error):
                self.abandon("host")
                return
            origin = innermost(error)
            if origin is not self._reported:
                self._owner.failed(self, error)
            if self.parent is not None:
                self.parent._reported = origin
            self._conclude(Lifecycle.AGENT_FAILED, {"error": described(error)})

    def _conclude(self, outcome: Lifecycle, payload: dict[str, Any]) -> None:
        """End the run with this event, unless it has ended; what cannot be encoded raises, and nothing has happened."""
        if self.outcome is not None:
            return
        try:
            self._emit_reserved(outcome, payload)
        except Unencodable:
            raise
        except ActorsError:
            self._end(outcome)
            raise
        self._end(outcome)

    def _end(self, outcome: Lifecycle) -> None:
        self.outcome = outcome
        for wait in self._waits:
            wait.cancel()
        if self.parent is not None and self in self.parent.children:
            self.parent.children.remove(self)
        self._owner.ended(self)

    # --- emitting -------------------------------------------------------------

    def _check_open(self) -> None:
        if self.outcome is not None:
            raise self._ended()

    def _ended(self) -> RunEnded:
        return RunEnded(f"run {self.run_id}: expected a run that is active, it has ended ({self.outcome})")

    async def _emit(self, type_: str, payload: Payload, event_id: str | None = None) -> Receipt:
        """Emit, after the text that was gathered; a run that ends meanwhile ends the wait."""
        self._check_open()
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
        """Emit the gathered text, waiting for room; if that is cancelled the text is still there."""
        try:
            self._flush(reserved=False)
        except trio.WouldBlock:
            texts = self._take_texts()
            emission = self._compose(Lifecycle.AGENT_DELTA, {"text": "".join(texts)})
            try:
                await self._owner.emitter.emit(emission)
            except BaseException:
                self._texts[:0] = texts
                self._text_bytes += sum(map(_text_bytes, texts))
                raise

    def _flush(self, *, reserved: bool) -> None:
        if not self._texts:
            return
        emitter = self._owner.emitter
        emission = self._compose(Lifecycle.AGENT_DELTA, {"text": "".join(self._texts)})
        (emitter.emit_reserved if reserved else emitter.emit_nowait)(emission)
        self._take_texts()

    def _take_texts(self) -> list[str]:
        texts, self._texts = self._texts, []
        self._text_bytes = 0
        self.batch += 1
        return texts

    def _compose(self, type_: str, payload: Payload, event_id: str | None = None) -> Emission:
        return self._owner.emitter.compose(self.thread_id, type_, payload, self.run_id, event_id)


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception says that the code was cancelled, and nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_cancellation, error.exceptions))
    return isinstance(error, trio.Cancelled)


def innermost(error: BaseException) -> BaseException:
    """What a group of one is about."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def described(error: BaseException) -> dict[str, str]:
    """An exception as a client may see it: its type and its text, never its traceback."""
    error = innermost(error)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the application's exception cannot even say what it is
        text = ""
    if len(text) > _ERROR_CHARACTERS:
        text = text[: _ERROR_CHARACTERS - 1] + "…"
    return {"type": type(error).__name__, "message": text.encode(errors="replace").decode()}


def _text_bytes(text: str) -> int:
    if not isinstance(text, str):
        raise Unencodable("text", "a string", type(text).__name__)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise Unencodable("text", "text that UTF-8 can encode", f"a lone surrogate at index {error.start}") from None
