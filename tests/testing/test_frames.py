"""The strict reader of a server's frames, and the frames of a client."""

from __future__ import annotations

import pytest

from actors.testing.frames import CLOSE, TEXT, FrameReader, TornFrame, masked


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frames(size: int) -> None:
    """Frames of every size come out as they went in, byte by byte."""
    short, long = b"\x81" + size.to_bytes(8)[-1:], b"\x81\x7f" + size.to_bytes(8)
    head = short if size < 126 else b"\x81\x7e" + size.to_bytes(8)[-2:] if size < 65_536 else long
    reader = FrameReader()
    whole = head + b"x" * size
    came = [frame for byte in (whole[:3], whole[3:7], whole[7:]) for frame in reader.feed(byte)]
    assert came == [(TEXT, b"x" * size)]
    assert not reader.midway


def test_masked() -> None:
    """A client's frame has a mask, of zeros."""
    assert masked(TEXT, b"hi") == b"\x81\x82\x00\x00\x00\x00hi"
    assert masked(TEXT, b"x" * 200)[:4] == b"\x81\xfe\x00\xc8"
    assert masked(TEXT, b"x" * 70_000)[:10] == b"\x81\xff" + (70_000).to_bytes(8)


@pytest.mark.parametrize("torn", [b"\x00\x01a", b"\x83\x01a", b"\x81\x81aaaab", b"xyz"])
def test_torn(torn: bytes) -> None:
    """Bytes that are no whole frame of a server are refused."""
    with pytest.raises(TornFrame):
        FrameReader().feed(torn)


def test_after_the_close() -> None:
    """Nothing follows a Close."""
    reader = FrameReader()
    assert reader.feed(bytes((0x80 | CLOSE, 2, 3, 232))) == [(CLOSE, b"\x03\xe8")]
    with pytest.raises(TornFrame, match="nothing after a Close"):
        reader.feed(b"\x81\x00")
