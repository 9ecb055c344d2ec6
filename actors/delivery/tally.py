"""A tally: the totals of all ledgers of one runtime, counted as things happen, so that reading them costs nothing.

The books are summed up by :meth:`~actors.delivery.accounts.Accounts.audit`, which
visits every user and every page. The tally never asks them, so each of the two can
prove the other wrong.
"""

from __future__ import annotations


class Tally:
    """Events of all ledgers there were, by what became of them."""

    __slots__ = ("accepted", "acked", "dropped", "placed", "unconfirmed")

    def __init__(self) -> None:
        self.accepted: int = 0
        """Events that were placed at once, and not by a bind."""
        self.placed: int = 0
        """Events that stand in a ledger, also by a bind, or since an earlier life of the store."""
        self.acked: int = 0
        self.unconfirmed: int = 0
        self.dropped: int = 0

    @property
    def retained(self) -> int:
        """Events of which nothing is settled yet."""
        return self.placed - self.acked - self.unconfirmed - self.dropped

    def __repr__(self) -> str:
        return f"<Tally placed={self.placed} acked={self.acked} retained={self.retained}>"
