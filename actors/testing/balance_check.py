"""The first invariant, at any moment: the books add up, to what was counted as it happened."""

from __future__ import annotations

from actors.delivery.balance import Audit
from actors.runtime import Runtime
from actors.testing.records import Records


def check_balance(runtime: Runtime, records: Records) -> Audit:
    """Check that the books add up, to what was counted as it happened, and that their inspection says so."""
    audit, counted = runtime.audit(), runtime.tree.accounts.totals()
    if not audit.balanced:
        records.complain(1, f"the books do not balance: {audit}")
    if counted != audit.total:
        records.complain(1, f"counted as it happened are {counted}, in the books {audit.total}")
    inspection = runtime.tree.pulse.inspection
    if inspection.balanced is False:
        records.complain(1, f"the inspection found: {'; '.join(inspection.faults)}")
    return audit
