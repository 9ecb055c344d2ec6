"""Receipts: a stage must be so, and must follow from the stage that the receipt had before."""

from __future__ import annotations

from actors.receipts import Receipt
from actors.testing.records import Emit, Records

_LADDER = "ACCEPTED", "BUFFERED", "STORED", "WRITTEN", "ACKED"
_FINAL = frozenset({"ACKED", "UNCONFIRMED", "DROPPED"})


class ReceiptCheck:
    """Checks the first receipt of each event, until it is final."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def probe(self) -> None:
        """Check every receipt at this moment."""
        for emit in self._records.emits.values():
            if emit.receipt is not None and emit.stage not in _FINAL:
                stage = emit.receipt.stage.name
                self._check_progress(emit, stage)
                self._check_stage(emit, emit.receipt, stage)
                emit.stage = stage

    def _check_progress(self, emit: Emit, stage: str) -> None:
        before = emit.stage
        if before and before != stage and stage in _LADDER and _LADDER.index(stage) < _LADDER.index(before):
            self._records.complain(1, f"the receipt of {emit.event_id} said {before}, and now {stage}")
        if before == "WRITTEN" and stage == "DROPPED":
            self._records.complain(1, f"the receipt of {emit.event_id} said {before}, and now {stage}")

    def _check_stage(self, emit: Emit, receipt: Receipt, stage: str) -> None:
        records, position = self._records, receipt.position
        if stage not in {"WRITTEN", "ACKED", "UNCONFIRMED"} or position is None:
            return
        log = records.log_at((position.user_id, position.epoch, position.offset))
        written = position.offset in log.written
        plain = any(one.plain and one.user_id == position.user_id and one.life == emit.life for one in records.wires)
        if not written and not plain:
            records.complain(1, f"the receipt of {emit.event_id} says {stage}, and no line has taken {position}")
        if stage == "ACKED" and position.offset not in log.acked:
            records.complain(1, f"the receipt of {emit.event_id} says ACKED, and no device confirmed {position}")
