"""The rows of the table; tests/agui/vectors has each of them as a client is told."""

from __future__ import annotations

from typing import Any

import pytest

from actors.agui.rows import ROWS, CourseRun, text_of, user_message
from actors.events.delivered import Event
from actors.events.event import Lifecycle


def event(type_: str, **payload: Any) -> Event:
    return Event(type=type_, payload=payload, thread_id="t1", run_id="r1", seq=3, offset=3)


def test_every_event_of_a_run_has_a_row() -> None:
    """The vocabulary of runs is in the table, but for their beginnings and ends, of which the mapper decides."""
    ends = {Lifecycle.AGENT_STARTED, Lifecycle.AGENT_COMPLETED, Lifecycle.AGENT_FAILED, Lifecycle.AGENT_CANCELLED}
    assert set(ROWS) == set(Lifecycle) - ends


@pytest.mark.parametrize("type_", sorted(ROWS))
def test_a_row_without_its_fields_is_none(type_: str) -> None:
    """An event of that type which somebody else made up is no row, and changes nothing."""
    run = CourseRun(run_id="r1", text_id="r1.1")
    for payload in ({}, {"text": 1}, {"tool_name": 1, "tool_call_id": "c"}, {"tool_call_id": 2}):
        if type_ == Lifecycle.TOOL_COMPLETED and payload.get("tool_call_id") == "c":
            continue
        assert ROWS[type_](run, event(type_, **payload)) is None
    assert run.text_id == "r1.1"


def test_values_are_written_as_a_page_reads_them() -> None:
    """A text stays what it is, anything else is JSON without escapes."""
    assert text_of("ä") == "ä"
    assert text_of({"ä": [1, None]}) == '{"ä":[1,null]}'


def test_a_message_without_an_id_has_that_of_its_event() -> None:
    """The client's id, or the event's; a notice of neither has its number."""
    assert user_message(event("user_message", id="u", text="x")) == {"id": "u", "role": "user", "content": "x"}
    assert user_message(event("user_message", text="x"))["id"] == "m.3"
