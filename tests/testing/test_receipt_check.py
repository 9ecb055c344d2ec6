"""The check of receipts: a stage is true, and never goes back."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from actors.events.delivered import Position
from actors.stages import Stage
from actors.testing.receipt_check import ReceiptCheck
from actors.testing.records import Emit, Log, Records


@attrs.define
class Scripted:
    """A receipt that says what the test has it say."""

    stage: Stage
    position: Position | None = None


def checked(*stages: Stage, log: Log | None = None) -> list[str]:
    """The mismatches of a receipt that goes through these stages."""
    records, position = Records(), Position("alice", "e1", 1)
    if log is not None:
        records.logs["alice", "e1"] = log
    receipt: Any = Scripted(stages[0], position)
    records.emits[0, "t1", "e"] = Emit(event_id="e", life=0, runtime=0, thread_id="t1", begun=1, receipts=[receipt])
    check = ReceiptCheck(records)
    for stage in stages:
        receipt.stage = stage
        check.probe()
    return [mismatch.text for mismatch in records.mismatches]


def test_a_true_ladder() -> None:
    """A receipt that climbs with what lines took and devices acked contradicts nothing."""
    log = Log(user_id="alice", life=0, written={1}, acked={1})
    assert checked(Stage.ACCEPTED, Stage.STORED, Stage.WRITTEN, Stage.ACKED, log=log) == []


@pytest.mark.parametrize(
    ("stages", "log", "expected"),
    [
        ((Stage.STORED, Stage.ACCEPTED), None, "said STORED, and now ACCEPTED"),
        ((Stage.WRITTEN, Stage.DROPPED), Log(user_id="alice", life=0, written={1}), "said WRITTEN, and now DROPPED"),
        ((Stage.WRITTEN,), Log(user_id="alice", life=0), "says WRITTEN, and no line has taken"),
        ((Stage.ACKED,), Log(user_id="alice", life=0, written={1}), "says ACKED, and no device confirmed"),
    ],
)
def test_a_stage_that_is_not_so(stages: tuple[Stage, ...], log: Log | None, expected: str) -> None:
    """A stage that goes back, or that nothing on the wire bears out, is a mismatch."""
    said = checked(*stages, log=log)
    assert len(said) == 1
    assert expected in said[0]
