"""Questions over HTTP: to ask a thread's owner, and to see what is open."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from actors.events.event import check_object
from actors.http.calls import Call, answer
from actors.http.problems import Problem
from actors.http.schemas import AskAnswer, NewAsk, OpenAsk, OpenAsks


async def ask(call: Call) -> Response:
    """Ask the owner of a thread, and wait for the first answer; a client that goes withdraws its question."""
    new: NewAsk = call.body
    thread_id = call.thread_id
    check_object("payload", new.payload)
    owner = await call.owner(thread_id)
    if owner is None:
        raise Problem("unanswered", f"thread {thread_id} has no owner, who could answer")
    thread = call.runtime.thread(thread_id)
    found = await call.unless_gone(lambda: thread.ask(new.type, new.payload, timeout=new.timeout_s, run_id=new.run_id))
    if found is None:
        raise Problem("shutting_down")
    return answer(AskAnswer(payload=found.payload, user_id=found.user_id, at=found.at))


async def open_asks(call: Call) -> Response:
    """Show the questions of a thread that wait for their answers."""
    thread_id = call.thread_id
    await call.owner(thread_id)
    now = call.runtime.environment.clock()
    return answer(
        OpenAsks(asks=[_shown(one.event, one.deadline - now) for one in call.runtime.tree.asks.in_thread(thread_id)])
    )


class _Event(msgspec.Struct):
    """A question, as its event has it."""

    type: str
    payload: dict[str, object]
    thread_id: str
    event_id: str
    timestamp: float
    run_id: str | None = None


def _shown(event: bytes, seconds: float) -> OpenAsk:
    asked = msgspec.json.decode(event, type=_Event)
    return OpenAsk(
        id=asked.event_id,
        type=asked.type,
        payload=asked.payload,
        thread_id=asked.thread_id,
        timestamp=asked.timestamp,
        run_id=asked.run_id,
        timeout_s=max(round(seconds, 3), 0.0) if seconds != float("inf") else None,
    )
