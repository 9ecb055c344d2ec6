"""Calls: parameters and waits, without a server."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from starlette.requests import Request

import actors
from actors.http.calls import Bounds, Call, ClientGone, answer, read_query, refuse, send_last
from actors.http.keys import Key
from actors.http.problems import Problem
from actors.http.schemas import Health, Reading, Rebinding, Waiting


def request(query: bytes = b"") -> Request:
    """A request with parameters."""
    return Request({"type": "http", "query_string": query, "headers": [], "method": "GET", "path": "/"})


def call(receive: Any) -> Call:
    """A call of a client that says what ``receive`` returns."""
    runtime: Any = None
    return Call(runtime=runtime, key=Key(name="k"), request=request(), receive=receive, ids={}, query=None)


async def silent() -> dict[str, Any]:
    """A client that stays, and says nothing."""
    await trio.sleep_forever()
    return {}


def test_parameters_are_read_as_their_types() -> None:
    """Numbers and truths from text; without a parameter its default."""
    assert read_query(request(b"after_seq=3&limit=7"), Reading) == Reading(after_seq=3, limit=7)
    assert read_query(request(b"force=true"), Rebinding).force
    assert read_query(request(b"wait=acked&timeout_s=0.5"), Waiting) == Waiting(wait="acked", timeout_s=0.5)
    assert read_query(request(), Waiting) == Waiting()


@pytest.mark.parametrize("query", [b"force=2", b"force", b"force=1&force=1", b"x=1", b"force=%c3", b"\xff=1"])
def test_wrong_parameters(query: bytes) -> None:
    """Each is refused."""
    with pytest.raises(Problem) as caught:
        read_query(request(query), Rebinding)
    assert caught.value.row.name == "bad_request"


async def test_a_wait_ends_with_what_it_waited_for() -> None:
    """Its result comes out, or its error, bare."""

    async def seven() -> int:
        return 7

    async def fails() -> int:
        raise actors.Unanswered("nobody there")

    assert await call(silent).unless_gone(seven) == 7
    with pytest.raises(actors.Unanswered, match="nobody there"):
        await call(silent).unless_gone(fails)


async def test_a_wait_ends_with_its_client() -> None:
    """What was waited for is cancelled."""
    messages = iter([{"type": "http.request"}, {"type": "http.disconnect"}])
    cancelled = trio.Event()

    async def receive() -> dict[str, str]:
        return next(messages)

    async def forever() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    with pytest.raises(ClientGone):
        await call(receive).unless_gone(forever)
    assert cancelled.is_set()


async def test_a_wait_is_cancelled_from_outside() -> None:
    """The scope that was cancelled sees it."""
    with trio.move_on_after(0) as scope:
        await call(silent).unless_gone(trio.sleep_forever)
    assert scope.cancelled_caught


def test_a_refusal_says_when_to_come_again() -> None:
    """In whole seconds, at least one."""
    assert refuse(Problem("busy"), {}, 0.1).headers["retry-after"] == "1"
    assert refuse(Problem("busy"), {}, 2.5).headers["retry-after"] == "3"
    assert "retry-after" not in refuse(Problem("unavailable"), {}, 2.5).headers
    assert refuse(Problem("unknown_op", status=405), {"allow": "GET"}, 1).headers["allow"] == "GET"


async def test_the_rest_of_a_body_is_read_after_the_answer() -> None:
    """So far as it is bounded; then the answer is ended."""
    sent: list[Any] = []
    received = 0

    async def receive() -> dict[str, Any]:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"x" * 10, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    await send_last(answer(Health(status="ok")), receive, send, Bounds(discarded_bytes=35))
    assert received == 4
    assert [message.get("more_body") for message in sent] == [None, True, False]
