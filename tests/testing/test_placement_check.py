"""The check of placements: an event has one place and one content, and goes to an owner."""

from __future__ import annotations

from typing import Any

import pytest

from actors.testing.oracle import Oracle
from actors.testing.records import Emit, Records, Wire


def event(offset: int, event_id: str = "e1", **fields: Any) -> dict[str, Any]:
    """An event as an emitter composes it and as a store places it."""
    place = {"offset": offset, "seq": offset}
    return {"type": "tick", "thread_id": "t1", "event_id": event_id, "payload": {"n": 1}, **place, **fields}


def opened(user_id: str = "alice", *, plain: bool = False) -> tuple[Records, Oracle, Wire]:
    """An oracle that knows one emitted event, and a connection."""
    records = Records()
    oracle = Oracle(records, lambda user_id: ("e1", 1))
    oracle.owned("t1", oracle.owning("t1", "alice"), happened=True)
    emit = oracle.emitting(event(1))
    emit.calls = 1
    emit.ended = records.tick()
    wire = oracle.connect(user_id, plain=plain)
    wire.epoch, wire.position = "e1", 0
    return records, oracle, wire


def said(records: Records) -> list[str]:
    return [str(mismatch) for mismatch in records.mismatches]


def test_what_was_emitted_arrives() -> None:
    """An event that is what its emitter emitted contradicts nothing, and is noted as written."""
    records, oracle, wire = opened()
    oracle.write(wire, event(1))
    assert said(records) == []
    assert records.logs["alice", "e1"].written == {1}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([event(1, "e2", payload={})], "invariant 2, order: event e2 of t1 is at ('alice', 'e1', 1), and nobody"),
        ([event(1), event(2)], "invariant 2, order: number (0, 1) is at ('alice', 'e1', 1) and at ('alice', 'e1', 2)"),
        ([event(1, payload={"n": 2})], "invariant 6, whole frames: event e1: {'n': 1} was emitted, {'n': 2} is at"),
    ],
)
def test_what_no_emitter_emitted(written: list[dict[str, Any]], expected: str) -> None:
    """An unknown event, a second place and another content are mismatches."""
    records, oracle, wire = opened()
    for one in written:
        oracle.write(wire, one)
    assert any(text.startswith(expected) for text in said(records)), said(records)


def test_an_offset_has_one_event() -> None:
    """Two connections of a user are sent the same event at an offset."""
    records, oracle, wire = opened()
    oracle.write(wire, event(1))
    other = oracle.connect("alice")
    other.epoch, other.position = "e1", 0
    oracle.write(other, event(1, type="tock"))
    assert said(records)[0].startswith("invariant 2, order: offset 1 of alice is Placed(")


def test_a_refused_event() -> None:
    """An event that its emitter was refused is delivered to no device."""
    records, oracle, wire = opened()
    refused: Emit = oracle.emitting(event(2, "e2"))
    oracle.refused(refused)
    wire.position = 1
    oracle.write(wire, event(2, "e2"))
    assert any("event e2 was refused to its emitter" in text for text in said(records))


@pytest.mark.parametrize("plain", [True, False])
def test_a_leak(plain: bool) -> None:
    """An event goes to no user that did not own its thread when a store took it, quarantine or not."""
    records, oracle, wire = opened("mallory", plain=plain)
    oracle.quarantine("users/mallory")
    oracle.write(wire, event(1))
    assert said(records) == ["invariant 4, ownership: event e1 of t1 was sent to mallory"]
