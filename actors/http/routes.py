"""The routes of the API: one row for each request, from which it is served and documented."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, update_wrapper
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.responses import Response

from actors.control import answers as told
from actors.http import asks, events, lines, messages, metrics, operators, owners, runs
from actors.http import schemas as of
from actors.http.calls import Call
from actors.http.document import document
from actors.http.leases import Leases
from actors.http.operations import Operation, Table
from actors.http.pages import showing
from actors.http.tail import Bells
from actors.wire.http import Page

_THREAD = "/v1/threads/{thread_id}"
_EMITTING = ("conflict", "not_the_owner", "run_ended", "shutting_down", "unavailable", "quarantined")
_TRACED: dict[str, tuple[Any, str]] = {
    "traceparent": (str, "the trace of the request, by W3C; a malformed one is ignored")
}
_OWNING = ("not_the_owner", "shutting_down", "unavailable", "quarantined")


def table(leases: Leases, bells: Bells, pages: Mapping[str, Page] = MappingProxyType({})) -> Table:
    """Return the operations of an API with these leases, and with these bells for its readers.

    ``pages`` are shown beside it; the document does not have them, because no program asks for them.
    """
    rows = [*_events(leases, bells), *_owners(), *_runs(leases), *_asks(), *_operators(), *_health()]
    text = msgspec.json.encode(document(rows))

    async def openapi(call: Call) -> Response:
        return Response(text, media_type="application/json")

    return Table(
        *rows,
        Operation(method="GET", path="/v1/openapi.json", act=openapi, summary="Show this document", open=True),
        Operation(method="GET", path="/metrics", act=metrics.metrics, summary="Show the metrics", open=True),
        *showing(pages),
    )


def _with(act: Any, **given: Any) -> Any:
    return update_wrapper(partial(act, **given), act)


def _events(leases: Leases, bells: Bells) -> list[Operation]:
    receipts: Any = {200: of.ReceiptAnswer, 202: of.ReceiptAnswer}
    return [
        Operation(
            method="POST", path=f"{_THREAD}/events", act=_with(events.emit, leases=leases), summary="Emit an event",
            query=of.Waiting, body=of.NewEvent, answers=receipts, refusals=_EMITTING,
            headers={
                "Idempotency-Key": (of.Id, "the event's id: sent again with it, the event is emitted once"), **_TRACED,
            },
        ),
        Operation(
            method="GET", path=f"{_THREAD}/events", act=_with(events.history, bells=bells), stream=True,
            summary="Read a thread's events, and those that come",
            headers={"Last-Event-ID": (of.SeqText, "the last event that was taken, in place of after_seq")},
            query=of.Reading, answers={200: of.HistoryAnswer}, refusals=("unknown_thread", "unavailable"),
        ),
        Operation(
            method="GET", path=_THREAD + "/events/{event_id}", act=events.where, summary="Say where an event is",
            query=of.Waiting, answers=receipts, refusals=("unknown_event",),
        ),
        Operation(
            method="GET", path="/v1/events/{event_id}", act=events.where_is, summary="Say where an event is, by its id",
            query=of.Lookup, answers=receipts, refusals=("unknown_event", "conflict"),
        ),
        Operation(
            method="POST", path=f"{_THREAD}/messages", act=messages.send, summary="Say something for a user",
            body=of.NewMessage, answers={200: of.SentAnswer}, refusals=(*_EMITTING, "busy", "dropped"),
            headers=_TRACED,
        ),
        Operation(
            method="POST", path="/v1/events", act=_with(lines.feed, leases=leases),
            summary="Emit an event for each line", query=of.Feeding, body=of.Line,
            answers={200: of.LineAnswer}, lines=True, refusals=("shutting_down",),
        ),
    ]  # fmt: skip


def _owners() -> list[Operation]:
    path, owner = f"{_THREAD}/owner", {200: of.OwnerAnswer}
    return [
        Operation(
            method="GET", path=path, act=owners.get_owner, summary="Say whose a thread is",
            answers=owner, refusals=("unknown_thread", "unavailable"),
        ),
        Operation(
            method="PUT", path=path, act=owners.put_owner, summary="Give a thread to a user",
            query=of.Rebinding, body=of.NewOwner, answers=owner, refusals=_OWNING,
        ),
        Operation(
            method="DELETE", path=path, act=owners.delete_owner, summary="Leave a thread without an owner",
            answers=owner, refusals=_OWNING[1:],
        ),
    ]  # fmt: skip


def _runs(leases: Leases) -> list[Operation]:
    path, run = "/v1/runs/{run_id}", {200: of.RunAnswer}
    return [
        Operation(
            method="POST", path="/v1/runs", act=_with(runs.begin_run, leases=leases), summary="Begin a run",
            body=of.NewRun, answers=run, refusals=("conflict", *_OWNING, "failed"), headers=_TRACED,
        ),
        Operation(
            method="GET", path=path, act=_with(runs.get_run, leases=leases), summary="Say whether a run goes on",
            query=of.Watching, answers=run, refusals=("unknown_run",),
        ),
        Operation(
            method="POST", path=f"{path}/end", act=_with(runs.end_run, leases=leases), summary="End a run",
            body=of.RunEnd, answers=run, refusals=("unknown_run",),
        ),
        Operation(
            method="POST", path=f"{path}/cancel", act=runs.cancel_run, summary="Cancel a run and its children",
            body=of.Cancelling, answers={200: of.CancelAnswer}, refusals=("unknown_run",),
        ),
    ]  # fmt: skip


def _asks() -> list[Operation]:
    path = f"{_THREAD}/asks"
    return [
        Operation(
            method="POST", path=path, act=asks.ask, summary="Ask a thread's owner", body=of.NewAsk,
            answers={200: of.AskAnswer}, refusals=("unanswered", "unavailable"),
        ),
        Operation(
            method="GET", path=path, act=asks.open_asks, summary="Show the open questions of a thread",
            answers={200: of.OpenAsks}, refusals=("unavailable",),
        ),
    ]  # fmt: skip


def _operators() -> list[Operation]:
    nothing = of.Nothing
    shown: list[Any] = [
        ("status", operators.status, "Show the runtime in numbers", told.StatusAnswer, nothing),
        ("audit", operators.audit, "Show the books in total", told.AuditAnswer, nothing),
        ("failures", operators.failures, "Show the newest failures", told.Failures, of.Newest),
        ("dead_letters", operators.dead_letters, "Show the newest drops", told.DeadLetters, of.Newest),
        ("connections", operators.connections, "Show a page of the connections", told.Connections, of.Listing),
        ("tree", operators.tree, "Show a page of the users", told.TreeAnswer, of.Paging),
        ("users/{user_id}/why", operators.why, "Say why a user's events are not acked", told.WhyAnswer, nothing),
        ("threads/{thread_id}/why", operators.why_thread, "Say where a thread's events go", told.WhyAnswer, nothing),
    ]
    return [
        Operation(
            method="POST", path="/v1/users/{user_id}/revoke", act=operators.revoke, body=of.Nothing, admin=True,
            summary="End every connection of a user", answers={200: of.RevokeAnswer},
        ),
        Operation(
            method="POST", path="/v1/drain", act=operators.drain, summary="Go away in good order", body=of.Draining,
            answers={200: of.DrainAnswer}, admin=True,
        ),
        Operation(
            method="GET", path="/v1/events/{event_id}/why", act=operators.why_event, query=of.Naming, admin=True,
            summary="Say what became of an event", answers={200: told.ExplainAnswer},
        ),
        Operation(
            method="POST", path="/v1/release", act=operators.release, summary="Put an actor back into service",
            body=of.Releasing, answers={200: told.ReleaseAnswer}, refusals=("unknown_actor",), admin=True,
        ),
        Operation(
            method="GET", path="/v1/users/{user_id}/trace", act=operators.trace, lines=True, stream=True,
            summary="Show what happens to a user, as it happens", answers={200: told.TraceLine}, admin=True,
        ),
        *(
            Operation(
                method="GET", path=f"/v1/{name}", act=act, summary=text, query=query, answers={200: kind}, admin=True
            )
            for name, act, text, kind, query in shown
        ),
    ]  # fmt: skip


def _health() -> list[Operation]:
    health: Any = {200: of.Health}
    return [
        Operation(
            method="GET", path="/healthz", act=operators.healthz, summary="Say that the process lives",
            answers=health, open=True,
        ),
        Operation(
            method="GET", path="/readyz", act=operators.readyz, summary="Say whether events are taken",
            answers=health | {503: of.Health}, open=True,
        ),
    ]  # fmt: skip
