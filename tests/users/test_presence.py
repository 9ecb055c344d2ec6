"""A user's devices, and what is known of the clients behind them."""

from __future__ import annotations

from typing import Any, cast

from actors.delivery.cursor import Cursor
from actors.delivery.ledger import Ledger
from actors.users.presence import Departure, Presence, Session, Subscriber


class Place:
    """A subscription, as a session sees it: a cursor and the books of its epoch."""

    def __init__(self, ledger: Ledger, last: int, *, first: int = 1) -> None:
        self.ledger = ledger
        self.cursor = Cursor(first)
        self.cursor.advance(first, last)


class Device:
    """A device with a name."""

    def __init__(self, label: str) -> None:
        self.label = label


def device(label: str) -> Subscriber:
    return cast(Subscriber, Device(label))


def session_at(*places: Place) -> Session:
    """A session whose connections were in these places, one after the other."""
    session = Session(id="s")
    for number, place in enumerate(places, 1):
        session.pass_to(device(f"c{number}"), cast(Any, place))
    return session


def test_nothing_is_acked_before_a_connection() -> None:
    """A session that was handed nothing acks nothing."""
    assert Session(id="s").ack(5) == []


def test_an_ack_counts_up_to_what_was_handed_over() -> None:
    """What is beyond the newest connection's position was not handed over, and is not acked."""
    session = session_at(Place(Ledger("alice", "e"), 4))
    assert session.ack(9) == [(1, 4)]
    assert session.ack(9) == []


def test_the_former_connection_counts_beyond_the_newest() -> None:
    """A device that comes back with more than the newest connection handed over had it from the one before."""
    ledger = Ledger("alice", "e")
    session = session_at(Place(ledger, 6), Place(ledger, 3))
    assert session.ack(5) == [(1, 3), (4, 5)]


def test_a_former_connection_of_another_epoch_does_not() -> None:
    """Its offsets are those of another log."""
    session = session_at(Place(Ledger("alice", "d"), 6), Place(Ledger("alice", "e"), 3))
    assert session.ack(5) == [(1, 3)]


def test_a_former_connection_that_acked_all_is_forgotten() -> None:
    """There is nothing left that it could ack."""
    ledger = Ledger("alice", "e")
    session = session_at(Place(ledger, 6))
    session.ack(6)
    session.pass_to(device("c2"), cast(Any, Place(ledger, 8, first=7)))
    assert session.former is None


def test_a_device_that_leaves() -> None:
    """Its session stays, without it; of departures the last ones are kept."""
    presence, phone = Presence(departures=1), device("c1")
    presence.devices.append(phone)
    presence.sessions["s"] = Session(id="s", device=phone)
    presence.absences = 3
    presence.leave(phone)
    presence.leave(phone)
    assert (presence.devices, presence.absences) == ([], 0)
    assert presence.sessions["s"].device is None
    for label in ("c1", "c2"):
        presence.remember(Departure(label=label, name="left", text="", at=0.0))
    assert [departure.label for departure in presence.departures] == ["c2"]
