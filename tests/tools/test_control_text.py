"""The answers as text: what stands there, and that nothing in it is obeyed by a terminal."""

from __future__ import annotations

from datetime import datetime

import pytest

from actors.control.answers import (
    Connections,
    Count,
    DeadLetterAnswer,
    DeadLetters,
    DeviceAnswer,
    FailureAnswer,
    Failures,
    TraceLine,
)
from actors.tools.control_text import (
    connections_text,
    dead_letters_text,
    failures_text,
    size,
    table,
    trace_text,
)

AT = datetime(2026, 3, 1, 14, 2, 11, 250_000).timestamp()
DEVICE = DeviceAnswer(
    label="c3", user_id="al\x1bice", kind="v1", state="lagging", cursor=5, written=7, head=9, lag_events=2,
    backlog_bytes=10, pending_bytes=12_345, heard_at=AT,
)  # fmt: skip


def test_a_table_of_connections() -> None:
    """Columns are as wide as they need; what is not known is a dash; the next page is named."""
    unknown = DeviceAnswer(label="c10", user_id=None, kind="plain", state="saying hello")
    assert connections_text(Connections(connections=[DEVICE, unknown], total=9, after="c10")) == [
        "device  user       kind   state         acked  sent  head  lag  waiting  heard",
        "c3      al\\x1bice  v1     lagging       5      7     9     2    12 kB    14:02:11",
        "c10     -          plain  saying hello  -      -     -     0    -        -",
        "2 of 9; the next ones with --after c10",
    ]


def test_failures() -> None:
    """One line each, the last with its traceback, and how many are not kept."""
    failure = FailureAnswer(path="users/alice", handling="Acked", error="ValueError: x", traceback="a\nb\n", at=AT)
    assert failures_text(Failures(failures=[failure], total=3)) == [
        "2 older ones are not kept", "14:02:11  users/alice: ValueError: x (handling Acked)", "a", "b",
    ]  # fmt: skip


def test_dead_letters() -> None:
    """A range of a log, and one event of a thread."""
    one = DeadLetterAnswer(
        cause="retention", count=3, at=AT, user_id="alice", thread_id=None, event_id=None, first=1, last=3
    )
    other = DeadLetterAnswer(
        cause="conflict", count=1, at=AT, user_id=None, thread_id="t1", event_id="e1", first=None, last=None
    )
    assert dead_letters_text(DeadLetters(dead_letters=[one, other])) == [
        "14:02:11  retention: 3 of user alice, 1 to 3",
        "14:02:11  conflict: 1 of thread t1, event e1",
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (TraceLine(at=AT, kind="out", text="{}", device="c3"), "14:02:11.250  out     c3 <- {}"),
        (TraceLine(at=AT, kind="in", text="{}", device="c3"), "14:02:11.250  in      c3 -> {}"),
        (TraceLine(at=AT, kind="event", text="stored\x07"), "14:02:11.250  event   stored\\x07"),
    ],
)
def test_lines_of_a_trace(line: TraceLine, text: str) -> None:
    """The time, what kind of thing, which way, and what."""
    assert trace_text(line) == text


def test_numbers() -> None:
    """Bytes have a unit that a person reads; a table may be empty."""
    assert [size(count) for count in (None, 0, 9_999, 12_345_678)] == ["-", "0 B", "9,999 B", "12,346 kB"]
    assert table(["a", "b"], []) == ["a  b"]
    assert Count(name="origin", detail="403", count=3).count == 3
