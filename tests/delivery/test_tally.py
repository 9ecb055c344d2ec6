"""The tally of ledgers: what was counted as it happened is what the ledgers add up to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.ledger import Ledger
from actors.delivery.tally import Tally
from actors.events.states import QUEUED
from actors.receipts import Receipt
from actors.stages import Cause, Promise

OFFSETS = st.integers(1, 150)
STEPS = st.lists(
    st.tuples(st.sampled_from(["place", "add", "write", "ack", "trim", "fork"]), st.integers(0, 1), OFFSETS, OFFSETS),
    max_size=60,
)


@given(STEPS)
def test_the_sum_of_all_ledgers(steps: list[tuple[str, int, int, int]]) -> None:
    """Placed at once or late, acked before or after that, trimmed, and forked into other epochs: nothing is counted
    twice, and nothing is missed."""
    tally = Tally()
    ledgers = [[Ledger(user_id, f"{user_id}0", tally=tally)] for user_id in ("alice", "bob")]
    placed: set[tuple[int, str, int]] = set()
    for act, user, first, last in steps:
        ledger = ledgers[user][-1]
        if act == "place":
            offset, receipt = ledger.head + 1, Receipt("e", "t", 0.0, QUEUED)
            if (user, ledger.epoch, offset) not in placed and not ledger.knows(offset):
                if not ledger.place(receipt, ledger.epoch, offset, Promise.NOTHING):
                    ledger.accepted += 1
                    tally.accepted += 1
                    ledger.add(offset)
                placed.add((user, ledger.epoch, offset))
        elif act == "add" and not ledger.knows(first):
            ledger.add(first)
        elif act == "write":
            ledger.write(min(first, last), max(first, last))
        elif act == "ack":
            ledger.ack(min(first, last), max(first, last))
        elif act == "trim":
            ledger.trim(first, Cause.RETENTION)
        elif act == "fork" and ledger.low <= first <= ledger.head:
            ledger.lose(first)
            ledgers[user].append(
                Ledger(ledger.user_id, f"{ledger.user_id}{len(ledgers[user])}", tally=tally, former=ledger)
            )
    every = [ledger for one in ledgers for ledger in one]
    assert tally.accepted == sum(ledger.accepted for ledger in every)
    assert tally.acked == sum(ledger.acked for ledger in every)
    assert tally.unconfirmed == sum(ledger.unconfirmed for ledger in every)
    assert tally.dropped == sum(ledger.dropped for ledger in every)
    assert tally.retained == sum(ledger.open for ledger in every)
