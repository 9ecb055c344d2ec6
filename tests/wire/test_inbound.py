"""The short cut for short texts, held to the verdict of the engine that it goes around."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.limits import Limits
from actors.wire.engine import Engine
from actors.wire.inbound import Inbound
from tests.support.raw import BINARY, CLOSE, PING, PONG, TEXT, frame

LIMITS = Limits()
SMALL = Limits(inbound_bytes=100)


def verdicts(chunks: list[bytes], limits: Limits = LIMITS) -> tuple[list[Any], list[Any]]:
    """What comes of the same chunks with the short cut, and without."""
    inbound, engine = Inbound(limits), Engine(limits, 0.0)
    short, whole = list[Any](), list[Any]()
    for chunk in chunks:
        short += inbound.receive(chunk, 0.0)
        whole += engine.receive(chunk, 0.0)
    return short, whole


def test_a_device_that_only_acks_has_no_engine() -> None:
    """Any number of short texts, in one read or in many."""
    inbound = Inbound(LIMITS)
    texts = [f'{{"op":"ack","offset":{n}}}' for n in range(100)]
    assert inbound.receive(b"".join(frame(TEXT, text.encode()) for text in texts), 0.0) == texts
    assert inbound.receive(frame(TEXT, "é".encode()), 0.0) == ["é"]
    assert "at a boundary" in repr(inbound)
    inbound.receive(frame(PING), 0.0)
    assert "Engine" in repr(inbound)


FRAMES = st.builds(
    frame,
    st.sampled_from([TEXT, TEXT, TEXT, BINARY, PING, PONG, CLOSE, 0, 3, 0xB]),
    st.one_of(
        st.text(max_size=40).map(str.encode), st.binary(max_size=130), st.just(b"\xf0\x9f\x98\x80"), st.just(b"\xc3")
    ),
    fin=st.sampled_from([True, True, True, False]),
)
"""Frames of every kind; most of them such as devices send."""


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """A stream of frames, perhaps with a byte that is another than it was, cut anywhere."""
    sent = bytearray(b"".join(draw(st.lists(FRAMES, max_size=8))))
    for at in draw(st.lists(st.integers(0, max(len(sent) - 1, 0)), max_size=2)) if sent else []:
        sent[at] ^= draw(st.integers(0, 255))
    cuts = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    return [bytes(sent[first:last]) for first, last in zip([0, *cuts], [*cuts, len(sent)], strict=True)]


@given(streams(), st.sampled_from([LIMITS, SMALL]))
def test_the_same_verdict(chunks: list[bytes], limits: Limits) -> None:
    """Whatever comes, broken or not: the short cut takes what the engine would, and leaves all else to it."""
    short, whole = verdicts(chunks, limits)
    assert short == whole


def test_the_same_verdict_on_noise(at_length: bool) -> None:
    """And on a hundred thousand bytes at random behind frames that are well formed, a million at length."""
    chance = random.Random(14)
    for _ in range(20_000 if at_length else 2_000):
        sent = b"".join(frame(TEXT, chance.randbytes(chance.randrange(4))) for _ in range(chance.randrange(3)))
        sent += bytes([0x81, 0x80 | chance.randrange(8)]) + chance.randbytes(50)
        cut = chance.randrange(len(sent))
        short, whole = verdicts([sent[:cut], sent[cut:]])
        assert short == whole
