"""The answer to an upgrade request, as it comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.wire.upgrade_answer import BODY_BYTES, HEAD_BYTES, UpgradeAnswerReader, Upgraded, UpgradeRefused
from tests.support.raw import KEY, accept_of, upgrade_request

RIGHT = (
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: keep-alive, UPGRADE\r\nupgrade: WebSocket\r\n"
    + f"sec-websocket-accept: {accept_of(KEY)}\r\nSec-WebSocket-Protocol: actors.v1\r\n\r\n".encode()
)


def read(data: bytes, sizes: int = 4_096) -> Upgraded | UpgradeRefused:
    """Return what a reader makes of an answer that comes in such pieces, and then ends."""
    reader = UpgradeAnswerReader(upgrade_request("actors.v1"))
    try:
        for start in range(0, len(data), sizes):
            agreed = reader.feed(data[start : start + sizes])
            if agreed is not None:
                return Upgraded(agreed.answer, agreed.rest + data[start + sizes :])
        reader.end()
    except UpgradeRefused as declined:
        return declined
    raise AssertionError("an end is no agreement")


@pytest.mark.parametrize(
    "before", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"]
)
@pytest.mark.parametrize("sizes", [1, 7, 4_096])
def test_agreed(before: bytes, sizes: int) -> None:
    """An upgrade is one, however it is written and cut; what came behind it is kept."""
    agreed = read(before + RIGHT + b"\x81\x01x", sizes)
    assert isinstance(agreed, Upgraded)
    assert agreed.answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert accept_of(KEY).encode() in agreed.answer
    assert b"Sec-WebSocket-Protocol: actors.v1" in agreed.answer
    assert agreed.rest == b"\x81\x01x"


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"HTTP/1.1 " + data), st.integers(1, 50))
def test_anything_else_is_declined(data: bytes, sizes: int) -> None:
    """Whatever comes, it ends in one printable line."""
    declined = read(data, sizes)
    assert isinstance(declined, UpgradeRefused)
    assert str(declined).startswith("expected ")
    assert str(declined).isprintable()


def test_refused() -> None:
    """A refusal has its status, and as much of its body as a person reads."""
    declined = read(b"HTTP/1.1 404 No\r\nContent-Type: application/json\r\n\r\n" + b'{"error": "gone"}\n' * 100)
    assert isinstance(declined, UpgradeRefused)
    assert declined.status == 404
    assert str(declined).startswith('expected an upgrade, got 404: {"error": "gone"} {"error"')
    assert len(str(declined)) < BODY_BYTES + 50


def test_the_head_is_bounded() -> None:
    """More than a head's worth of bytes without an answer is none."""
    reader = UpgradeAnswerReader(upgrade_request())
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    for _ in range(HEAD_BYTES // len(interim)):
        assert reader.feed(interim) is None
    with pytest.raises(UpgradeRefused, match="a head of at most"):
        reader.feed(interim)


def test_nothing() -> None:
    """A server that ends the connection has sent no answer."""
    assert str(read(b"")) == "expected an upgrade, the connection ended"
    assert str(read(RIGHT[:40])).endswith(", and then the end")
