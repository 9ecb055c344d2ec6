"""The proof in a pong, and the time for which an unanswered ping may be queued."""

from __future__ import annotations

from typing import cast

from actors.connections.pings import Pings
from actors.wire.transport import Transport


class Stream:
    """The progress of a transport, set by hand."""

    def __init__(self, delivered_bytes: int = 0, pending_bytes: int = 0) -> None:
        self.delivered_bytes = delivered_bytes
        self.pending_bytes = pending_bytes

    def write(self, frames: bytes) -> None:
        """Take frames, none of which arrives yet."""
        self.pending_bytes += len(frames)


def pinging(stream: Stream, ping: bytes = b"ping") -> Pings:
    """The pings of a stream, to which one was written."""
    pings = Pings(cast(Transport, stream))
    pings.write(ping, stream.write)
    return pings


def has_progressed(pings: Pings, stream: Stream, delivered_bytes: int) -> bool:
    stream.delivered_bytes = delivered_bytes
    return pings.has_progressed()


def test_acks_count_from_the_pong_to_the_fence_on() -> None:
    """A ping is answered when as many answers came as pings before it, and it; an answer to nothing is none."""
    stream = Stream()
    pings = Pings(cast(Transport, stream))
    pings.pong()
    assert not pings.is_fenced
    pings.write(b"ping", stream.write)
    pings.write(b"ping", stream.write)
    pings.fence()
    pings.write(b"ping", stream.write)
    for fenced in (True, False, False):
        pings.pong()
        assert pings.is_fenced is fenced
    pings.write(b"ping", stream.write)
    pings.fence()
    assert pings.is_fenced


def test_a_ping_that_went_straight_out() -> None:
    """With nothing before it on its way a ping is not waited for any longer, whatever is sent and taken afterwards."""
    stream = Stream()
    assert not has_progressed(pinging(stream), stream, 500)


def test_a_ping_behind_much() -> None:
    """Behind what is taken slowly a ping is queued until it arrived and the device had its time for an answer."""
    stream = Stream(100, 896)
    pings = pinging(stream)
    assert has_progressed(pings, stream, 400)
    assert has_progressed(pings, stream, 1_000)
    assert not has_progressed(pings, stream, 1_500)


def test_a_ping_behind_what_stopped() -> None:
    """When what is before it moves no more, it is not queued."""
    stream = Stream(100, 896)
    pings = pinging(stream)
    assert has_progressed(pings, stream, 400)
    assert not has_progressed(pings, stream, 400)
