"""The first invariant, at any moment: the books add up, to what was counted as it happened."""

from __future__ import annotations

from actors.delivery.balance import Audit, Balance
from actors.testing.records import Records


def check_balance(audit: Audit, counted: Balance, records: Records) -> None:
    """Check that the books add up, to what was counted as it happened."""
    if not audit.balanced:
        records.complain(1, f"the books do not balance: {audit}")
    if counted != audit.total:
        records.complain(1, f"counted as it happened are {counted}, in the books {audit.total}")
