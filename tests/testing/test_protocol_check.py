"""The check of the protocol page: what a runtime may write passes, and each departure from it is a mismatch."""

from __future__ import annotations

from typing import Any

import pytest

from actors.testing.oracle import Oracle
from actors.testing.records import Records


def event(offset: int, **fields: Any) -> dict[str, Any]:
    """An event of a thread, with its offset as its number."""
    return {"type": "tick", "offset": offset, "seq": offset, "thread_id": "t1", "payload": {}, **fields}


def welcome(**fields: Any) -> dict[str, Any]:
    """The welcome to a new device of a log with three events."""
    fixed = {"op": "welcome", "session": "s1", "epoch": "e1", "head": 3, "low": 1, "start": 1, "resume": "fresh"}
    return {**fixed, **fields}


def told(*messages: dict[str, Any], hello: dict[str, Any] | None = None) -> list[str]:
    """The mismatches, when a runtime writes these messages after a hello."""
    records = Records()
    oracle = Oracle(records, lambda user_id: ("e1", 1))
    wire = oracle.connect("alice")
    oracle.greet(wire, hello or {})
    for message in messages:
        oracle.write(wire, message)
    return [mismatch.text.partition(": ")[2] for mismatch in records.mismatches]


RESUME = {"session": "s1", "resume": {"epoch": "e1", "offset": 2}}
DELTAS = [event(3, type="agent_delta", seq0=2)]


@pytest.mark.parametrize(
    ("hello", "messages"),
    [
        ({}, [welcome(), event(1), event(2), event(3), {"op": "caught_up", "offset": 3}]),
        ({}, [welcome(), event(1), {"op": "batch", "from": 2, "to": 3, "events": DELTAS}]),
        ({"from": "head"}, [welcome(start=4), {"op": "caught_up", "offset": 3}, event(4)]),
        (RESUME, [welcome(resume="replayed", start=3), event(3)]),
        (RESUME, [welcome(resume="gap", low=5, start=5, head=9), {"op": "gap", "from": 3, "to": 4}]),
        (RESUME, [welcome(resume="reset", epoch="e2"), {"op": "reset", "epoch": "e2", "low": 1}, event(1)]),
    ],
)
def test_what_keeps_to_the_page(hello: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    """Every way to begin, and every range that follows the one before, is in order."""
    said = [one for one in told(*messages, hello=hello) if "nobody emitted it" not in one and "is retained" not in one]
    assert said == []


@pytest.mark.parametrize(
    ("hello", "messages", "said"),
    [
        ({}, [welcome(), event(2)], "offset 2 after 0"),
        ({}, [welcome(), {"op": "caught_up", "offset": 3}], "caught up at 3, and 0 came last"),
        ({}, [welcome(start=3)], "begins at 3, and nobody confirmed [1, 2]"),
        ({}, [welcome(resume="replayed")], "expected fresh for None, was told"),
        ({}, [welcome(), {"op": "batch", "from": 1, "to": 3, "events": DELTAS}], "batch 1 to 3 for 2 events after 0"),
        ({}, [welcome(), {"op": "gap", "from": 2, "to": 2}], "gap 2 to 2 after 0"),
        ({}, [welcome(), {"op": "gap", "from": 1, "to": 1}], "gap 1 to 1, and 1 is retained"),
        (RESUME, [welcome(resume="replayed", start=1)], "resumed at 2, and starts at 1"),
        (RESUME, [welcome(resume="replayed", start=3, low=9)], "expected gap for"),
        (RESUME, [welcome(resume="replayed", start=3, head=1)], "expected reset for"),
    ],
)
def test_what_departs_from_the_page(hello: dict[str, Any], messages: list[dict[str, Any]], said: str) -> None:
    """A hole, a wrong start, a wrong verdict on the cursor or a gap that is none is named with its numbers."""
    assert any(text.startswith(said) for text in told(*messages, hello=hello)), told(*messages, hello=hello)


def test_a_log_that_was_not_lost() -> None:
    """A device is told to reset only when the epoch that it knows has ended."""
    records = Records()
    oracle = Oracle(records)
    wire = oracle.connect("alice")
    records.log(wire, "e0", 1)
    oracle.greet(wire, {"session": "s1", "resume": {"epoch": "e0", "offset": 2}})
    oracle.write(wire, welcome(resume="reset"))
    assert "that log was not lost" in str(records.mismatches[0])


def test_a_repeated_request_has_one_answer() -> None:
    """A reply to the same request of one session is the same, to the letter."""
    first = {"op": "reply", "id": "c1", "ok": True, "event_id": "m1", "epoch": "e", "offset": 1}
    assert told(welcome(), first, first) == []
    assert told(welcome(), first, {**first, "event_id": "m2"}) != []


def test_what_stands_is_the_owners() -> None:
    """A question is shown to no user that does not own its thread."""
    records = Records()
    oracle = Oracle(records)
    change = oracle.owning("t1", "bob")
    oracle.owned("t1", change, happened=True)
    wire = oracle.connect("alice")
    oracle.write(wire, {"op": "ask", "event": event(1)})
    assert [str(one) for one in records.mismatches] == ["invariant 4, ownership: ask of thread t1 was told to alice"]


def test_a_session_has_one_connection() -> None:
    """Events beyond the head at which a session went on elsewhere are not for its first connection."""
    records = Records()
    oracle = Oracle(records)
    first, second = oracle.connect("alice"), oracle.connect("alice")
    oracle.write(first, welcome())
    oracle.greet(second, {"session": "s1", "resume": {"epoch": "e1", "offset": 3}})
    oracle.write(second, welcome(resume="replayed", start=4))
    for offset in range(1, 5):
        oracle.write(first, event(offset))
    assert "offset 4 after its session went on elsewhere" in [
        mismatch.text.partition(": ")[2] for mismatch in records.mismatches
    ]
