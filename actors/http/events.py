"""Events over HTTP: to emit one, to ask where it is, and to read what a thread has."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

import trio
from msgspec import UNSET
from starlette.responses import Response
from starlette.types import ASGIApp

from actors.errors import Dropped
from actors.http.calls import Call, answer
from actors.http.leases import Leases
from actors.http.problems import LOSSES, Problem
from actors.http.schemas import HistoryAnswer, NewEvent, ReceiptAnswer, StageName, Wait
from actors.http.tail import Bells, Tail, begins_after, is_wanted
from actors.receipts import Receipt
from actors.stages import Stage


async def emit(call: Call, leases: Leases) -> Response:
    """Emit one event, and answer with how far it has come."""
    event: NewEvent = call.body
    event_id = _idempotency_key(call, event.event_id)
    thread_id = call.thread_id
    user_id = await call.user_for(thread_id, event.user_id)
    receipt = await leases.emit(
        thread_id,
        event.type,
        event.payload,
        run_id=event.run_id,
        event_id=event_id,
        user_id=user_id,
        traceparent=call.traceparent,
    )
    return await _answer(call, receipt)


async def where(call: Call) -> Response:
    """Say how far an event has come, and how."""
    event_id = call.ids["event_id"]
    named = call.ids.get("thread_id", getattr(call.query, "thread_id", UNSET))
    thread_id = None if named is UNSET else named
    if thread_id is not None:
        call.check_thread(thread_id)
    fate = call.runtime.explain(event_id, thread_id)
    if fate.threads and thread_id is None:
        raise Problem("conflict", str(fate))
    receipt = fate.receipt
    if receipt is None or not _reaches(call, receipt):
        raise Problem("unknown_event", str(fate) if receipt is None else "")
    return await _answer(call, receipt, explained=True)


async def where_is(call: Call) -> Response:
    """Say the same of an event whose thread is not named, or only as a parameter."""
    return await where(call)


async def history(call: Call, bells: Bells) -> ASGIApp:
    """Read the events of a thread that are retained; as a stream of events, go on with those that come."""
    thread_id = call.thread_id
    if await call.owner(thread_id) is None:
        raise Problem("unknown_thread", "there is no such thread, or no user owns it yet")
    after_seq = begins_after(call)
    if is_wanted(call):
        return Tail(call, thread_id, after_seq=after_seq, bells=bells)
    found = await call.runtime.read(thread_id, after_seq=after_seq, limit=call.query.limit or None)
    return answer(
        HistoryAnswer(
            thread_id=thread_id, events=found.events, gone=found.gone, head_seq=found.head_seq, more=found.more
        )
    )


def receipt_answer(receipt: Receipt) -> ReceiptAnswer:
    """Return a receipt as it is written."""
    position, cause = receipt.position, receipt.cause
    return ReceiptAnswer(
        event_id=receipt.event_id,
        thread_id=receipt.thread_id,
        stage=stage_name(receipt.stage),
        seq=receipt.seq,
        offset=None if position is None else position.offset,
        epoch=None if position is None else position.epoch,
        cause=None if cause is None else str(cause),
    )


def stage_name(stage: Stage) -> StageName:
    """Return a stage as this API writes it."""
    return cast("StageName", stage.name.lower())


def check_taken(receipt: Receipt) -> None:
    """Raise Problem for an event that was handed over, and refused then."""
    name = LOSSES.get(receipt.cause) if receipt.stage is Stage.DROPPED and receipt.cause is not None else None
    if name is not None:
        raise Problem(name)


async def _answer(call: Call, receipt: Receipt, *, explained: bool = False) -> Response:
    """Wait as long as was asked for, and answer: 200 if the event came so far, 202 if not, or not yet."""
    wait: Wait = call.query.wait
    awaited = Stage[wait.upper()]

    async def reach() -> None:
        with trio.move_on_after(call.query.timeout_s):
            await receipt.reached(awaited)

    with suppress(Dropped):  # the answer has the stage, and the cause
        await call.unless_gone(reach)
    if not explained:
        check_taken(receipt)
    told = receipt_answer(receipt)
    if explained:
        told.steps = list(call.runtime.explain(receipt).steps)
    return answer(told, 200 if receipt.stage.covers(awaited) else 202)


def _reaches(call: Call, receipt: Receipt) -> bool:
    """Return true if the key reaches an event's thread, and the user in whose log it is."""
    position = receipt.position
    user_id = call.runtime.owner(receipt.thread_id) if position is None else position.user_id
    if not call.key.reaches_thread(receipt.thread_id):
        return False
    return not call.key.users or (user_id is not None and call.key.reaches_user(user_id))


def _idempotency_key(call: Call, event_id: str | None) -> str | None:
    """Return the id that makes the request idempotent: of the header, or the body, or the same of both."""
    keys: list[str] = call.request.headers.getlist("idempotency-key")
    if not keys:
        return event_id
    if len(keys) > 1 or not keys[0]:
        raise Problem("bad_request", "Idempotency-Key: expected one, got none or several")
    try:
        key = keys[0].encode("latin-1").decode()
    except UnicodeDecodeError:
        raise Problem("bad_request", "Idempotency-Key: expected UTF-8") from None
    if event_id not in (None, key):
        raise Problem("bad_request", "event_id: expected the id of the header Idempotency-Key, got another one")
    return key
