"""Messages that fail once, to make the actor that has them in hand crash."""

from __future__ import annotations

from typing import Any

from actors.delivery.ledger import Ledger
from actors.users.presence import Acked


class FaultyAcked(Acked, kw_only=True, frozen=True):
    """Acks that cannot be read the first time, as with a bug in the actor that reads them."""

    reads: list[str]

    def __getattribute__(self, name: str) -> Any:
        reads = super().__getattribute__("reads")
        if name == "spans":
            reads.append(name)
            if len(reads) == 1:
                raise ZeroDivisionError("a bug in the books")
        return super().__getattribute__(name)


def crash(ledger: Ledger | None = None) -> Acked:
    """A message that a user's actor crashes on: acks of the first offset of a ledger, or of none."""
    if ledger is None:
        return FaultyAcked(Ledger("alice", "e"), [], reads=[])
    return FaultyAcked(ledger, [(1, 1)], reads=[])
