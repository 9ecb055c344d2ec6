"""The course of a thread: its runs, and what of a history without a beginning a client's copies complete."""

from __future__ import annotations

from typing import Any

import pytest

from actors.agui.course import METADATA, Course, Question, stamp
from actors.events.delivered import Event


def event(type_: str, seq: int, run_id: str | None = "r1", **payload: Any) -> Event:
    return Event(type=type_, payload=payload, thread_id="t1", run_id=run_id, event_id=f"e{seq}", seq=seq, offset=seq)


def copy(message_id: str, seq: object, **fields: Any) -> dict[str, Any]:
    return {"id": message_id, "role": "assistant", "content": "ab", "metadata": {METADATA: {"seq": seq}}, **fields}


def test_a_run_takes_those_below_it_along() -> None:
    """With a run end the runs below it, and their questions; what comes of them later is of no run."""
    course = Course()
    for run_id, above in (("r1", None), ("r2", "r1"), ("r3", "r2")):
        course.start(event("agent_started", 1, run_id, **({} if above is None else {"parent_run_id": above})))
        course.questions[run_id] = Question(id=run_id, type="x", payload={}, run_id=run_id)
    assert [one.run_id for one in course.questions_of(course.runs["r1"])] == ["r1", "r2", "r3"]
    assert [one.run_id for one in course.leave(course.runs["r2"])] == ["r3", "r2"]
    assert list(course.questions) == ["r1"]
    assert course.top_of("r3") == "r1"
    assert course.run_of(event("agent_delta", 2, "r3", text="late")) is None
    assert course.start(event("agent_started", 3, "r3")) is None
    assert repr(course) == "<Course of 1 active runs, <Messages 0 of 1 runs>>"


@pytest.mark.parametrize(
    ("known", "first", "text_id"),
    [
        (copy("r1.1", 4), 5, "r1.1"),
        (copy("r1.1", 4), 3, "r1.1"),
        (copy("r1.1", 4), 6, None),
        (copy("r2.1", 4), 5, None),
        (copy("r1.1", 4, role="user"), 5, None),
        (copy("r1.1", 4, content=[]), 5, None),
        (copy("r1.x", 4), 5, None),
        (copy("r1.1", "4"), 5, None),
        (copy("r1.1", 4, metadata=None), 5, None),
        (copy("r1.1", 4, metadata={METADATA: 3}), 5, None),
        ({"role": "assistant", "content": "no id"}, 5, None),
    ],
)
def test_a_copy_is_continued_where_it_reaches(known: dict[str, Any], first: int, text_id: str | None) -> None:
    """A copy goes on if nothing is missing between it and what is retained; anything else is no copy of the text."""
    course = Course()
    course.recall([known])
    run = course.run_of(event("agent_delta", first, text="c"))
    assert run is not None
    assert run.text_id == text_id
    course.say(run, event("agent_delta", first, text="c"))
    content = "".join(one["content"] for one in course.messages.snapshot())
    assert content == ("c" if text_id is None else "ab" if first <= 4 else "abc")


def test_every_event_says_where_it_comes_from() -> None:
    """Number, offset and id of the event of the log; the time in milliseconds, whole."""
    one = event("x", 3)
    one.timestamp = 1.2345
    assert stamp(one) == {"timestamp": 1234, "metadata": {METADATA: {"seq": 3, "offset": 3, "event_id": "e3"}}}
