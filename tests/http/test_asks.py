"""Questions over HTTP: one answer, or the reason why there is none."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.http.serving import KEYS, SUPPORT, door, until
from tests.support.raw import connected

ASK = {"type": "approval", "payload": {"text": "Deploy?"}, "timeout_s": 60}
PATH = "/v1/threads/t1/asks"


async def test_a_question_is_answered() -> None:
    """It is shown on the owner's devices, and listed while it is open; the request gets the answer."""
    async with door() as api, connected(await api.runtime_address()) as peer:
        await api.runtime.bind("t1", "alice")
        await peer.attach("alice")
        answers: list[tuple[int, Any]] = []

        async def ask() -> None:
            answers.append(await api.ask("POST", PATH, ASK | {"run_id": "r1"}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            asked = (await peer.next_op("ask"))["event"]
            status, told = await api.ask("GET", PATH)
            (one,) = told["asks"]
            assert status == 200
            assert (one["id"], one["type"], one["payload"]) == (asked["event_id"], "approval", {"text": "Deploy?"})
            assert (one["thread_id"], one["run_id"]) == ("t1", "r1")
            assert 0 < one["timeout_s"] <= 60
            await peer.say({"op": "answer", "id": 1, "ask": asked["event_id"], "payload": {"choice": "yes"}})
        status, told = answers[0]
        assert (status, told["payload"], told["user_id"]) == (200, {"choice": "yes"}, "alice")
        assert await api.ask("GET", PATH) == (200, {"asks": []})


async def test_a_question_without_an_answer() -> None:
    """It is told why: nobody was there, or there is no owner."""
    async with door() as api:
        assert await api.refusal("POST", PATH, ASK) == (408, "unanswered")
        await api.runtime.bind("t1", "alice")
        status, told = await api.ask("POST", PATH, ASK | {"timeout_s": 0})
        assert (status, told["error"]["name"]) == (408, "unanswered")
        assert "no device of alice was there to see it" in told["error"]["message"]


async def test_a_client_that_goes_withdraws_its_question() -> None:
    """Its devices do not show it any more."""
    async with door() as api, connected(await api.runtime_address()) as peer:
        await api.runtime.bind("t1", "alice")
        await peer.attach("alice")
        async with await api.stream() as stream:
            body = b'{"type":"approval","payload":{},"timeout_s":3600}'
            await stream.send_all(
                b"POST /v1/threads/t1/asks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            await peer.next_op("ask")
        closed = await peer.next_op("ask_closed")
        assert closed["reason"] == "withdrawn"
        await until(lambda: "0 requests" in repr(api.api))


@pytest.mark.parametrize("seconds", [-1, 2_147_484, "1e400", None])
async def test_wrong_times(seconds: object) -> None:
    """A time that no browser can wait is refused."""
    async with door() as api:
        await api.runtime.bind("t1", "alice")
        assert await api.refusal("POST", PATH, ASK | {"timeout_s": seconds}) == (400, "bad_request")


async def test_a_key_asks_only_whom_it_reaches() -> None:
    """In threads of others it neither asks nor looks."""
    async with door(keys=KEYS, key=SUPPORT) as api:
        assert await api.refusal("POST", PATH, ASK) == (403, "forbidden")
        assert await api.refusal("GET", PATH) == (403, "forbidden")
