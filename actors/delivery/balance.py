"""Rows of the books: their columns, and whether they add up."""

from __future__ import annotations

import attrs


@attrs.define(kw_only=True)
class Balance:
    """One row of the books: the columns, and whether they add up."""

    accepted: int = 0
    queued: int = 0
    held: int = 0
    retained: int = 0
    acked: int = 0
    unconfirmed: int = 0
    dropped: int = 0
    deduplicated: int = 0
    restored: int = 0

    @property
    def balanced(self) -> bool:
        """True if every accepted event is in exactly one column."""
        if min(attrs.astuple(self)) < 0:
            return False
        return self.accepted + self.restored == (
            self.queued + self.held + self.retained + self.acked + self.unconfirmed + self.dropped + self.deduplicated
        )

    def __add__(self, other: Balance) -> Balance:
        theirs = attrs.asdict(other)
        return Balance(**{column: count + theirs[column] for column, count in attrs.asdict(self).items()})


@attrs.frozen(kw_only=True)
class Audit:
    """The books at one moment: a row per user, one for former users, one for events without an owner, the total."""

    total: Balance
    unowned: Balance
    users: dict[str, Balance]
    former: Balance = attrs.field(factory=Balance)
    """The sum of the users that have gone, and of whose logs nothing is left."""

    @property
    def balanced(self) -> bool:
        """True if every row adds up."""
        return all(row.balanced for row in [self.total, self.unowned, self.former, *self.users.values()])
