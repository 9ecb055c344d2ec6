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
    first, log = records.owners_of("t1"), records.log(Wire(number=0, user_id="alice", life=0), "e1", 1)
    records.quarantined.add("users/alice")
    records.begin_life()
    assert records.life == 1
    assert not records.quarantined
    assert records.owners_of("t1") is not first
    assert records.owners_of("t1", 0) is first
    assert records.log(Wire(number=1, user_id="alice", life=1), "e1", 1) is log


def test_an_offset_belongs_to_the_epoch_that_placed_it() -> None:
    """What is known of an offset is known in each epoch that kept it; beyond a fork another event stands there."""
    records = Records()
    records.fork("alice", "e1", "e2", 30)
    records.fork("alice", "e2", "e3", 20)
    assert [records.origin("alice", "e3", offset) for offset in (20, 21)] == ["e1", "e3"]
    assert [records.origin("alice", "e2", offset) for offset in (30, 31)] == ["e1", "e2"]
    assert [records.shared("alice", one, "e3") for one in ("e1", "e2", "e0")] == [20, 20, None]
    assert [records.is_lost("alice", "e1", offset) for offset in (20, 21, 31)] == [False, True, True]


def test_an_emit_without_a_receipt() -> None:
    """An event that no call was accepted for has neither a receipt nor a number."""
    emit = Emit(event_id="e", life=0, runtime=0, thread_id="t1", begun=1)
    assert emit.receipt is None
    assert emit.seq == 0


def test_an_epoch_that_no_device_of_the_user_was_told_of() -> None:
    """It may be lost with the life that made it, though another user's log had one of the same name, and was told."""
    records = Records()
    records.wires.append(Wire(number=0, user_id="bob", life=0, epochs={"e2"}))
    for after in ("e2", "e3"):
        records.fork("alice", "e1", after, 30)
        records.fork("bob", "e1", after, 30)
    assert [records.shared(user, "e1", "e3") for user in ("alice", "bob")] == [30, None]
    assert records.shared("bob", "e1", "e2") == 30
