"""What a client asks for: to say something, to end a run, to read a thread.

The answer goes back on the connection that asked; what was asked for happens
whether that connection is still there or not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b

import msgspec
import trio

from actors.delivery.recent import Recent
from actors.emitter import Emitter
from actors.environment import Environment
from actors.errors import (
    Dropped,
    IdempotencyConflict,
    NotTheOwner,
    Quarantined,
    RuntimeClosed,
    Unencodable,
)
from actors.events import DROPPED_NOTICE, Lifecycle, check_identifier
from actors.failures import Failures, failure_of
from actors.limits import Limits
from actors.receipts import Receipt
from actors.run import Message
from actors.runs import Expected, Runs
from actors.stages import Stage
from actors.stores.store import Store
from actors.wire.messages import CancelRun, ReadThread, Request, Send, refusal, reply

Authorize = Callable[[str, str], Awaitable[bool]]
"""Says whether a user (first) may have a thread (second) that nobody owns. Runs in a task of the connection."""

_NOT_FOR_USERS = frozenset({*Lifecycle, DROPPED_NOTICE})
"""The event types that say what agents and the runtime do; a user who could send them could pretend."""


async def deny(user_id: str, thread_id: str) -> bool:
    """Nobody gets a thread by naming it."""
    return False


class Refused(Exception):  # noqa: N818 - what a request is
    """A request is not carried out, for a reason of the table of refusals."""

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(text)
        self.name = name
        self.text = text


class Requests:
    """Carries out what clients ask for, one request at a time for each call."""

    def __init__(
        self,
        emitter: Emitter,
        runs: Runs,
        store: Store,
        authorize: Authorize,
        limits: Limits,
        environment: Environment,
        failures: Failures,
    ) -> None:
        self.refusing = False
        """Nothing new is taken: the runtime drains."""
        self._emitter = emitter
        self._runs = runs
        self._store = store
        self._authorize = authorize
        self._limits = limits
        self._environment = environment
        self._failures = failures
        self._threads: Recent[str, str] = Recent(limits.idempotency_ids)
        """The threads of messages that came in, by event id."""

    async def answer(self, request: Request, user_id: str, session_id: str) -> bytes:
        """Carry out a request of a user; the reply. Cancelled, it may or may not have been carried out."""
        try:
            match request:
                case Send():
                    return await self._send(request, user_id, session_id)
                case CancelRun():
                    return await self._cancel(request, user_id)
                case ReadThread():
                    return self._read(request, user_id)
        except Refused as refused:
            return refusal(request.id, refused.name, refused.text)
        except Exception as error:  # noqa: BLE001 - a failure of ours, which costs this request alone
            self._record("requests", type(request).__name__.lower(), error)
            return refusal(request.id, "failed")

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
        name = blake2b(msgspec.json.encode([session_id, send.id]), digest_size=12).hexdigest()
        thread_id, event_id, run_id = f"t_{name}", f"m_{name}", f"run_{name}"
        if send.thread_id is not None:
            thread_id = send.thread_id
            await self._check_access(user_id, thread_id)
        known = self._threads.get(event_id)
        if known not in (None, thread_id):
            raise Refused("conflict")
        message = Message(thread_id, user_id, event_id, send.type, send.payload)
        receipt = await self._place(message, run_id, again=known is not None)
        return reply(send.id, run_id=run_id if self._runs.answers else None, **_placement(receipt))

    async def _check_access(self, user_id: str, thread_id: str) -> None:
        """Raise Refused unless a thread is this user's, or may become it.

        The application is asked about another user's threads as well, and its
        answer ignored: how long a refusal takes then says nothing, either.
        """
        try:
            check_identifier("thread_id", thread_id)
        except Unencodable as error:
            raise Refused("bad_request", f"send: {error}") from None
        owner = self._store.owner(thread_id)
        if owner == user_id:
            return
        try:
            with trio.fail_after(self._limits.authorize_seconds):
                allowed = await self._authorize(user_id, thread_id)
        except Exception as error:  # noqa: BLE001 - the application's failure; the client tries again
            self._record("listeners/authorize", f"user {user_id}, thread {thread_id}", error)
            raise Refused("unavailable") from None
        if owner is not None or not allowed:
            raise Refused("unknown_thread")

    async def _place(self, message: Message, run_id: str, *, again: bool) -> Receipt:
        """Place a message, once; Refused says why it was not."""
        expected = self._runs.expect(run_id, message, again=again)
        if expected is None:
            raise Refused("shutting_down" if self.refusing else "busy")
        try:
            receipt = await self._emit(message, expected)
            self._threads.put(message.event_id, message.thread_id)
            await receipt.reached(Stage.STORED)
        except Unencodable as error:
            raise Refused("bad_request", f"send: {error}") from None
        except (IdempotencyConflict, NotTheOwner, Quarantined, RuntimeClosed, Dropped) as error:
            raise Refused(_REFUSALS.get(type(error), "dropped")) from None
        return receipt

    async def _emit(self, message: Message, expected: Expected) -> Receipt:
        try:
            emission = self._emitter.compose(
                message.thread_id,
                message.type,
                message.payload,
                event_id=message.event_id,
                user_id=message.user_id,
                arrival=expected,
            )
            return await self._emitter.emit(emission)
        except BaseException:
            expected.refused()
            raise

    # --- ending a run, reading a thread -------------------------------------------

    async def _cancel(self, cancel: CancelRun, user_id: str) -> bytes:
        outcome = await self._runs.cancel(cancel.run_id, "user", user_id)
        if outcome is None:
            raise Refused("unknown_run")
        return reply(cancel.id, run_id=cancel.run_id, stopped=outcome.stopped, running=outcome.running)

    def _read(self, read: ReadThread, user_id: str) -> bytes:
        if self._store.owner(read.thread_id) != user_id:
            raise Refused("unknown_thread")
        limits = self._limits
        most = min(read.limit or limits.history_events, limits.history_events)
        found = self._store.history(read.thread_id, read.after_seq, most, limits.history_bytes)
        return reply(
            read.id,
            thread_id=read.thread_id,
            events=[msgspec.Raw(text) for text in found.events],
            gone=found.gone,
            head_seq=found.head_seq,
            more=found.more,
        )

    def _record(self, path: str, handling: str, error: Exception) -> None:
        self._failures.record(failure_of(path, handling, error, self._environment.wall_clock()))


_REFUSALS: dict[type[Exception], str] = {
    IdempotencyConflict: "conflict",
    NotTheOwner: "unknown_thread",
    Quarantined: "quarantined",
    RuntimeClosed: "shutting_down",
}
"""What the emitter's errors are to a client; one that is not here means that the message is gone."""


def _placement(receipt: Receipt) -> dict[str, object]:
    """Where a message is, for ever."""
    position = receipt.position
    assert position is not None, "a message that was stored has a place"
    return {
        "thread_id": receipt.thread_id,
        "event_id": receipt.event_id,
        "seq": receipt.seq,
        "epoch": position.epoch,
        "offset": position.offset,
    }
