"""What a simulated client knows of runs and questions, besides the log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.testing.device import Standing

ACTIVE = {"op": "active", "event": {"run_id": "r1", "thread_id": "t1"}}
ASK = {"op": "ask", "event": {"event_id": "q1"}}


@pytest.mark.parametrize("forget", [Standing.forget, Standing.forget_runs])
def test_what_was_forgotten_is_not_doubted(forget: Callable[[Standing], None]) -> None:
    """A log that begins anew, or a page, between a catch-up and the pong behind it leaves nothing to be dropped."""
    standing = Standing()
    standing.take(ACTIVE)
    standing.take(ASK)
    standing.catch_up()
    forget(standing)
    standing.drop_doubtful()
    assert (standing.running, standing.questions) == ({}, {})


def test_what_is_not_shown_again_is_dropped() -> None:
    """What the server shows after a catch-up stays, and the rest ended meanwhile."""
    standing = Standing()
    standing.take(ACTIVE)
    standing.take(ASK)
    standing.catch_up()
    standing.take(ACTIVE)
    standing.drop_doubtful()
    assert (standing.running, standing.questions) == ({"r1": "t1"}, {})
