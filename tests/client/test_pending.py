"""Requests without an answer."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from actors.client import SessionLost
from actors.protocol.client_messages import AnswerAsk, CancelRun, ReadThread, Send, op_of
from actors.protocol.client_messages import Request as Message
from tests.client.begun import REPLAYED, begun


@pytest.mark.parametrize(
    "message", [Send("", {}), ReadThread("", "t1"), CancelRun("", "r1"), AnswerAsk("", "a1", {})], ids=op_of
)
def test_after_ten_minutes_a_request_is_given_up(message: Message) -> None:
    """A server remembers it for so long since it was first written: it is not written again, and may have been carried
    out. One that no server has seen waits."""
    client, until = begun(), list[float]()
    request = client.requests.make(lambda id_: replace(message, id=id_), lambda: None, until.append)
    assert len(client.due(1_000.0)) == 1
    assert until == [1_600.0]
    client.hello()
    client.take(json.dumps(REPLAYED))
    unseen = client.requests.make(lambda id_: replace(message, id=id_), lambda: None, until.append)
    assert len(client.due(1_599.0)) == 2
    client.hello()
    client.take(json.dumps(REPLAYED))
    client.requests.forget(unseen)
    assert client.due(1_600.0) == []
    assert isinstance(request.outcome, SessionLost)
    assert str(request.outcome) == (
        "expected a reply within ten minutes in one session, got none: it may have been carried out"
    )
