"""The inbox: received, taken and acked offsets, in the corner cases."""

from __future__ import annotations

import pytest

from actors.client import Cursor, Event, Gap, Reset
from actors.client.inbox import Inbox, OutOfOrder
from actors.protocol import server_messages
from actors.protocol.server_messages import Batch, ServerLimits, Welcome

ASKED = ServerLimits()


def event(offset: int, seq0: int | None = None) -> Event:
    """An event of thread t1."""
    return Event(type="tick", payload={}, thread_id="t1", seq=offset, seq0=seq0, offset=offset)


def welcome(start: int, resume: str = "replayed", epoch: str = "e") -> Welcome:
    """A welcome."""
    return Welcome(session="s", epoch=epoch, head=100, low=1, start=start, resume=resume)


def begun(*offsets: int, most: int = 100) -> Inbox:
    """Inbox of a client that was at offset 0, after these events."""
    inbox = Inbox(Cursor("e", 0), most, most_bytes=1_000)
    inbox.begin()
    inbox.welcome(welcome(1))
    for offset in offsets:
        inbox.event(event(offset), 1)
    return inbox


def take(inbox: Inbox, count: int) -> list[object]:
    """Take items, the last one, too."""
    items: list[object] = []
    for _ in range(count):
        items.append(inbox.give())
        inbox.mark_taken()
    return items


def test_what_was_taken_is_acked_when_it_has_come_again() -> None:
    """An offset beyond what was sent on this connection would be an error, whatever an earlier one brought."""
    inbox = begun(1, 2, 3)
    inbox.begin()
    take(inbox, 3)
    assert inbox.ack(0, ASKED, everything=True) is None
    inbox.welcome(welcome(1))
    assert inbox.ack(0, ASKED, everything=True) is None
    inbox.event(event(1), 1)
    assert inbox.ack(0, ASKED, everything=True) == 1
    assert not len(inbox)
    assert not inbox.overrun


def test_what_was_taken_of_another_log_is_not_acked() -> None:
    """Neither while the reset waits for the application, nor is anything of the last log afterwards."""
    inbox = begun(1, 2, 3)
    inbox.reset(server_messages.Reset(epoch="f", low=1))
    inbox.event(event(1), 1)
    take(inbox, 3)
    assert inbox.ack(0, ASKED, everything=True) is None
    take(inbox, 2)
    assert inbox.taken == Cursor("f", 1)
    assert inbox.ack(0, ASKED, everything=True) == 1


def test_a_log_that_was_rewound_within_its_epoch() -> None:
    """Offsets that were taken before are not taken for those of the new log."""
    inbox = Inbox(Cursor("e", 50), 100, most_bytes=1_000)
    inbox.begin()
    inbox.welcome(welcome(1, "reset"))
    with pytest.raises(OutOfOrder):
        inbox.event(event(51), 1)
    inbox.reset(server_messages.Reset(epoch="e", low=1))
    inbox.event(event(1), 1)
    assert inbox.ack(0, ASKED, everything=True) is None
    assert take(inbox, 2) == [Reset("e", 1), event(1)]


def test_a_reset_that_nobody_saw_is_replaced() -> None:
    """Two connections that begin with the same reset are one for the application."""
    inbox = begun(1)
    for _ in range(2):
        inbox.begin()
        inbox.welcome(welcome(1, "reset", "f"))
        inbox.reset(server_messages.Reset(epoch="f", low=1))
        inbox.event(event(1), 1)
    assert take(inbox, 3) == [event(1), Reset("f", 1), event(1)]
    assert inbox.drained


def test_of_a_gap_only_what_was_missed_is_said() -> None:
    """What had come before the connection broke is not gone."""
    inbox = begun(1, 2)
    inbox.begin()
    inbox.welcome(welcome(6, "gap"))
    inbox.gap(server_messages.Gap(first=1, last=5, cause="retention"))
    assert take(inbox, 3) == [event(1), event(2), Gap(3, 5, "retention")]


def test_pieces_that_come_joined_replace_what_waits() -> None:
    """Text of which the application has nothing yet is given joined, as it came last."""
    inbox = begun(1, 2, 3)
    inbox.begin()
    inbox.welcome(welcome(1))
    inbox.batch(Batch(first=1, last=4, events=[event(1), event(4, seq0=2)]), 2)
    assert take(inbox, 2) == [event(1), event(4, seq0=2)]
    assert inbox.drained


def test_pieces_in_hand_are_not_given_again() -> None:
    """Then nothing of this connection is kept, and the next one begins behind them."""
    inbox = begun(1, 2, 3)
    inbox.begin()
    take(inbox, 1)
    inbox.give()
    inbox.welcome(welcome(1))
    inbox.batch(Batch(first=1, last=4, events=[event(4, seq0=1)]), 1)
    assert inbox.overrun
    inbox.mark_taken()
    assert not inbox.drained
    inbox.give()
    assert not inbox.drained
    inbox.mark_taken()
    assert inbox.drained
    assert inbox.begin() == Cursor("e", 3)


def test_joined_pieces_that_come_joined_with_more() -> None:
    """Parts of them cannot be taken back: the connection is overrun."""
    inbox = begun()
    inbox.batch(Batch(first=1, last=3, events=[event(3, seq0=1)]), 1)
    inbox.begin()
    inbox.welcome(welcome(1))
    inbox.batch(Batch(first=1, last=5, events=[event(2, seq0=1), event(5, seq0=3)]), 1)
    assert inbox.overrun
    assert take(inbox, 1) == [event(3, seq0=1)]


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
    inbox = begun(1)
    inbox.begin()
    with pytest.raises(OutOfOrder):
        inbox.welcome(welcome(1, resume))
    with pytest.raises(OutOfOrder):
        inbox.welcome(welcome(2))
    with pytest.raises(OutOfOrder):
        inbox.welcome(welcome(1, "replayed", "f"))
