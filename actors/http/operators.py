"""The operators' part: to look at the books, the failures and the sockets, and to end things."""

from __future__ import annotations

import attrs
from starlette.responses import Response

from actors.delivery.balance import Balance
from actors.http.calls import Call, answer
from actors.http.schemas import (
    AuditAnswer,
    BalanceAnswer,
    ConnectionAnswer,
    Connections,
    DeadLetterAnswer,
    DeadLetters,
    DrainAnswer,
    FailureAnswer,
    Failures,
    Health,
    RevokeAnswer,
    UndeliveredAnswer,
)


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


async def audit(call: Call) -> Response:
    """Count the events in each stage."""
    books = call.runtime.audit()
    total, unowned = _row(books.total), _row(books.unowned)
    return answer(AuditAnswer(balanced=books.balanced, users=len(books.users), total=total, unowned=unowned))


async def failures(call: Call) -> Response:
    """Show the newest failures."""
    kept = [FailureAnswer(**attrs.asdict(failure)) for failure in call.runtime.failures]
    return answer(Failures(failures=kept, total=call.runtime.failures.total))


async def dead_letters(call: Call) -> Response:
    """Show the newest drops."""
    letters = [DeadLetterAnswer(**attrs.asdict(letter)) for letter in call.runtime.dead_letters]
    return answer(DeadLetters(dead_letters=letters))


async def connections(call: Call) -> Response:
    """Show the sockets that are open."""
    found = call.runtime.tree.server.connections.values()
    shown = [ConnectionAnswer(label=one.label, user_id=one.user_id, plain=one.plain) for one in tuple(found)]
    return answer(Connections(connections=shown))


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


def _row(balance: Balance) -> BalanceAnswer:
    return BalanceAnswer(**attrs.asdict(balance))
