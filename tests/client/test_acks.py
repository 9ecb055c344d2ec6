"""When an ack is due."""

from __future__ import annotations

import math

from actors.client.acks import Acks
from actors.protocol.server_messages import ServerLimits

ASKED = ServerLimits(ack_events=10, ack_s=2.0)


def started(offset: int = 0) -> Acks:
    """The acks of a connection that begins behind an offset."""
    acks = Acks()
    acks.begin_connection()
    acks.note_acked(offset)
    return acks


def test_after_so_many_events() -> None:
    """As many events as the server asks for are acked at once, and once."""
    acks = started(5)
    assert acks.due(14, 0.0, ASKED) is None
    assert acks.due(15, 0.0, ASKED) == 15
    assert acks.due(15, 9.0, ASKED) is None


def test_after_some_time() -> None:
    """Fewer events are acked when the first of them has waited for as long as the server asks for."""
    acks = started()
    assert acks.due_at(ASKED) == math.inf
    assert acks.due(1, 7.0, ASKED) is None
    assert acks.due(2, 8.0, ASKED) is None
    assert acks.due_at(ASKED) == 9.0
    assert acks.due(2, 9.0, ASKED) == 2
    assert acks.due_at(ASKED) == math.inf


def test_the_last_word_of_a_run() -> None:
    """What is urgent is acked at once when it may be, and nothing is urgent on another connection."""
    acks = started()
    acks.urge(3)
    assert acks.due(2, 0.0, ASKED) is None
    assert acks.due(3, 0.0, ASKED) == 3
    assert acks.due(4, 0.0, ASKED) is None
    acks.urge(4)
    acks.begin_connection()
    assert acks.due(4, 0.0, ASKED) is None


def test_everything() -> None:
    """At the end of a session each taken event is acked, and with none there is no ack."""
    acks = started(5)
    assert acks.due(5, 0.0, ASKED, everything=True) is None
    assert acks.due(6, 0.0, ASKED, everything=True) == 6
