"""The index of the newest events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.accounts import LOST, Accounts
from actors.delivery.receipt_index import ReceiptIndex
from actors.events.states import QUEUED, Queued
from actors.receipts import Receipt
from actors.stages import Cause, Stage

QUEUE, PLACE, DROP = "queue", "place", "drop"


def receipt_of(number: int, kind: str) -> Receipt:
    """An event that waits, was placed, or was dropped before it had a number in its thread."""
    receipt = Receipt(f"e{number}", f"t{number % 3}", number / 8, QUEUED)
    if kind == QUEUE:
        receipt.move(Queued(), 0)
    elif kind == DROP:
        receipt.move(LOST[Cause.CRASHED], 0)
    else:
        receipt.seq = 10 * number
        Accounts(10).note_placed(receipt, "alice", "ep", 1, 1, 0.0)
    return receipt


def facts(receipt: Receipt) -> tuple[object, ...]:
    """All that can be asked of a receipt."""
    told = (receipt.event_id, receipt.thread_id, receipt.accepted_at, receipt.seq)
    return (*told, receipt.stage, receipt.cause, receipt.position, receipt.state, receipt.number)


@given(
    capacity=st.integers(1, 8),
    steps=st.lists(st.tuples(st.integers(1, 20), st.sampled_from([QUEUE, PLACE, DROP])), max_size=40),
)
def test_the_index_agrees_with_a_bounded_dict(capacity: int, steps: list[tuple[int, str]]) -> None:
    """Every answer is true; of the last ``capacity`` numbers everything is; nothing is made up."""
    index, kept, number = ReceiptIndex(capacity), dict[int, Receipt](), 0
    for skip, kind in steps:
        number += skip
        kept[number] = receipt_of(number, kind)
        index.put(number, kept[number])
        for asked in range(number + 3):
            found = index.get(asked, f"e{asked}")
            if found is not None:
                assert facts(found) == facts(kept[asked])
            else:
                assert asked not in kept or asked <= number - capacity
        known = [asked for asked in range(number + 1) if index.get(asked, f"e{asked}") is not None]
        assert len(known) <= capacity
        assert known[-1] == number


def test_skipped_numbers_are_unknown() -> None:
    """A number that was skipped shares its cell with older ones, and is not taken for any of them."""
    index = ReceiptIndex(4)
    for number in (1, 2, 3, 4, 6, 9):
        index.put(number, receipt_of(number, PLACE))
    known = {number: index.get(number, f"e{number}") for number in range(14)}
    assert {number for number, receipt in known.items() if receipt is not None} == {3, 4, 6, 9}


@pytest.mark.parametrize("number", [0, 1, 3, 4, 2**64 - 1, 2**80])
def test_nothing_is_known_of_what_never_was(number: int) -> None:
    """An empty index knows no number, zero and those beyond any counter included."""
    assert ReceiptIndex(4).get(number, "e") is None


def test_a_queued_event_is_found_wherever_it_has_come_to() -> None:
    """An event remembered while it was queued is found held, then placed, then written, then acked."""
    index, accounts = ReceiptIndex(4), Accounts(10)
    receipt = receipt_of(1, QUEUE)
    index.put(1, receipt)
    stages = []

    def look() -> None:
        found = index.get(1, "e1")
        assert found is not None
        stages.append((found.stage, found.seq, found.offset))

    look()
    receipt.seq = 1
    accounts.hold(receipt, 1, 0.0)
    look()
    accounts.bind("t1", "alice", "ep", 5, 5, 0.0, notice=False)
    look()
    accounts.users["alice"].ledger.write(5, 5)
    look()
    accounts.users["alice"].ledger.ack(5, 5)
    look()
    assert stages == [
        (Stage.ACCEPTED, None, None),
        (Stage.BUFFERED, 1, None),
        (Stage.STORED, 1, 5),
        (Stage.WRITTEN, 1, 5),
        (Stage.ACKED, 1, 5),
    ]


def test_a_queued_event_that_was_lost_is_found_dropped() -> None:
    """An event that was queued and then lost with its actor is remembered with the cause."""
    index, accounts = ReceiptIndex(4), Accounts(10)
    receipt = receipt_of(1, QUEUE)
    index.put(1, receipt)
    accounts.lose(receipt, Cause.QUARANTINED, 0.0)
    found = index.get(1, "e1")
    assert found is not None
    assert (found.stage, found.cause) == (Stage.DROPPED, Cause.QUARANTINED)


def test_a_placed_event_needs_no_receipt() -> None:
    """Of an event with a place no receipt is kept; the one that is made anew is as true, and equal to the first."""
    index, accounts = ReceiptIndex(4), Accounts(10)
    receipt = Receipt("e1", "t1", 0.5, QUEUED, seq=1)
    accounts.hold(receipt, 1, 0.0)
    index.put(1, receipt)
    accounts.bind("t1", "alice", "ep", 1, 1, 0.0, notice=False)
    found = index.get(1, "e1")
    assert found is not None
    assert found is not receipt
    assert found == receipt
    assert facts(found)[:7] == facts(receipt)[:7]
    assert found.offset == 1
