"""The oracle: what it is told, and what it makes of agents' answers and devices' acks."""

from __future__ import annotations

from typing import Any

from actors.testing.oracle import Oracle
from actors.testing.records import Records

EVENT: dict[str, Any] = {"type": "tick", "thread_id": "t1", "event_id": "e1", "payload": {}}


def test_calls_for_one_event() -> None:
    """Two calls under one id are one emit, which an accepted call makes accepted for good."""
    records = Records()
    oracle = Oracle(records)
    first, second = oracle.emitting(EVENT), oracle.emitting(EVENT)
    assert first is second
    assert not first.alone
    receipt: Any = object()
    oracle.accepted(first, receipt)
    ended = first.ended
    oracle.refused(second)
    assert (first.calls, first.receipts, first.ended) == (1, [receipt], ended)


def test_a_message_is_answered_once() -> None:
    """Two runs for one message contradict invariant 5; a restarted runtime may answer again."""
    records = Records()
    oracle = Oracle(records)
    oracle.answering("m1")
    records.begin_life()
    oracle.answering("m1")
    assert not records.mismatches
    oracle.answering("m1")
    assert [str(one) for one in records.mismatches] == ["invariant 5, runs end: message m1 was answered 2 times"]


def test_an_answer_of_a_former_owner() -> None:
    """An answer counts for the user that owned the thread when the device sent it."""
    records = Records()
    oracle = Oracle(records)
    oracle.owned("t1", oracle.owning("t1", "alice"), happened=True)
    sent = records.tick()
    oracle.answered("t1", "alice", sent)
    assert not records.mismatches
    oracle.answered("t1", "bob", sent)
    assert "was answered by bob, who had lost it" in str(records.mismatches[0])


def test_acks() -> None:
    """A device acks what its session received, up to an offset; a hello that resumes acks as well."""
    records = Records()
    oracle = Oracle(records)
    wire = oracle.connect("alice")
    wire.session = "s1"
    oracle.receive(wire, "e1", 1, 5)
    oracle.ack(wire, "e1", 2)
    assert records.logs["alice", "e1"].acked == {1, 2}
    oracle.greet(oracle.connect("alice"), {"session": "s1", "resume": {"epoch": "e1", "offset": 4}})
    assert records.logs["alice", "e1"].acked == {1, 2, 3, 4}
    oracle.greet(oracle.connect("alice"), {"session": "s2", "resume": {"epoch": "e1", "offset": 5}})
    assert records.logs["alice", "e1"].acked == {1, 2, 3, 4}, "nothing came to that session"
