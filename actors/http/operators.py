"""The operators' part: to look at the books, the failures and the sockets, and to end things."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp

from actors.control import queries
from actors.http.calls import Call, answer
from actors.http.problems import Problem
from actors.http.schemas import DrainAnswer, Health, RevokeAnswer, UndeliveredAnswer
from actors.http.tracing import TraceStream


async def revoke(call: Call) -> Response:
    """End every connection of a user whose credentials are revoked."""
    user_id = call.ids["user_id"]
    call.check_user(user_id)
    return answer(RevokeAnswer(user_id=user_id, connections=call.runtime.revoke(user_id)))


async def drain(call: Call) -> Response:
    """Go away in good order; the answer comes when everything has ended."""
    report = await call.runtime.drain(call.body.timeout_s, runs=call.body.runs)
    undelivered = [
        UndeliveredAnswer(count=one.count, unwritten=one.unwritten, user_id=one.user_id, thread_id=one.thread_id)
        for one in report.undelivered
    ]
    return answer(
        DrainAnswer(
            undelivered=undelivered, cancelled=report.cancelled, abandoned=report.abandoned,
            goodbyes=report.goodbyes, aborted=report.aborted,
        )
    )  # fmt: skip


async def status(call: Call) -> Response:
    """Show the runtime in numbers."""
    return answer(queries.status(call.runtime))


async def audit(call: Call) -> Response:
    """Show the books in total."""
    return answer(queries.audit(call.runtime))


async def failures(call: Call) -> Response:
    """Show the newest failures."""
    return answer(queries.failures(call.runtime, call.query.limit))


async def dead_letters(call: Call) -> Response:
    """Show the newest drops."""
    return answer(queries.dead_letters(call.runtime, call.query.limit))


async def connections(call: Call) -> Response:
    """Show a page of the connections."""
    query = call.query
    user_id = query.user_id or None
    return answer(
        queries.connections(call.runtime, query.after or None, query.limit, user_id=user_id, behind=query.behind)
    )


async def tree(call: Call) -> Response:
    """Show a page of the users, with devices, threads and runs."""
    return answer(queries.tree(call.runtime, call.query.after or None, call.query.limit, call.query.prefix))


async def why(call: Call) -> Response:
    """Say which events of a user are not acked, and why."""
    user_id = call.ids["user_id"]
    call.check_user(user_id)
    return answer(queries.why(call.runtime, user_id))


async def why_thread(call: Call) -> Response:
    """Say where the events of a thread go, and why they are not acked."""
    thread_id = call.thread_id
    call.check_user(call.runtime.owner(thread_id))
    return answer(queries.why_thread(call.runtime, thread_id))


async def why_event(call: Call) -> Response:
    """Say what became of an event, in a sentence and the steps to it."""
    told = queries.explain(call.runtime, call.ids["event_id"], call.query.thread_id or None)
    for thread_id in told.threads or ([] if told.thread_id is None else [told.thread_id]):
        owner = told.user_id or call.runtime.owner(thread_id)
        # Without its name, because the key does not reach it.
        if not call.key.reaches_thread(thread_id) or not (owner is None or call.key.reaches_user(owner)):
            raise Problem("forbidden", "expected an event of a thread and a user that the key reaches")
    return answer(told)


async def release(call: Call) -> Response:
    """Put a quarantined actor back into service."""
    try:
        return answer(queries.release(call.runtime, call.body.path))
    except ValueError as error:
        raise Problem("unknown_actor", str(error)) from None


async def trace(call: Call) -> ASGIApp:
    """Show what happens to a user, as it happens."""
    user_id = call.ids["user_id"]
    call.check_user(user_id)
    return TraceStream(call, user_id)


async def healthz(call: Call) -> Response:
    """Say that the process lives."""
    return answer(Health(status="ok"))


async def readyz(call: Call) -> Response:
    """Say whether events are taken: not while the runtime drains, nor while its store is in trouble."""
    tree = call.runtime.tree
    trouble = tree.store.trouble
    if tree.messages.refusing or tree.emitter.closed:
        return answer(Health(status="draining"), 503)
    if trouble is not None:
        return answer(Health(status=f"the store cannot store: {trouble}"), 503)
    return answer(Health(status="ok"))
