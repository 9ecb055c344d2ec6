"""The survey: what it finds of all connections, a few at a time, and how often it looks."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors import Limits
from actors.connections.survey import Survey
from tests.support.served import served


def surveyed(monkeypatch: pytest.MonkeyPatch, standings: dict[Any, tuple[int, bool, int]]) -> Survey:
    """A survey of connections that stand as the test says."""
    monkeypatch.setattr("actors.connections.survey.standing_of", standings.get)
    return Survey(standings.keys())


def test_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts those that are behind, and finds the worst; one that is about to be written to is not behind."""
    survey = surveyed(monkeypatch, {"a": (0, False, 0), "b": (9, True, 100), "c": (4, True, 10), "d": (12, False, 0)})
    assert list(survey.steps(5.0)) == []
    assert (survey.behind, survey.lag_events, survey.backlog_bytes) == (2, 12, 110)
    assert repr(survey) == "<Survey 2 behind, by 12 at most, 110 bytes wait>"


def test_it_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many it looks at 500 in a step, and its result counts when it is over: never a half of it."""
    standings = dict.fromkeys(range(1200), (1, True, 1))
    survey = surveyed(monkeypatch, standings)
    steps = survey.steps(0.0)
    next(steps)
    standings.clear()  # those that go meanwhile were there when it began
    standings.update(dict.fromkeys(range(1200), (1, True, 1)))
    next(steps)
    assert survey.behind == 0
    assert list(steps) == []
    assert survey.behind == 1_200


def test_so_many_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pass over 3,000 it rests for three seconds, and after one over none for nothing."""
    standings = dict.fromkeys(range(3000), (1, True, 1))
    survey = surveyed(monkeypatch, standings)
    list(survey.steps(10.0))
    standings.clear()
    list(survey.steps(12.9))
    assert survey.behind == 3_000
    list(survey.steps(13.0))
    assert survey.behind == 0


async def test_a_device_that_stopped_reading() -> None:
    """A runtime tells of it within a second or two: how far it is behind, and what waits for its socket."""
    limits = Limits(write_deadline_seconds=60.0, retained_bytes=1 << 26, sweep_seconds=0.01)
    async with served(limits=limits) as server, server.peer() as peer:
        await peer.attach("alice")
        await server.emit(200, size=60_000)
        (state,) = server.runtime.connections()
        while (now := server.runtime.statistics()).lag_events_max < state.lag_events:  # noqa: ASYNC110 - as the pulse
            await trio.sleep(0.01)
    assert now.connections_behind == 1
    assert now.lag_events_max > 50
    assert now.backlog_bytes > 0
    assert state.state == "lagging"
    assert state.lag_events == now.lag_events_max
    assert state.backlog_bytes is not None
    assert state.backlog_bytes >= now.backlog_bytes
