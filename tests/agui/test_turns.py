"""Whose turn it is; tests/agui/vectors has what a client is told of each."""

from __future__ import annotations

from actors.agui.rows import CourseRun
from actors.agui.turns import Turns
from actors.events.delivered import Event


def begin(turns: Turns, run_id: str) -> CourseRun:
    run = turns.course.start(Event(type="agent_started", payload={}, thread_id="t", run_id=run_id, seq=1, offset=1))
    assert run is not None
    turns.add(run)
    return run


def test_one_run_is_said_at_a_time() -> None:
    """The first that began is said; the next one when that is over, and the newest is the one that is said."""
    turns = Turns("t")
    first, second = begin(turns, "r1"), begin(turns, "r2")
    assert turns.turn()[0]["runId"] == "r1"
    assert turns.said is first
    assert turns.turn() == []
    assert turns.newest == "r1"
    turns.conclude(first, {"type": "RUN_FINISHED"})
    assert turns.said is second
    assert repr(turns) == "<Turns of 1 runs, r2 is the newest>"


def test_turns_of_another_log_keep_what_the_client_is() -> None:
    """What the log had is forgotten; what the stream is of, and what the client knows, is not."""
    turns = Turns("t")
    begin(turns, "r1")
    turns.begin("r1")
    turns.own = [{"id": "s", "role": "system", "content": "be brief"}]
    renewed = turns.renewed()
    assert (renewed.only, renewed.is_over, renewed.own) == ("r1", True, turns.own)
    assert renewed.newest is None
    assert [one["type"] for one in turns.withdraw_all()] == ["RUN_ERROR"]
    assert Turns("t").withdraw_all() == []
