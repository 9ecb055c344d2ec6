"""The protocol engine, fed with bytes: what it makes of frames, and how a peer ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.limits import Limits
from actors.wire.engine import Engine
from actors.wire.received import Answer, Ended, ended
from tests.support.raw import BINARY, CLOSE, PING, PONG, TEXT, frame

LIMITS = Limits()


def fed(*chunks: bytes, limits: Limits = LIMITS) -> list[Any]:
    engine, items = Engine(limits, 0.0), list[Any]()
    for chunk in chunks:
        items += engine.receive(chunk, 0.0)
    return items


def test_messages_of_both_kinds() -> None:
    """Whole, in fragments, empty, and with a ping between the fragments."""
    assert fed(frame(TEXT, b"one") + frame(BINARY, b"two")) == ["one", b"two"]
    assert fed(frame(TEXT) + frame(BINARY)) == ["", b""]
    parts = [frame(TEXT, b"th", fin=False), frame(PING, b"?"), frame(0, b"r", fin=False), frame(0, b"ee")]
    assert fed(*parts) == [Answer(b"\x8a\x01?"), "three"]
    assert fed(frame(BINARY, b"a", fin=False), frame(0, b"b")) == [b"ab"]
    assert fed(frame(PONG, b"unasked"), frame(TEXT, b"x")) == ["x"]


@given(st.text(max_size=300), st.data())
def test_cut_anywhere(text: str, data: st.DataObject) -> None:
    """How the network cuts a stream does not change what it means."""
    sent = frame(TEXT, text.encode()) + frame(TEXT, b"next")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=5)))
    chunks = [sent[first:last] for first, last in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert fed(*chunks) == [text, "next"]


@pytest.mark.parametrize(
    ("sent", "name", "close"),
    [
        (frame(CLOSE, b"\x03\xe8done"), "left", b"\x88\x06\x03\xe8done"),
        (frame(CLOSE), "left", b"\x88\x00"),
        (frame(TEXT, b"\xff"), "bad_text", None),
        (frame(0, b"x"), "bad_frame", None),
        (frame(3, b"x"), "bad_frame", None),
        (frame(CLOSE, b"\x00"), "bad_frame", None),
        (frame(TEXT, b"x" * (LIMITS.inbound_bytes + 1)), "too_big", None),
    ],
)
def test_the_end(sent: bytes, name: str, close: bytes | None) -> None:
    """A Close is answered in kind, a fault is not; messages before the end count, and nothing after it does."""
    engine = Engine(LIMITS, 0.0)
    *before, end = engine.receive(frame(TEXT, b"before") + sent + frame(TEXT, b"after"), 0.0)
    assert before == ["before"]
    assert isinstance(end, Ended)
    assert (end.name, end.close) == (name, close)
    assert engine.receive(frame(TEXT, b"later"), 0.0) == []
    assert not engine.at_boundary


def test_a_flood_of_pongs() -> None:
    """What gets no answer is limited as well."""
    items = fed(frame(PONG) * 10_000)
    assert [item.name for item in items] == ["flooding"]


def test_the_end_without_a_close() -> None:
    """A stream that just ends has the code for that, which no peer can send."""
    assert ended(1006) == Ended("vanished", ended(1006).text)


def test_boundaries() -> None:
    """A message may begin before the first byte, and after a whole message, but not inside of one."""
    engine = Engine(LIMITS, 0.0)
    assert engine.at_boundary
    for chunk, at_boundary in (
        (frame(TEXT, b"x", fin=False), False),
        (frame(PING), False),
        (frame(0, b"x"), True),
        (frame(TEXT, b"xyz")[:3], False),
        (frame(TEXT, b"xyz")[3:], True),
    ):
        engine.receive(chunk, 0.0)
        assert engine.at_boundary is at_boundary
