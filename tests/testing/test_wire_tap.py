"""The tap on a line: it tells the oracle whole messages, however the bytes come."""

from __future__ import annotations

import attrs
import pytest

from actors.testing.oracle import Oracle
from actors.testing.records import Records
from actors.testing.wire_tap import WireTap

HEAD = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
WELCOME = b'{"op":"welcome","session":"s1","epoch":"e1","head":0,"low":1,"start":1,"resume":"fresh"}'
FRAME = bytes((0x81, len(WELCOME))) + WELCOME


@attrs.define
class Listener:
    """A world that keeps a trace."""

    records: Records = attrs.field(factory=Records)
    trace: list[tuple[str, str]] = attrs.field(factory=list)
    oracle: Oracle = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.oracle = Oracle(self.records)

    def note(self, who: str, what: str) -> None:
        self.trace.append((who, what))


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_a_message_in_pieces(size: int) -> None:
    """The message behind the answer to the upgrade is told once it is whole."""
    listener = Listener()
    wire = listener.oracle.connect("alice")
    tap, data = WireTap(wire, listener), HEAD + FRAME
    for at in range(0, len(data), size):
        tap.take(data[at : at + size])
    assert wire.session == "s1"
    assert listener.trace == [("-> wire 0", WELCOME.decode())]


def test_a_torn_frame() -> None:
    """Bytes that are no frame of a server contradict invariant 6."""
    listener = Listener()
    tap = WireTap(listener.oracle.connect("alice"), listener)
    tap.take(HEAD + b"xyz")
    assert str(listener.records.mismatches[0]).startswith("invariant 6, whole frames: wire 0: expected the head")


def test_a_refusal() -> None:
    """Bytes behind another answer than 101 are no WebSocket, and are not read."""
    listener = Listener()
    WireTap(listener.oracle.connect("alice"), listener).take(b"HTTP/1.1 503 Busy\r\n\r\nlater")
    assert not listener.records.mismatches
