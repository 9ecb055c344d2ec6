"""Messages of users: each placed once as an event of its thread, and answered by one run.

A client's ``send`` comes from :mod:`~actors.server.requests`, a message that
the host has from elsewhere from :meth:`~actors.runtime.Thread.send`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Literal

import msgspec
import trio

from actors.checks import awaitable
from actors.context import Context
from actors.errors import Busy, Dropped, IdempotencyConflict, NotTheOwner, Quarantined, RuntimeClosed, Unencodable
from actors.events.event import DROPPED_NOTICE, Lifecycle, Payload, check_identifier
from actors.events.items import Sent
from actors.kernel.bounded import RecentMap
from actors.observability.tracer import Span
from actors.receipts import Receipt
from actors.runs.supervisor import Runs, message_of
from actors.stages import Cause, Stage
from actors.stores.store import Store
from actors.threads.emitter import Emitter
from actors.threads.messages import Emission

Claim = bool | Literal["new"]
"""A permission to have a thread without an owner; ``"new"``: only if it has no event either, when the store is told."""

Authorize = Callable[[str, str], Awaitable[Claim]]
"""Decides if a user (first) may have a thread (second) that has no owner. Runs in a task of the connection."""

NOT_FOR_USERS = frozenset({*Lifecycle, DROPPED_NOTICE})
"""The event types that say what agents and the runtime do; a user who could send them could pretend."""


async def deny(user_id: str, thread_id: str) -> Claim:
    """Let no user have a thread by naming it."""
    return False


async def claim_new(user_id: str, thread_id: str) -> Claim:
    """Let a user have a thread by naming it if it has neither an owner nor an event: clients name their own threads.

    A policy for ``authorize=``, for clients that make up the ids of their
    threads, as those of AG-UI do. The store decides, in the step in which it
    takes the message: of two users who name the same new thread, one gets it,
    and what an agent has emitted into a thread before its owner was known
    is given to neither. A policy of your own may return what this one does.
    """
    return "new"


class Messages:
    """Takes the messages of users into their threads."""

    def __init__(self, context: Context, *, emitter: Emitter, runs: Runs, store: Store, authorize: Authorize) -> None:
        self.refusing = False
        """Nothing new is taken: the runtime drains."""
        self._limits = limits = context.limits
        self._new_id = context.environment.new_id
        self._emitter = emitter
        self._runs = runs
        self._store = store
        self._authorize = authorize
        # Twice what a store remembers: what it knows as a repetition is no message that may have to be refused.
        self._known: RecentMap[tuple[str, str], str] = RecentMap(2 * limits.idempotency_ids)
        """The runs of messages that came in, by thread and event id."""
        self._threads: RecentMap[str, str] = RecentMap(2 * limits.idempotency_ids)
        """The newest threads of these messages, by event id."""

    def __repr__(self) -> str:
        return f"<Messages {'refusing' if self.refusing else 'open'} known={len(self._known)}>"

    async def owner(self, thread_id: str) -> str | None:
        """Ask the store for the owner of a thread. Raises Unencodable for what is no id."""
        check_identifier("thread_id", thread_id)
        return await self._store.owner(thread_id)

    async def authorize(self, user_id: str, thread_id: str) -> Claim:
        """Ask the application whether a user may have a thread that has no owner; raises what its function raises, and
        :class:`trio.TooSlowError`."""
        with trio.fail_after(self._limits.authorize_seconds):
            permitted = await awaitable("authorize", self._authorize(user_id, thread_id))
        return "new" if permitted == "new" else bool(permitted)

    def thread_of(self, event_id: str) -> str | None:
        """Return the thread of the newest message of this id, if one is remembered."""
        return self._threads.get(event_id)

    async def send(
        self,
        thread_id: str,
        payload: Payload,
        *,
        user_id: str,
        message_id: str | None,
        run_id: str | None,
        type_: str,
        authorize: bool,
        span: Span,
    ) -> Sent:
        """Place a message that the host has from a user; see :meth:`actors.runtime.Thread.send`."""
        event_id = self._new_id("m") if message_id is None else message_id
        check_identifier("user_id", user_id)
        check_identifier("message_id", event_id)
        if run_id is not None:
            check_identifier("run_id", run_id)
        check_identifier("type", type_)
        if type_ in NOT_FOR_USERS:
            raise Unencodable("type", "a type that is not an agent's", came=repr(type_))
        claim: Claim = True
        if authorize:
            claim = await self._permitted(user_id, thread_id)
        emission = self.compose(
            thread_id, type_, payload, event_id=event_id, user_id=user_id, claim=claim, traceparent=span.traceparent
        )
        run_id = self._run_of(thread_id, event_id, run_id)
        receipt = await self.place(emission, run_id)
        span.emitted(receipt)
        return sent(receipt, run_id if self._runs.answers else None)

    def compose(
        self,
        thread_id: str,
        type_: str,
        payload: Payload,
        *,
        event_id: str,
        user_id: str,
        claim: Claim,
        traceparent: str | None,
    ) -> Emission:
        """Encode a message, or raise Unencodable or RuntimeClosed."""
        claims = claim is not False
        emission = self._emitter.compose(
            thread_id, type_, payload, event_id=event_id, user_id=user_id, claims=claims, traceparent=traceparent
        )
        emission.only_new = claim == "new"
        return emission

    async def place(self, emission: Emission, run_id: str) -> Receipt:
        """Place a message, once; a run is started when, and only when, it is new. A checkpoint.

        Raises what an emit raises, also where that is found out after it has
        returned; :class:`~actors.errors.Dropped` where the message was lost in
        another way; :class:`~actors.errors.Busy`; and RuntimeClosed while the
        runtime drains.
        """
        if self.refusing:
            raise RuntimeClosed("expected a runtime that takes messages, it is going away")
        key = emission.thread_id, emission.event_id
        assert emission.user_id is not None, "a message has a sender"
        message = message_of(emission.thread_id, emission.user_id, emission.body)
        arrival = self._runs.expect(run_id, message, again=self._known.get(key) is not None)
        if arrival is None:
            if self.refusing:
                raise RuntimeClosed("expected a runtime that takes messages, it is going away")
            raise Busy(f"thread {emission.thread_id}: expected room for a message, so many wait for their runs already")
        emission.arrival = arrival
        if self._runs.answers:
            emission.run_id, emission.edge = run_id, "due"
        try:
            receipt = await self._emitter.emit(emission)
        except BaseException:
            arrival.refused()
            raise
        self._known.put(key, run_id)
        self._threads.put(emission.event_id, emission.thread_id)
        try:
            await receipt.reached(Stage.STORED)
        except Dropped as dropped:
            raise _error_of(emission, dropped) from None
        return receipt

    async def _permitted(self, user_id: str, thread_id: str) -> Claim:
        owner = await self.owner(thread_id)
        if owner == user_id:
            return False
        permitted = await self.authorize(user_id, thread_id)
        if owner is not None or not permitted:
            raise NotTheOwner(f"thread {thread_id!r}: expected one that user {user_id!r} may have, it is not")
        return permitted

    def _run_of(self, thread_id: str, event_id: str, run_id: str | None) -> str:
        """Return the run that answers a message: that of the first time, the one that is asked for, or one that
        follows from the message's id, so that it is the same each time."""
        known = self._known.get((thread_id, event_id))
        if run_id is not None and run_id != known:
            if known is not None:
                text = f"message {event_id!r} of thread {thread_id!r}: expected its run, {known!r}, got {run_id!r}"
                raise IdempotencyConflict(text)
            if self._runs.registry.find(run_id) is not None:
                raise IdempotencyConflict(f"run id {run_id!r}: expected one that no run has whose code goes on")
        return run_id or known or f"run_{name_of(thread_id, event_id)}"


def name_of(*parts: str | int) -> str:
    """Derive a name: the same for the same parts, and secret if one of them is."""
    return blake2b(msgspec.json.encode(parts), digest_size=12).hexdigest()


def sent(receipt: Receipt, run_id: str | None) -> Sent:
    """Say where a message is that was stored, and which run answers it."""
    position, seq = receipt.position, receipt.seq
    assert position is not None, "a message that was stored has a place"
    assert seq is not None, "a message that was stored has a number"
    return Sent(
        thread_id=receipt.thread_id,
        event_id=receipt.event_id,
        run_id=run_id,
        epoch=position.epoch,
        seq=seq,
        offset=position.offset,
    )


_ERRORS: dict[Cause, type[Exception]] = {Cause.QUARANTINED: Quarantined, Cause.SHUTDOWN: RuntimeClosed}
"""The errors of an emit that an event is dropped for without the store's refusal."""


def _error_of(emission: Emission, dropped: Dropped) -> Exception:
    """Return the error that the emit would have raised, had it been known by then."""
    if isinstance(emission.refusal, (IdempotencyConflict, NotTheOwner)):
        return emission.refusal
    error = _ERRORS.get(dropped.cause)
    return dropped if error is None else error(str(dropped))
