"""The requests of clients: to say something, to answer a question, to end a run, to read a thread.

The answer goes back on the connection that asked. When that has gone, what was
asked for has happened or has not, and the client asks again under the same id:
a message is placed once, and answered by one run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b

import msgspec
import trio

from actors.checks import awaitable
from actors.context import Context
from actors.errors import (
    Dropped,
    IdempotencyConflict,
    NotTheOwner,
    Quarantined,
    RuntimeClosed,
    StoreUnavailable,
    Unencodable,
)
from actors.events.event import DROPPED_NOTICE, Lifecycle, check_identifier
from actors.kernel.bounded import RecentMap
from actors.kernel.failures import Barrier
from actors.protocol.client_messages import AnswerAsk, CancelRun, ReadThread, Request, RequestId, Send, op_of
from actors.protocol.server_messages import AnswerReply, CancelReply, ReadReply, SendReply, encode, refusal
from actors.receipts import Receipt
from actors.runs.admission import MessageArrival
from actors.runs.asks import Asks
from actors.runs.run import Message
from actors.runs.supervisor import Runs
from actors.stages import Cause, Stage
from actors.stores.store import Store
from actors.threads.emitter import Emitter

Authorize = Callable[[str, str], Awaitable[bool]]
"""Decides if a user (first) may have a thread (second) that has no owner. Runs in a task of the connection."""

_NOT_FOR_USERS = frozenset({*Lifecycle, DROPPED_NOTICE})
"""The event types that say what agents and the runtime do; a user who could send them could pretend."""


async def deny(user_id: str, thread_id: str) -> bool:
    """Let no user have a thread by naming it."""
    return False


class Refused(Exception):
    """A request is not carried out, for a reason of the table of refusals."""

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(text)
        self.name = name
        self.text = text


class Requests:
    """Carries out the requests of clients."""

    def __init__(
        self, context: Context, *, emitter: Emitter, runs: Runs, asks: Asks, store: Store, authorize: Authorize
    ) -> None:
        self._limits = limits = context.limits
        self._failures = context.failures
        self._instruments = context.instruments
        self.refusing = False
        """Nothing new is taken: the runtime drains."""
        self._emitter = emitter
        self._runs = runs
        self._asks = asks
        self._store = store
        self._authorize = authorize
        # Twice what a store remembers: what it knows as a repetition is no message that may have to be refused.
        self._threads: RecentMap[str, str] = RecentMap(2 * limits.idempotency_ids)
        """The threads of messages that came in, by event id."""

    async def answer(self, request: Request, user_id: str, session_id: str) -> bytes:
        """Carry out a request of a user; the reply. Cancelled, it may or may not have been carried out."""
        handling = f"{type(request).__name__}, user {user_id}"
        refused = Refused("failed")
        with Barrier(lambda error: self._failures.report("requests", handling, error)):
            try:
                reply = await self._carry_out(request, user_id, session_id)
            except Refused as error:
                refused = error
            except StoreUnavailable:
                refused = Refused("unavailable")
            else:
                self._note_answer(request, None)
                return reply
        self._note_answer(request, refused.name)
        return refusal(request.id, refused.name, refused.text)

    def _note_answer(self, request: Request, refused: str | None) -> None:
        if self._instruments.request_answered is not None:
            self._instruments.request_answered(op_of(request), refused)

    async def _carry_out(self, request: Request, user_id: str, session_id: str) -> bytes:
        match request:
            case Send():
                return await self._send(request, user_id, session_id)
            case CancelRun():
                return await self._cancel(request, user_id)
            case ReadThread():
                return await self._read(request, user_id)
            case AnswerAsk():
                return self._answer_ask(request, user_id, session_id)

    # --- saying something -------------------------------------------------------

    async def _send(self, send: Send, user_id: str, session_id: str) -> bytes:
        """Place the message as an event, all devices see it; a run starts when, and only when, it is new.

        The event's id is made from session and request id: sent again, it is
        the same message, and gets the same answer. So do the names of a new
        thread and of the run follow from it.
        """
        if self.refusing:
            raise Refused("shutting_down")
        if send.type in _NOT_FOR_USERS:
            raise Refused("bad_request", f"send: expected a type that is not an agent's, got {send.type!r}")
        name = _name(session_id, send.id)
        event_id, run_id = f"m_{name}", f"run_{name}"
        thread_id = f"t_{name}" if send.thread_id is None else send.thread_id
        begun = send.thread_id is not None or await self._has_begun(thread_id)
        claims = not begun or await self._may_claim(user_id, thread_id)
        known = self._threads.get(event_id)
        if known not in (None, thread_id):
            raise Refused("conflict")
        message = Message(thread_id=thread_id, user_id=user_id, event_id=event_id, type=send.type, payload=send.payload)
        receipt = await self._place(message, run_id, claims=claims, again=known is not None)
        return encode(_placement(send.id, run_id if self._runs.answers else None, receipt))

    async def _has_begun(self, thread_id: str) -> bool:
        """Return true if a thread has events, because then it may have been taken from the user who opened it."""
        found = await self._store.history(thread_id, None, after_seq=0, most_events=1, most_bytes=0)
        return found.head_seq > 0

    async def _may_claim(self, user_id: str, thread_id: str) -> bool:
        """Return true if a thread may become this user's; false if it is. Raises Refused if neither.

        The application is asked about another user's threads as well, and its
        answer ignored: how long a refusal takes then says nothing, either.
        """
        try:
            check_identifier("thread_id", thread_id)
        except Unencodable as error:
            raise Refused("bad_request", f"send: {error}") from None
        owner = await self._store.owner(thread_id)
        if owner == user_id:
            return False
        handling = f"user {user_id}, thread {thread_id}"
        patience = trio.fail_after(self._limits.authorize_seconds)
        allowed: bool | None = None
        with Barrier(lambda error: self._failures.report("listeners/authorize", handling, error)), patience:
            allowed = bool(await awaitable("authorize", self._authorize(user_id, thread_id)))
        if allowed is None:
            raise Refused("unavailable")
        if owner is not None or not allowed:
            raise Refused("unknown_thread")
        return True

    async def _place(self, message: Message, run_id: str, *, claims: bool, again: bool) -> Receipt:
        """Place a message, once; Refused says why it was not."""
        arrival = self._runs.expect(run_id, message, again=again)
        if arrival is None:
            raise Refused("shutting_down" if self.refusing else "busy")
        try:
            receipt = await self._emit(message, run_id, arrival, claims=claims)
            self._threads.put(message.event_id, message.thread_id)
            await receipt.reached(Stage.STORED)
        except Unencodable as error:
            raise Refused("bad_request", f"send: {error}") from None
        except Dropped as dropped:
            raise Refused(_LOSSES.get(dropped.cause, "dropped")) from None
        except (IdempotencyConflict, NotTheOwner, Quarantined, RuntimeClosed, StoreUnavailable) as error:
            raise Refused(_REFUSALS[type(error)]) from None
        return receipt

    async def _emit(self, message: Message, run_id: str, arrival: MessageArrival, *, claims: bool) -> Receipt:
        try:
            emission = self._emitter.compose(
                message.thread_id,
                message.type,
                message.payload,
                event_id=message.event_id,
                user_id=message.user_id,
                claims=claims,
                arrival=arrival,
            )
            if self._runs.answers:
                emission.run_id, emission.edge = run_id, "due"
            return await self._emitter.emit(emission)
        except BaseException:
            arrival.refused()
            raise

    # --- ending a run, reading a thread -------------------------------------------

    async def _cancel(self, cancel: CancelRun, user_id: str) -> bytes:
        outcome = await self._runs.endings.cancel(cancel.run_id, "user", user_id)
        if outcome is None:
            raise Refused("unknown_run")
        stopped, running = tuple(outcome.stopped), tuple(outcome.running)
        return encode(CancelReply(cancel.id, ok=True, run_id=cancel.run_id, stopped=stopped, running=running))

    async def _read(self, read: ReadThread, user_id: str) -> bytes:
        limits = self._limits
        most = min(read.limit or limits.history_events, limits.history_events)
        try:
            found = await self._store.history(read.thread_id, user_id, read.after_seq, most, limits.history_bytes)
        except NotTheOwner:
            raise Refused("unknown_thread") from None
        reply = ReadReply(
            read.id,
            ok=True,
            thread_id=read.thread_id,
            events=tuple(msgspec.Raw(text) for text in found.events),
            gone=tuple(found.gone),
            head_seq=found.head_seq,
            more=found.more,
        )
        return encode(reply)

    def _answer_ask(self, answer: AnswerAsk, user_id: str, session_id: str) -> bytes:
        accepted = self._asks.answer(answer.ask, answer.payload, user_id, _name(session_id, answer.id))
        if accepted is None:
            raise Refused("unknown_ask")
        if not accepted:
            raise Refused("ask_closed")
        return encode(AnswerReply(answer.id, ok=True, ask=answer.ask))


_REFUSALS: dict[type[Exception], str] = {
    IdempotencyConflict: "conflict",
    NotTheOwner: "unknown_thread",
    Quarantined: "quarantined",
    RuntimeClosed: "shutting_down",
    StoreUnavailable: "quarantined",
}
"""The refusals that the emitter's errors are to a client."""

_LOSSES: dict[Cause, str] = {
    Cause.CONFLICT: "conflict",
    Cause.NOT_THE_OWNER: "unknown_thread",
    Cause.QUARANTINED: "quarantined",
    Cause.SHUTDOWN: "shutting_down",
}
"""The same of a message that was handed over, and found out about afterwards; for any other cause it is gone."""


def _name(session_id: str, id_: RequestId) -> str:
    """Derive a name from a request: the same for the same request, and secret without the session."""
    return blake2b(msgspec.json.encode([session_id, id_]), digest_size=12).hexdigest()


def _placement(id_: RequestId, run_id: str | None, receipt: Receipt) -> SendReply:
    position, seq = receipt.position, receipt.seq
    assert position is not None, "a message that was stored has a place"
    assert seq is not None, "a message that was stored has a number"
    return SendReply(
        id_,
        ok=True,
        run_id=run_id,
        thread_id=receipt.thread_id,
        event_id=receipt.event_id,
        seq=seq,
        epoch=position.epoch,
        offset=position.offset,
    )
