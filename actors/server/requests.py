"""The requests of clients: to say something, to answer a question, to end a run, to read a thread.

The answer goes back on the connection that asked. When that has gone, what was
asked for has happened or has not, and the client asks again under the same id:
a message is placed once, and answered by one run.
"""

from __future__ import annotations

import msgspec

from actors.context import Context
from actors.errors import (
    Busy,
    Dropped,
    IdempotencyConflict,
    NotTheOwner,
    Quarantined,
    RuntimeClosed,
    StoreUnavailable,
    Unconfirmed,
    Unencodable,
)
from actors.events.items import Sent
from actors.kernel.failures import Barrier
from actors.protocol.client_messages import AnswerAsk, CancelRun, ReadThread, Request, RequestId, Send, op_of
from actors.protocol.server_messages import AnswerReply, CancelReply, ReadReply, SendReply, encode, refusal
from actors.runs.asks import Asks
from actors.runs.supervisor import Runs
from actors.server.messages import NOT_FOR_USERS, Claim, Messages, name_of, sent
from actors.stores.store import Store


class Refused(Exception):
    """A request is not carried out, for a reason of the table of refusals."""

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(text)
        self.name = name
        self.text = text


class Requests:
    """Carries out the requests of clients."""

    def __init__(self, context: Context, *, messages: Messages, runs: Runs, asks: Asks, store: Store) -> None:
        self._limits = context.limits
        self._failures = context.failures
        self._instruments = context.instruments
        self._messages = messages
        self._runs = runs
        self._asks = asks
        self._store = store

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

    def _note_dispute(self, thread_id: str, user_id: str) -> None:
        if self._instruments.disputed is not None:
            self._instruments.disputed(thread_id, user_id)

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
        messages = self._messages
        if messages.refusing:
            raise Refused("shutting_down")
        if send.type in NOT_FOR_USERS:
            raise Refused("bad_request", f"send: expected a type that is not an agent's, got {send.type!r}")
        name = name_of(session_id, send.id)
        event_id, run_id = f"m_{name}", f"run_{name}"
        thread_id = f"t_{name}" if send.thread_id is None else send.thread_id
        begun = send.thread_id is not None or await self._has_begun(thread_id)
        claim = await self._claim(user_id, thread_id) if begun else True
        if messages.thread_of(event_id) not in (None, thread_id):
            raise Refused("conflict")
        try:
            emission = messages.compose(
                thread_id, send.type, send.payload, event_id=event_id, user_id=user_id, claim=claim
            )
            receipt = await messages.place(emission, run_id)
        except Unencodable as error:
            raise Refused("bad_request", f"send: {error}") from None
        except tuple(_REFUSALS) as error:
            raise Refused(_REFUSALS[type(error)]) from None
        return encode(_placement(send.id, sent(receipt, run_id if self._runs.answers else None)))

    async def _has_begun(self, thread_id: str) -> bool:
        """Return true if a thread has events, because then it may have been taken from the user who opened it."""
        found = await self._store.history(thread_id, None, after_seq=0, most_events=1, most_bytes=0)
        return found.head_seq > 0

    async def _claim(self, user_id: str, thread_id: str) -> Claim:
        """Return whether a thread may become this user's; false if it is. Raises Refused if neither.

        The application is asked about another user's threads as well, and its
        answer ignored: how long a refusal takes then says nothing, either.
        """
        try:
            owner = await self._messages.owner(thread_id)
        except Unencodable as error:
            raise Refused("bad_request", f"send: {error}") from None
        if owner == user_id:
            return False
        handling = f"user {user_id}, thread {thread_id}"
        permitted: Claim | None = None
        with Barrier(lambda error: self._failures.report("listeners/authorize", handling, error)):
            permitted = await self._messages.authorize(user_id, thread_id)
        if permitted is None:
            raise Refused("unavailable")
        if owner is not None:
            self._note_dispute(thread_id, user_id)
        if owner is not None or not permitted:
            raise Refused("unknown_thread")
        return permitted

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
            if self._store.known_owner(read.thread_id) is not None:
                self._note_dispute(read.thread_id, user_id)
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
        accepted = self._asks.answer(answer.ask, answer.payload, user_id, name_of(session_id, answer.id))
        if accepted is None:
            raise Refused("unknown_ask")
        if not accepted:
            raise Refused("ask_closed")
        return encode(AnswerReply(answer.id, ok=True, ask=answer.ask))


_REFUSALS: dict[type[Exception], str] = {
    Busy: "busy",
    Dropped: "dropped",
    Unconfirmed: "dropped",
    IdempotencyConflict: "conflict",
    NotTheOwner: "unknown_thread",
    Quarantined: "quarantined",
    RuntimeClosed: "shutting_down",
    StoreUnavailable: "quarantined",
}
"""The refusals that the errors of placing a message are to a client."""


def _placement(id_: RequestId, placed: Sent) -> SendReply:
    return SendReply(
        id_,
        ok=True,
        run_id=placed.run_id,
        thread_id=placed.thread_id,
        event_id=placed.event_id,
        seq=placed.seq,
        epoch=placed.epoch,
        offset=placed.offset,
    )
