"""Exchange: one request of an ASGI server, and its answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from actors.agui.exchange import Exchange
from actors.agui.problems import Refused

SCOPE = {"type": "http", "method": "GET", "path": "/agui", "headers": [(b"Authorization", b"bEaReR  x ")]}


def exchange(*incoming: dict[str, Any], **scope: Any) -> tuple[Exchange, list[dict[str, Any]]]:
    """An exchange, and what it sends."""
    messages, sent = list(incoming), list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if not messages:
            await trio.sleep_forever()
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    return Exchange({**SCOPE, **scope}, receive=receive, send=send), sent


async def test_a_stream_is_said_event_by_event() -> None:
    """The head comes with the first event; what is refused behind it is the end of the run."""
    one, sent = exchange(query_string=b"threadId=a%20b&x=")
    await one.say([{"type": "RUN_STARTED", "text": "ä\n"}])
    await one.refuse(Refused("busy"))
    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * 3]
    assert sent[1]["body"] == 'data: {"type":"RUN_STARTED","text":"ä\\n"}\n\n'.encode()
    assert json.loads(sent[2]["body"].removeprefix(b"data: "))["code"] == "busy"
    assert not sent[3]["more_body"]
    assert (one.token, one.parameter("threadId"), one.parameter("none")) == ("x", "a b", None)
    assert repr(one) == "<Exchange GET /agui answered>"


async def test_a_client_that_leaves_cancels_the_block() -> None:
    """And one that stays does not; a problem in the block comes out as it is."""
    leaving, _ = exchange({"type": "http.request"}, {"type": "http.disconnect"})
    async with leaving.until_it_leaves():
        await trio.sleep_forever()
    staying, _ = exchange()
    reached = False
    async with staying.until_it_leaves():
        reached = True
    assert reached
    with pytest.raises(Refused, match="bare"):
        async with staying.until_it_leaves():
            raise Refused("busy", "bare")
