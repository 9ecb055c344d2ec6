"""Refusals: each is said, of a flood some, and the newest are known to explain."""

from __future__ import annotations

import pytest

from actors.observability.refusals import Refusal, Refusals, host_of
from tests.support.served import context_of


def refusal(at: float, user_id: str | None = None, peer: str = "10.0.0.7:1") -> Refusal:
    return Refusal(peer=peer, source="hello", reason="it has expired", at=at, user_id=user_id)


def test_said_by_whose_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """A refused client is named by its user where that is known, else by its address; each once in a period."""
    refusals = Refusals(context_of(lambda: 0.0))
    for port in (1, 2):
        refusals.note(refusal(1.0, peer=f"10.0.0.7:{port}"))
        refusals.note(refusal(2.0, "alice"))
    assert [text.partition(":1 ")[0] for text in caplog.messages[:1]] == ["the client at 10.0.0.7"]
    assert caplog.messages[1] == (
        "a device of user alice, at 10.0.0.7:1, was refused: it has expired (hello). It comes back when it has other"
        " credentials"
    )
    assert len(caplog.messages) == 2


def test_the_newest_are_known() -> None:
    """Of a flood the newest are remembered, oldest first, and found by time."""
    refusals = Refusals(context_of(lambda: 0.0))
    for number in range(1_000):
        refusals.note(refusal(float(number)))
    assert [one.at for one in refusals.since(998.0)] == [998.0, 999.0]
    assert repr(refusals) == "<Refusals 256>"


def test_hosts() -> None:
    """The host of an address is what stands before its port, also of IPv6; what has no port is the host."""
    assert [host_of(peer) for peer in ("10.0.0.7:5", "[::1]:5", "test")] == ["10.0.0.7", "[::1]", "test"]
