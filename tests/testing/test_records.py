"""The records of a simulation: moments, mismatches, lives."""

from __future__ import annotations

from actors.testing.records import Emit, Mismatch, Records, Wire


def test_moments_ascend() -> None:
    """Each entry has a moment later than all before."""
    records = Records()
    assert [records.tick(), records.tick(), records.now] == [1, 2, 2]


def test_a_mismatch_names_its_invariant() -> None:
    """A mismatch reads as the invariant and what contradicts it; two of one text are equal."""
    records = Records()
    records.complain(3, "offset 4 after 2")
    assert records.mismatches == [Mismatch(3, "offset 4 after 2")]
    assert str(records.mismatches[0]) == "invariant 3, no silent gap: offset 4 after 2"


def test_a_life_has_its_own_owners() -> None:
    """A restart forgets owners and quarantines, because a runtime in memory does; logs stay, by their epochs."""
    records = Records()
    first, log = records.owners_of("t1"), records.log(Wire(number=0, user_id="alice", life=0), "e1")
    records.quarantined.add("users/alice")
    records.begin_life()
    assert records.life == 1
    assert not records.quarantined
    assert records.owners_of("t1") is not first
    assert records.owners_of("t1", 0) is first
    assert records.log(Wire(number=1, user_id="alice", life=1), "e1") is log


def test_an_emit_without_a_receipt() -> None:
    """An event that no call was accepted for has neither a receipt nor a number."""
    emit = Emit(event_id="e", life=0, thread_id="t1", begun=1)
    assert emit.receipt is None
    assert emit.seq == 0
