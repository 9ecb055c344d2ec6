"""The context of a runtime's parts: what they share is one, also where a part is given more."""

from __future__ import annotations

import pytest

from actors.context import lines_of
from actors.environment import Environment
from actors.limits import Limits
from actors.observability.lines import NO_OWNER
from tests.support.served import context_of


def test_the_log_is_bounded_by_the_limits(caplog: pytest.LogCaptureFixture) -> None:
    """The lines of one runtime are as many in a period as its limits say, on its own clock."""
    now = 0.0
    lines = lines_of(Limits(warnings=2, warning_seconds=10), Environment(clock=lambda: now))
    for number in range(5):
        lines.say(NO_OWNER, number, thread_id=f"t{number}")
    assert len(caplog.records) == 2
    now = 10.0
    assert lines.say(NO_OWNER, 9, thread_id="t9")


def test_a_part_alone_has_lines_of_its_own() -> None:
    """A context that is made for one part has lines, too, and no other one's."""
    assert context_of().lines is not context_of().lines
