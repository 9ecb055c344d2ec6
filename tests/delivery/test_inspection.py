"""The inspection of the books: it finds each fault that is there, in whatever happens meanwhile, and none that is
not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery import inspection
from actors.delivery.accounts import Accounts
from actors.delivery.inspection import Inspection
from actors.events.states import Queued
from actors.receipts import Receipt
from actors.stages import Cause, Promise
from tests.delivery.test_accounts import Office, acts, restored_accounts

ids = itertools.count(1)


def emitted(accounts: Accounts, thread_id: str = "t") -> Receipt:
    """An event that an emitter has handed over."""
    accounts.accepted += 1
    return Receipt(f"e{next(ids)}", thread_id, 0.0, Queued())


def busy_accounts() -> Accounts:
    """Books with something in every column: users with open, acked, unconfirmed and dropped events, repetitions, a
    former epoch, a user who has gone, restored events, a hold."""
    accounts = restored_accounts()
    for user_id in ("alice", "bob", "carol", "dave"):
        first = 6 if user_id == "alice" else 1
        for offset in range(first, first + 20):
            receipt = emitted(accounts)
            accounts.note_placed(receipt, user_id, "e", offset, 1, 0.0)
        ledger = accounts.users[user_id].ledger
        ledger.write(first, first + 12)
        ledger.ack(first, first + 9)
        accounts.trim(user_id, first + 15, Cause.RETENTION, 1.0)
        accounts.deduplicate(emitted(accounts), receipt, user_id)
    accounts.account("bob", "e2", 1, 2.0)
    accounts.note_placed(emitted(accounts), "bob", "e2", 1, 1, 2.0)
    accounts.trim("dave", 21, Cause.RETENTION, 2.0)
    accounts.forget("dave")
    for seq in range(1, 6):
        accounts.hold(emitted(accounts, "held"), seq, 2.0)
    accounts.shed("held", 1, 2, Cause.UNBOUND_EXPIRED, 3.0)
    accounts.restore_hold("older", 1, 3, Promise.POWER)
    accounts.lose(emitted(accounts), Cause.CRASHED, 3.0)
    emitted(accounts)
    return accounts


def whole(inspected: Inspection) -> bool | None:
    """Inspect everything once more, from its beginning."""
    while next(inspected._steps, False):
        pass
    inspected.step()
    while next(inspected._steps, False):
        pass
    return inspected.balanced


def test_books_that_add_up() -> None:
    """Before the first inspection is over nothing is known; then the books add up, and the totals are what they
    were."""
    accounts = busy_accounts()
    total = accounts.totals()
    assert total == accounts.audit().total
    inspected = Inspection(accounts)
    assert (inspected.balanced, repr(inspected)) == (None, "<Inspection none is over>")
    for _ in range(3):
        assert whole(inspected) is True
        assert accounts.totals() == total
    assert repr(inspected) == "<Inspection the books add up>"
    assert inspected.faults == ()


def _add(thing: object, name: str, count: int) -> None:
    setattr(thing, name, getattr(thing, name) + count)


def _miscount(books: Accounts, column: str, count: int) -> None:
    _add(books.tally, column, count)


FAULTS: dict[str, Callable[[Accounts], object]] = {
    "an ack that only the ledger counts": lambda books: _add(books.users["alice"].ledger, "acked", 1),
    "a drop that only the ledger counts": lambda books: _add(books.users["bob"].ledger, "dropped", 1),
    "an event less in the ledger": lambda books: _add(books.users["carol"].ledger, "accepted", -1),
    "an event of the page that is gone": lambda books: _add(books.users["carol"].ledger.page(20), "placed", -(1 << 20)),
    "an epoch that ended twice": lambda books: _add(books.users["bob"].ledgers[1], "unconfirmed", 1),
    "sums of epochs that ended": lambda books: _add(books.users["alice"].closed, "acked", 1),
    "a repetition that only the account counts": lambda books: _add(books.users["alice"], "deduplicated", 1),
    "a restored event less": lambda books: _add(books.users["alice"], "restored", -1),
    "a bound event less": lambda books: _add(books.users["alice"], "accepted", -1),
    **{
        f"one {word} {column} in the tally": partial(_miscount, column=column, count=count)
        for word, count in (("more", 1), ("less", -1))
        for column in ("accepted", "acked", "deduplicated", "dropped", "held", "placed", "restored", "unconfirmed")
    },
    "a user who has gone": lambda books: _add(books.former, "acked", 1),
    "a count of users who have gone": lambda books: _add(books.departed, "dropped", 1),
    "an event that was accepted by nothing": lambda books: _add(books, "accepted", -3),
    "a drop of no user": lambda books: _add(books.unowned, "dropped", 1),
    "an event that a hold lost": lambda books: _add(books.holds["held"], "high", -1),
    "more in a hold than was held": lambda books: _add(books.holds["older"], "high", 1),
}


@pytest.mark.parametrize("damage", FAULTS.values(), ids=FAULTS)
def test_each_fault_is_found(damage: Callable[[Accounts], object]) -> None:
    """One event too many or too few in any place is found, and found again as long as it is there."""
    accounts = busy_accounts()
    inspected = Inspection(accounts)
    assert whole(inspected) is True
    damage(accounts)
    assert whole(inspected) is False
    assert inspected.faults
    accounts.note_placed(emitted(accounts), "erin", "e", 1, 1, 4.0)
    assert whole(inspected) is False
    assert whole(inspected) is False


def test_a_fault_names_its_user() -> None:
    """An operator reads whose books they are, and their row; of very many, the first eight."""
    accounts = Accounts(10)
    for number in range(40):
        accounts.note_placed(emitted(accounts), f"user-{number}", "e", 1, 1, 0.0)
        accounts.users[f"user-{number}"].ledger.acked += 1
    inspected = Inspection(accounts)
    assert whole(inspected) is False
    assert inspected.faults[0].startswith("user user-0: Balance(accepted=1, ")
    assert len(inspected.faults) == 8
    assert "user user-7: " in repr(inspected)


def test_a_fault_that_is_mended_is_gone() -> None:
    """What the last inspection found counts, and no earlier one."""
    accounts = busy_accounts()
    inspected = Inspection(accounts)
    accounts.tally.acked += 1
    assert whole(inspected) is False
    accounts.uninspected.acked -= 1
    assert (whole(inspected), inspected.faults) == (True, ())


@pytest.mark.parametrize("moment", range(1, 6))
def test_a_fault_in_the_middle_of_an_inspection(moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever a ledger is damaged, behind the inspection or before it, the next one that begins finds it."""
    monkeypatch.setattr(inspection, "_PER_STEP", 1)
    accounts = busy_accounts()
    inspected = Inspection(accounts)
    for _ in range(moment):
        inspected.step()
    accounts.users["bob"].ledger.acked += 1
    assert whole(inspected) is False


def test_a_step_is_short() -> None:
    """A step comes by 250 users at most, and the result of a whole inspection counts, and never that of a part."""
    accounts = Accounts(10)
    for number in range(600):
        accounts.note_placed(emitted(accounts), f"user-{number}", "e", 1, 1, 0.0)
    inspected = Inspection(accounts)
    inspected.step()
    for seen in (250, 500):
        inspected.step()
        assert (accounts.tally.placed, accounts.uninspected.placed) == (seen, 600 - seen)
        assert inspected.balanced is None
    inspected.step()
    assert (accounts.tally.placed, accounts.uninspected.placed) == (600, 0)
    assert inspected.balanced is True


def test_users_who_come_and_go_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is forgotten in the middle, and comes back before the inspection came by, is no fault."""
    monkeypatch.setattr(inspection, "_PER_STEP", 1)
    accounts = busy_accounts()
    inspected = Inspection(accounts)
    inspected.step()
    inspected.step()
    accounts.trim("carol", 21, Cause.RETENTION, 4.0)
    accounts.forget("carol")
    accounts.note_placed(emitted(accounts), "carol", "e", 21, 21, 5.0)
    accounts.bind("held", "carol", "e", 22, 21, 5.0, notice=False)
    accounts.shed("older", 1, 3, Cause.UNBOUND_EXPIRED, 6.0)
    while inspected.balanced is None:
        inspected.step()
    assert (inspected.balanced, inspected.faults) == (True, ())
    assert accounts.totals() == accounts.audit().total


@given(st.lists(st.tuples(st.one_of(acts, st.none()), st.sampled_from("ab")), max_size=120), st.integers(1, 3))
def test_there_is_no_false_alarm(steps: list[tuple[object, str]], per_step: int) -> None:
    """Whatever happens to events between its steps, books that add up are found to, and the totals stay the same."""
    office = Office()
    inspected = Inspection(office.accounts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "_PER_STEP", per_step)
        for act, thread_id in steps:
            if act is None:
                inspected.step()
            else:
                assert callable(act)
                act(office, thread_id)
            assert office.accounts.totals() == office.accounts.audit().total
            assert inspected.balanced is not False, inspected.faults
        office.accounts.close(Cause.SHUTDOWN, office.now)
        assert whole(inspected) is True


@given(
    st.lists(st.tuples(st.one_of(acts, st.none()), st.sampled_from("ab")), max_size=60),
    st.sampled_from(["accepted", "acked", "dropped", "placed", "unconfirmed", "held", "deduplicated"]),
    st.sampled_from([1, -1]),
)
def test_a_lost_count_is_found_under_load(steps: list[tuple[object, str]], column: str, count: int) -> None:
    """One event that is counted once too often, or not at all, is found though the books go on between the steps."""
    office = Office()
    inspected = Inspection(office.accounts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "_PER_STEP", 1)
        for act, thread_id in steps[: len(steps) // 2]:
            if act is not None:
                assert callable(act)
                act(office, thread_id)
        _add(office.accounts.tally, column, count)
        while inspected.balanced is None:
            for act, thread_id in steps[len(steps) // 2 :]:
                if act is not None:
                    assert callable(act)
                    act(office, thread_id)
            inspected.step()
    assert inspected.balanced is False
