"""The proof in a pong, and the time for which an unanswered ping may be queued."""

from __future__ import annotations

import math

from actors.connections.pings import Pings


def test_answers_are_counted() -> None:
    """A ping is answered when as many answers came as pings before it, and it; an answer to nothing is none."""
    pings = Pings()
    pings.pong()
    first, second = pings.ping(math.inf, 10), pings.ping(math.inf, 20)
    assert not pings.is_answered(first)
    pings.pong()
    assert pings.is_answered(first)
    assert not pings.is_answered(second)
    pings.pong()
    assert pings.is_answered(second)
    assert pings.is_answered(0)


def test_a_ping_that_went_straight_out() -> None:
    """With nothing before it on its way a ping is not waited for any longer, whatever is sent and taken afterwards."""
    pings = Pings()
    pings.ping(math.inf, 10)
    assert not pings.still_queued(500)


def test_a_ping_behind_much() -> None:
    """Behind what is taken slowly a ping is queued until it arrived and the device had its time for an answer."""
    pings = Pings()
    pings.ping(100, 1_000)
    assert pings.still_queued(400)
    assert pings.still_queued(1_000)
    assert not pings.still_queued(1_500)


def test_a_ping_behind_what_stopped() -> None:
    """When what is before it moves no more, it is not queued."""
    pings = Pings()
    pings.ping(100, 1_000)
    assert pings.still_queued(400)
    assert not pings.still_queued(400)
