"""Frames built by hand are the frames that a protocol engine would build."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from actors.delivery.frames import header, text_frame, text_frames

EDGES = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537]


def by_engine(text: str) -> bytes:
    return bytes(FrameProtocol(client=False, extensions=[]).send_data(text, fin=True))


def check(text: str) -> None:
    assert text_frame(text.encode()) == by_engine(text)
    assert header(len(text.encode())) + text.encode() == by_engine(text)


@pytest.mark.parametrize("size", EDGES)
def test_edge_sizes(size: int) -> None:
    """At the sizes where the header grows, a frame is what the engine makes."""
    check("x" * size)


@given(st.one_of(st.text(), st.integers(0, 70_000).map(lambda size: "x" * size)))
def test_any_text(text: str) -> None:
    """For any text and any size, a frame is what the engine makes."""
    check(text)


@given(st.lists(st.binary(max_size=200)))
def test_joined(texts: list[bytes]) -> None:
    """Joined frames are the frames, one behind the other."""
    assert text_frames(texts) == b"".join(map(text_frame, texts))
