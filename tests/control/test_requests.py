"""The requests: each is read from a line, and what is none is refused with what was expected."""

from __future__ import annotations

import msgspec
import pytest

import actors
from actors.control import requests
from actors.control.requests import carry_out, read

EVERY = [
    ({"op": "status"}, "StatusAnswer"),
    ({"op": "explain", "event_id": "e1"}, "ExplainAnswer"),
    ({"op": "why", "user_id": "alice"}, "WhyAnswer"),
    ({"op": "why", "thread_id": "t1"}, "WhyAnswer"),
    ({"op": "why", "device": "c1"}, "WhyAnswer"),
    ({"op": "audit"}, "AuditAnswer"),
    ({"op": "connections", "after": "c1", "limit": 3, "user_id": "alice", "behind": True}, "Connections"),
    ({"op": "failures"}, "Failures"),
    ({"op": "dead_letters"}, "DeadLetters"),
    ({"op": "tree", "after": "a", "limit": 3, "prefix": "b"}, "TreeAnswer"),
]


@pytest.mark.parametrize(("request_", "kind"), EVERY, ids=lambda one: one if isinstance(one, str) else one["op"])
async def test_each_is_answered(request_: dict[str, object], kind: str) -> None:
    """The answer is the struct of its query, and can be written."""
    async with actors.open_runtime() as runtime:
        asked = read(msgspec.json.encode(request_))
        assert not isinstance(asked, requests.Trace)
        told = carry_out(runtime, asked)
        assert type(told).__name__ == kind
        assert msgspec.json.decode(msgspec.json.encode(told))


async def test_a_release_of_what_is_in_service() -> None:
    """It is refused, and says what was expected."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match="expected the path of a quarantined actor"):
            carry_out(runtime, requests.Release(path="users/alice"))


@pytest.mark.parametrize(
    "line",
    [
        b"", b"status", b"[]", b"{}", b'{"op":"stop"}', b'{"op":"status","x":1}', b'{"op":"why"}', b"\xff",
        b'{"op":"why","user_id":"alice","thread_id":"t1"}', b'{"op":"explain","event_id":""}', b"[" * 9_000,
        b'{"op":"connections","limit":0}', b'{"op":"tree","limit":1000000}', b'{"op":"trace"}',
    ],
)  # fmt: skip
def test_what_is_no_request(line: bytes) -> None:
    """It raises ValueError, and nothing else."""
    with pytest.raises(ValueError, match="expected"):
        read(line)


def test_a_trace_is_read() -> None:
    """It names a user."""
    assert read(b'{"op":"trace","user_id":"alice"}') == requests.Trace(user_id="alice")
