"""A tally: totals of the books of many users, counted as things happen, so that reading them costs nothing.

The books are summed up by :meth:`~actors.delivery.accounts.Accounts.audit`, which
visits every user and every page. A tally never asks them, so each of the two can
prove the other wrong. Each ledger and each hold knows the tally in which it
counts, and may be moved to another one with its part: the sum of all tallies
stays the same. That is how :mod:`~actors.delivery.inspection` compares the two
without stopping anything.
"""

from __future__ import annotations


class Tally:
    """Events of the ledgers and holds that count here, by what became of them."""

    __slots__ = ("accepted", "acked", "deduplicated", "dropped", "held", "placed", "restored", "unconfirmed")

    def __init__(self) -> None:
        self.accepted: int = 0
        """Events that were placed at once, and not by a bind."""
        self.placed: int = 0
        """Events that stand in a ledger, also by a bind, or since an earlier life of the store."""
        self.acked: int = 0
        self.unconfirmed: int = 0
        self.dropped: int = 0
        self.deduplicated: int = 0
        """Events that repeated one of a user's."""
        self.restored: int = 0
        """Events of an earlier life of the store in users' logs."""
        self.held: int = 0
        """Events in holds."""

    @property
    def retained(self) -> int:
        """Events of which nothing is settled yet."""
        return self.placed - self.acked - self.unconfirmed - self.dropped

    @property
    def is_empty(self) -> bool:
        """True if nothing counts here."""
        return not any(self.columns().values())

    def columns(self) -> dict[str, int]:
        """Return the counts by their names."""
        return {column: getattr(self, column) for column in self.__slots__}

    def move(self, part: Tally, to: Tally) -> None:
        """Move a part of what counts here to another tally."""
        self._add(part, -1)
        to._add(part, 1)

    def pour(self, to: Tally) -> None:
        """Move all that counts here to another tally."""
        to._add(self, 1)
        self._add(self, -1)

    def _add(self, part: Tally, sign: int) -> None:
        self.accepted += sign * part.accepted
        self.placed += sign * part.placed
        self.acked += sign * part.acked
        self.unconfirmed += sign * part.unconfirmed
        self.dropped += sign * part.dropped
        self.deduplicated += sign * part.deduplicated
        self.restored += sign * part.restored
        self.held += sign * part.held

    def __repr__(self) -> str:
        return f"<Tally placed={self.placed} acked={self.acked} retained={self.retained} held={self.held}>"
