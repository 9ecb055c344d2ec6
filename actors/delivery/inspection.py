"""The inspection: compares the books with what was counted as it happened, a few hundred users at a time.

:meth:`~actors.delivery.accounts.Accounts.audit` adds up all books in one step,
which takes 19 ms for each thousand users. A sum that is made in many steps is of
no one moment, because the books go on between them; so nothing is summed here.
Each account and each hold counts in a tally. An inspection begins with all of
them in one, ``uninspected``, and comes by them one after the other:

    uninspected ── an account, with its part ──▶ tally

In one step it adds up an account, compares its row, and moves what it found from
one tally to the other. From then on the account counts there, as those do that
begin meanwhile. When it has come by the last one, everything that is counted
has left ``uninspected``, whatever happened in between: what remains there, more
or less than nothing, is what the books and the counts do not agree on. It
finds the smallest difference under any load, and reports none that is not there.

What remains is kept, so the next inspection finds it again.
"""

from __future__ import annotations

from collections.abc import Iterator

from actors.delivery.accounts import Accounts, UserAccount, part_of
from actors.delivery.balance import Balance
from actors.delivery.hold import Hold
from actors.delivery.ledger import count_in
from actors.delivery.tally import Tally

_PER_STEP = 250
"""Accounts and holds compared in one step, 1 ms; then other tasks have a turn."""

_MOST_FAULTS = 8
"""Faults that are named; a bug that is in every account needs no list of them."""


class Inspection:
    """The comparison of one runtime's books, in steps, over and over."""

    def __init__(self, accounts: Accounts) -> None:
        self.balanced: bool | None = None
        """True if the last inspection found all books to add up; ``None`` before the first one is over."""
        self.faults: tuple[str, ...] = ()
        """The first things that it found not to add up, in words."""
        self._accounts = accounts
        self._found: list[str] = []
        self._steps: Iterator[bool] = iter(())

    def __repr__(self) -> str:
        state = {None: "none is over", True: "the books add up", False: "; ".join(self.faults)}[self.balanced]
        return f"<Inspection {state}>"

    def step(self) -> None:
        """Compare some more; the step after the last one begins anew."""
        if not next(self._steps, False):
            self._steps = self._inspect()

    def _inspect(self) -> Iterator[bool]:
        """Compare all books, and yield true between the steps."""
        accounts, self._found = self._accounts, []
        _begin(accounts)
        for number, user_id in enumerate(tuple(accounts.users), 1):
            account = accounts.users.get(user_id)
            if account is not None and not _compare_account(account, accounts.tally):
                self._found.append(f"user {user_id}: {account.balance()}")
            if number % _PER_STEP == 0:
                yield True
        for number, thread_id in enumerate(tuple(accounts.holds), 1):
            hold = accounts.holds.get(thread_id)
            if hold is not None:
                _compare_hold(hold, accounts.tally)
            if number % _PER_STEP == 0:
                yield True
        self._conclude()

    def _conclude(self) -> None:
        """Look at what is left over, and at the totals."""
        accounts, found = self._accounts, self._found
        if not accounts.uninspected.is_empty:
            found.append(f"counted, but not in the books: {accounts.uninspected.columns()}")
        if accounts.departed.columns() != _columns_of(accounts.former):
            found.append(f"users that have gone: counted {accounts.departed.columns()}, in the books {accounts.former}")
        for name, row in (("the total", accounts.totals()), ("users that have gone", accounts.former)):
            if not row.balanced:
                found.append(f"{name}: {row}")
        self.balanced, self.faults = not found, tuple(found[:_MOST_FAULTS])


def _begin(accounts: Accounts) -> None:
    """Have everything that is counted uninspected, what the last inspection left included. The two tallies change
    places, and no third one comes, because a ledger that is in no account any more may still know either."""
    accounts.tally, accounts.uninspected = accounts.uninspected, accounts.tally
    accounts.tally.pour(accounts.uninspected)


def _compare_account(account: UserAccount, tally: Tally) -> bool:
    """Move an account's part to a tally; true if its row adds up."""
    part, counted_in = part_of(account), account.ledger.tally
    if counted_in is not tally:
        counted_in.move(part, tally)
        for ledger in account.ledgers:
            count_in(ledger, tally)
    if part.accepted + account.accepted + part.restored != part.placed + part.deduplicated:
        return False
    settled = part.acked, part.unconfirmed, part.dropped, part.deduplicated
    return min(part.accepted, account.accepted, part.restored, part.retained, *settled) >= 0


def _compare_hold(hold: Hold, tally: Tally) -> None:
    """Move what a hold holds to a tally."""
    part = Tally()
    part.held = hold.held
    if hold.tally is not tally:
        hold.tally.move(part, tally)
        hold.tally = tally


def _columns_of(row: Balance) -> dict[str, int]:
    """Return the columns of a tally in which the users of a row would count."""
    part = Tally()
    part.acked, part.unconfirmed, part.dropped = row.acked, row.unconfirmed, row.dropped
    part.deduplicated, part.restored = row.deduplicated, row.restored
    part.placed = part.acked + part.unconfirmed + part.dropped
    return part.columns()
