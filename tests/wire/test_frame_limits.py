"""The limits on messages, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.wire.frame_limits import GATHERED_BYTES, PIECE_BYTES, FrameLimits
from tests.support.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

MOST = 1_000


def following(most_bytes: int = MOST, burst: int = 1_000_000, per_second: float = 1.0) -> FrameLimits:
    return FrameLimits(most_bytes, burst=burst, per_second=per_second, now=0.0)


def admitted(*parts: bytes) -> bytes:
    frame_limits = following()
    return b"".join(frame_limits.admit(part, 0.0) for part in parts)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_the_largest_message(opcode: int) -> None:
    """As many bytes as are allowed pass, in one frame or in two; one more ends at its header."""
    whole = frame(opcode, b"x" * MOST)
    assert admitted(whole + whole) == whole * 2
    halves = frame(opcode, b"x" * 400, fin=False) + frame(CONTINUATION, b"x" * 600)
    assert admitted(halves + halves) == halves * 2
    assert admitted(whole + frame(opcode, b"x" * (MOST + 1))) == whole + frame(opcode, b"x" * (MOST + 1))[:8]
    larger = frame(opcode, b"x" * 400, fin=False) + frame(CONTINUATION, b"x" * 601)
    assert admitted(larger) == larger[:-601]


def test_nothing_passes_afterwards() -> None:
    """After a message that was too large nothing is admitted any more."""
    frame_limits = following()
    frame_limits.admit(frame(TEXT, b"x", declared=MOST + 1), 0.0)
    assert frame_limits.excess is not None
    assert frame_limits.admit(frame(PING), 0.0) == b""


@pytest.mark.parametrize("payload", [b"", b"xx"])
def test_fragments_without_end(payload: bytes) -> None:
    """Fragments end when their number costs as much as the message may have, however little is in them."""
    frame_limits = following(10_000)
    count = 0
    frame_limits.admit(frame(TEXT, payload, fin=False), 0.0)
    while frame_limits.excess is None:
        count += 1
        frame_limits.admit(frame(CONTINUATION, payload, fin=False), 0.0)
    assert count == 10_000 // PIECE_BYTES


def test_a_dialled_server() -> None:
    """A server masks no frame, its pings count as pongs do, its fragments are as large as proxies make them."""
    frame_limits = FrameLimits(100_000, burst=10, per_second=1.0, now=0.0, dialled=True)
    whole = frame(TEXT, b"x" * 100_000, masked=False)
    assert frame_limits.admit(whole + whole, 0.0) == whole * 2
    pieces = [frame(CONTINUATION, b"x", fin=False, masked=False) for _ in range(70)]
    frame_limits.admit(frame(TEXT, fin=False, masked=False) + b"".join(pieces), 0.0)
    assert frame_limits.excess is not None
    assert frame_limits.excess[0] == "too_big"
    for opcode in (PING, PONG):
        frame_limits = FrameLimits(100_000, burst=10, per_second=1.0, now=0.0, dialled=True)
        frame_limits.admit(frame(opcode, masked=False) * 10, 0.0)
        assert frame_limits.excess is None
        frame_limits.admit(frame(opcode, masked=False), 0.0)
        assert frame_limits.excess is not None
        assert frame_limits.excess[0] == "flooding"


def test_a_close() -> None:
    """The header of a Close is known for what it is, in however many pieces it comes."""
    frame_limits = following()
    frame_limits.admit(frame(TEXT, b"x") + frame(CLOSE, b"")[:1], 0.0)
    assert not frame_limits.closing
    frame_limits.admit(frame(CLOSE, b"")[1:], 0.0)
    assert frame_limits.closing


@pytest.mark.parametrize("size", [1, 7, 63])
def test_a_frame_that_trickles_in(size: int) -> None:
    """However small the pieces are in which the network brings a frame, it is whole; and few pieces are made of it."""
    frame_limits = following(65_536)
    sent = frame(PING) + frame(TEXT, b"x" * 65_536) + frame(PING) + frame(TEXT, b"short")
    pieces = [frame_limits.admit(sent[at : at + size], 0.0) for at in range(0, len(sent), size)]
    assert b"".join(pieces) == sent
    assert sum(map(bool, pieces)) < 32_768 // GATHERED_BYTES + 64 + 50  # with those of the headers


def test_what_is_kept() -> None:
    """Of a message in many pieces the first come as they came; the others are kept, with nothing kept back that is no
    part of it, until the message is whole."""
    frame_limits = following(65_536)
    piece = frame(CONTINUATION, b"xy", fin=False)
    assert frame_limits.admit(frame(TEXT, b"x", fin=False), 0.0) == frame(TEXT, b"x", fin=False)
    for _ in range(63):
        assert frame_limits.admit(piece + frame(PING), 0.0) == piece + frame(PING)
    for _ in range(200):
        assert frame_limits.admit(frame(PING) + piece[:6], 0.0) == frame(PING)
        assert frame_limits.admit(piece[6:7], 0.0) == b""
        assert frame_limits.admit(piece[7:] + frame(PING), 0.0) == frame(PING)
    end = frame(CONTINUATION, b"end")
    assert frame_limits.admit(end[:-1], 0.0) == b""
    assert frame_limits.admit(end[-1:] + frame(PING), 0.0) == piece * 200 + end + frame(PING)
    assert frame_limits.admit(piece, 0.0) == piece


def test_what_is_large_is_kept() -> None:
    """Of a message of more than half the largest size the engine gets what comes first; the rest when it is whole."""
    frame_limits = following(10_000)
    first, second = frame(TEXT, b"x" * 5_000, fin=False), frame(CONTINUATION, b"x" * 5_000)
    assert frame_limits.admit(first, 0.0) == first
    assert frame_limits.admit(second[:-1], 0.0) == b""
    assert frame_limits.admit(second[-1:], 0.0) == second
    whole = frame(TEXT, b"x" * 5_001)
    assert frame_limits.admit(whole[:-1], 0.0) == b""
    assert frame_limits.admit(whole[-1:], 0.0) == whole


@pytest.mark.parametrize(
    "wrong", [frame(TEXT, b"x"), frame(BINARY), frame(0x3), frame(CONTINUATION, b"x", declared=1 << 63)]
)
def test_what_is_wrong_in_the_middle(wrong: bytes) -> None:
    """A frame that cannot follow is the engine's to refuse: it is not kept."""
    frame_limits = following(10_000)
    frame_limits.admit(frame(TEXT, fin=False) + frame(CONTINUATION, b"xy", fin=False) * 100, 0.0)
    assert frame_limits.admit(wrong, 0.0).endswith(wrong)


def test_as_many_fragments_as_are_promised() -> None:
    """A message of the largest size passes in a 64th as many fragments, wherever it is cut."""
    parts = [frame(TEXT, b"x" * 64, fin=False)] + [frame(CONTINUATION, b"x" * 64, fin=False)] * 1_022
    sent = b"".join(parts) + frame(CONTINUATION, b"x" * 64)
    frame_limits = following(65_536)
    assert b"".join(frame_limits.admit(sent[at : at + 100], 0.0) for at in range(0, len(sent), 100)) == sent
    assert frame_limits.excess is None


def test_control_frames_do_not_count() -> None:
    """Pings between the fragments of a message are no part of it."""
    between = frame(PING, b"x" * 125)
    sent = frame(TEXT, b"x" * 500, fin=False) + between * 1_000 + frame(CONTINUATION, b"x" * 500)
    assert admitted(sent) == sent


@pytest.mark.parametrize(
    "one", [frame(PONG), frame(TEXT, fin=False) + frame(CONTINUATION, b"{}")], ids=["pong", "continuation"]
)
def test_frames_that_are_no_message(one: bytes) -> None:
    """Pongs and continuations may come so many at once, and so many a second; then it is a flood."""
    frame_limits = following(burst=100, per_second=10.0)
    most = 100 + 64
    assert frame_limits.admit(one * most, 0.0) == one * most
    assert frame_limits.admit(one * 10, 1.0) == one * 10
    frame_limits.admit(one, 1.0)
    assert frame_limits.excess is not None
    assert frame_limits.excess[0] == "flooding"


@pytest.mark.parametrize(
    "sent",
    [
        frame(TEXT, b"x", declared=1 << 63),
        frame(TEXT, b"x", declared=5_000, masked=False),
        frame(TEXT, b"x", declared=5_000, reserved=0b100),
        frame(0x7, b"x", declared=5_000),
        frame(CLOSE, b"x", declared=5_000),
    ],
)
def test_what_is_no_frame_is_the_engines(sent: bytes) -> None:
    """Frames that are wrong whatever their size are passed on, for the engine to refuse."""
    assert admitted(sent) == sent


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_however_it_is_cut(payloads: list[bytes], data: st.DataObject) -> None:
    """The cuts of a stream change nothing about what is admitted of it."""
    stream = b"".join(frame(TEXT, payload) for payload in payloads) + frame(TEXT, b"x", declared=MOST + 1) + b"rest"
    expected = stream[: len(stream) - len(b"x" + b"rest")]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=200)))
    parts = [stream[first:last] for first, last in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert admitted(*parts) == expected
