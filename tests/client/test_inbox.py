"""The inbox: received, taken and acked offsets, in the corner cases."""

from __future__ import annotations

import pytest

from actors.client import Cursor, Event, Gap, Reset
from actors.client.inbox import Arrivals, OutOfOrder
from actors.protocol import server_messages
from actors.protocol.server_messages import Batch, ServerLimits, Welcome

ASKED = ServerLimits()


def event(offset: int, seq0: int | None = None) -> Event:
    """An event of thread t1."""
    return Event(type="tick", payload={}, thread_id="t1", seq=offset, seq0=seq0, offset=offset)


def welcome(start: int, resume: str = "replayed", epoch: str = "e") -> Welcome:
    """A welcome."""
    return Welcome(session="s", epoch=epoch, head=100, low=1, start=start, resume=resume)


def begun(*offsets: int, most: int = 100) -> Arrivals:
    """Arrivals of a client that was at offset 0, after these events."""
    arrivals = Arrivals(Cursor("e", 0), most, most_bytes=1_000)
    arrivals.begin()
    arrivals.welcome(welcome(1))
    for offset in offsets:
        arrivals.event(event(offset), 1)
    return arrivals


def take(arrivals: Arrivals, count: int) -> list[object]:
    """Take items, the last one, too."""
    items: list[object] = []
    for _ in range(count):
        items.append(arrivals.give())
        arrivals.confirm()
    return items


def test_what_was_taken_is_acked_when_it_has_come_again() -> None:
    """An offset beyond what was sent on this connection would be an error, whatever an earlier one brought."""
    arrivals = begun(1, 2, 3)
    arrivals.begin()
    take(arrivals, 3)
    assert arrivals.ack(0, ASKED, everything=True) is None
    arrivals.welcome(welcome(1))
    assert arrivals.ack(0, ASKED, everything=True) is None
    arrivals.event(event(1), 1)
    assert arrivals.ack(0, ASKED, everything=True) == 1
    assert not len(arrivals)
    assert not arrivals.overrun


def test_what_was_taken_of_another_log_is_not_acked() -> None:
    """Neither while the reset waits for the application, nor is anything of the last log afterwards."""
    arrivals = begun(1, 2, 3)
    arrivals.reset(server_messages.Reset(epoch="f", low=1))
    arrivals.event(event(1), 1)
    take(arrivals, 3)
    assert arrivals.ack(0, ASKED, everything=True) is None
    take(arrivals, 2)
    assert arrivals.taken == Cursor("f", 1)
    assert arrivals.ack(0, ASKED, everything=True) == 1


def test_a_log_that_was_rewound_within_its_epoch() -> None:
    """Offsets that were taken before are not taken for those of the new log."""
    arrivals = Arrivals(Cursor("e", 50), 100, most_bytes=1_000)
    arrivals.begin()
    arrivals.welcome(welcome(1, "reset"))
    with pytest.raises(OutOfOrder):
        arrivals.event(event(51), 1)
    arrivals.reset(server_messages.Reset(epoch="e", low=1))
    arrivals.event(event(1), 1)
    assert arrivals.ack(0, ASKED, everything=True) is None
    assert take(arrivals, 2) == [Reset("e", 1), event(1)]


def test_a_reset_that_nobody_saw_is_replaced() -> None:
    """Two connections that begin with the same reset are one for the application."""
    arrivals = begun(1)
    for _ in range(2):
        arrivals.begin()
        arrivals.welcome(welcome(1, "reset", "f"))
        arrivals.reset(server_messages.Reset(epoch="f", low=1))
        arrivals.event(event(1), 1)
    assert take(arrivals, 3) == [event(1), Reset("f", 1), event(1)]
    assert arrivals.drained


def test_of_a_gap_only_what_was_missed_is_said() -> None:
    """What had come before the connection broke is not gone."""
    arrivals = begun(1, 2)
    arrivals.begin()
    arrivals.welcome(welcome(6, "gap"))
    arrivals.gap(server_messages.Gap(first=1, last=5, cause="retention"))
    assert take(arrivals, 3) == [event(1), event(2), Gap(3, 5, "retention")]


def test_pieces_that_come_joined_replace_what_waits() -> None:
    """Text of which the application has nothing yet is given joined, as it came last."""
    arrivals = begun(1, 2, 3)
    arrivals.begin()
    arrivals.welcome(welcome(1))
    arrivals.batch(Batch(first=1, last=4, events=[event(1), event(4, seq0=2)]), 2)
    assert take(arrivals, 2) == [event(1), event(4, seq0=2)]
    assert arrivals.drained


def test_pieces_in_hand_are_not_given_again() -> None:
    """Then nothing of this connection is kept, and the next one begins behind them."""
    arrivals = begun(1, 2, 3)
    arrivals.begin()
    take(arrivals, 1)
    arrivals.give()
    arrivals.welcome(welcome(1))
    arrivals.batch(Batch(first=1, last=4, events=[event(4, seq0=1)]), 1)
    assert arrivals.overrun
    arrivals.confirm()
    assert not arrivals.drained
    arrivals.give()
    assert not arrivals.drained
    arrivals.confirm()
    assert arrivals.drained
    assert arrivals.begin() == Cursor("e", 3)


def test_joined_pieces_that_come_joined_with_more() -> None:
    """Parts of them cannot be taken back: the connection is overrun."""
    arrivals = begun()
    arrivals.batch(Batch(first=1, last=3, events=[event(3, seq0=1)]), 1)
    arrivals.begin()
    arrivals.welcome(welcome(1))
    arrivals.batch(Batch(first=1, last=5, events=[event(2, seq0=1), event(5, seq0=3)]), 1)
    assert arrivals.overrun
    assert take(arrivals, 1) == [event(3, seq0=1)]


@pytest.mark.parametrize(
    "batch",
    [
        Batch(first=2, last=3, events=[event(2), event(3)]),
        Batch(first=1, last=3, events=[event(1), event(2)]),
        Batch(first=1, last=2, events=[event(2), event(1)]),
        Batch(first=1, last=1, events=[]),
        Batch(first=1, last=0, events=[]),
    ],
)
def test_batches_that_cannot_be(batch: Batch[Event]) -> None:
    """Holes, a wrong end, a wrong order, and nothing."""
    with pytest.raises(OutOfOrder):
        begun().batch(batch, 1)


@pytest.mark.parametrize("resume", ["fresh", "nonsense"])
def test_welcomes_that_cannot_be(resume: str) -> None:
    """Answers to another question than the one that was asked."""
    arrivals = begun(1)
    arrivals.begin()
    with pytest.raises(OutOfOrder):
        arrivals.welcome(welcome(1, resume))
    with pytest.raises(OutOfOrder):
        arrivals.welcome(welcome(2))
    with pytest.raises(OutOfOrder):
        arrivals.welcome(welcome(1, "replayed", "f"))
