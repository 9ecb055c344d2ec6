"""The latency of delivery: what a sample measures, and that it costs the events beside it nothing."""

from __future__ import annotations

import pytest

import actors
from actors import Limits, Receipt
from actors.delivery.ledger import Ledger
from actors.events.states import QUEUED, Queued
from actors.observability import latency
from actors.observability.latency import Latency
from actors.stages import Cause, Promise
from tests.support.served import served


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def placed(ledger: Ledger, offset: int, at: float = 100.0) -> Receipt:
    """An event in a log."""
    receipt = Receipt(f"e{offset}", "t", at, QUEUED)
    assert ledger.place(receipt, ledger.epoch, offset, Promise.NOTHING)
    return receipt


def test_from_the_emit_to_the_first_socket_and_the_first_ack() -> None:
    """The first write and the first ack count, at their own times; a second device's do not, nor do other offsets'."""
    clock, ledger = Clock(), Ledger("alice", "e")
    measured = Latency(clock)
    receipts = [placed(ledger, offset) for offset in (1, 2, 3)]
    measured.sample(receipts[1])
    clock.now += 1
    ledger.write(1, 1)
    ledger.ack(1, 1)
    assert measured.written.read().count == 0
    clock.now += 1
    ledger.write(2, 3)
    clock.now += 5
    ledger.write(2, 2)
    clock.now += 1
    ledger.ack(1, 3)
    ledger.ack(1, 3)
    assert (measured.written.read().count, measured.written.read().sum_seconds) == (1, 2.0)
    assert (measured.acked.read().count, measured.acked.read().sum_seconds) == (1, 8.0)
    assert repr(measured).startswith("<Latency 0 open, ")


@pytest.mark.parametrize("is_written", [True, False], ids=["unconfirmed", "dropped"])
def test_an_event_that_leaves_the_log_is_followed_no_more(is_written: bool) -> None:
    """One that no device acked has no latency of an ack, and makes room for another sample."""
    ledger = Ledger("alice", "e")
    measured = Latency(Clock())
    measured.sample(placed(ledger, 1))
    if is_written:
        ledger.write(1, 1)
    placed(ledger, 2)
    ledger.trim(2, Cause.RETENTION)
    assert (measured.written.read().count, measured.acked.read().count) == (int(is_written), 0)
    assert "0 open" in repr(measured)


def test_users_who_are_away_make_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many samples wait and no more; when one is acked, there is room for the next."""
    monkeypatch.setattr(latency, "_MOST_OPEN", 3)
    measured = Latency(Clock())
    ledgers = [Ledger(f"user-{number}", "e") for number in range(5)]
    for ledger in ledgers:
        measured.sample(placed(ledger, 1))
    assert "3 open" in repr(measured)
    for ledger in ledgers:
        ledger.ack(1, 1)
    assert measured.acked.read().count == 3
    measured.sample(placed(ledgers[0], 2))
    assert "1 open" in repr(measured)


def test_what_is_in_no_log_or_was_written_already_is_not_followed() -> None:
    """A device may be faster than the answer of a store: then the time of the write is not known any more."""
    measured, ledger = Latency(Clock()), Ledger("alice", "e")
    measured.sample(Receipt("e", "t", 0.0, Queued()))
    receipt = placed(ledger, 1)
    ledger.write(1, 1)
    measured.sample(receipt)
    assert "0 open" in repr(measured)


@pytest.mark.parametrize("given", [False, True], ids=["ids made here", "ids given"])
async def test_one_of_64_events(given: bool) -> None:
    """About one of 64 events is followed from its emit to its ack, whoever chose its id."""
    async with served(limits=Limits(retained_events=2_000)) as server, server.peer() as peer:
        await peer.attach("alice")
        await server.runtime.bind("t", "alice")
        for number in range(1_280):
            await server.runtime.thread("t").emit("step", {}, event_id=f"id-{number}" if given else None)
        event = {"offset": 0}
        while event["offset"] < 1_280:
            event = await peer.next_event()
        await peer.ack(1_280)
        await peer.echo()
        seconds = server.runtime.statistics().delivery_seconds
    assert 5 <= seconds["written"].count <= 50 if given else seconds["written"].count == 20
    assert seconds["acked"].count == seconds["written"].count
    assert seconds["acked"].sum_seconds >= seconds["written"].sum_seconds > 0


async def test_an_event_without_an_owner_is_not_followed() -> None:
    """How long a thread waits for its owner is not the latency of a delivery."""
    async with actors.open_runtime() as runtime:
        for _ in range(128):
            await runtime.thread("t").emit("step", {})
        await runtime.bind("t", "alice")
        assert "0 open" in repr(runtime.tree.latency)
