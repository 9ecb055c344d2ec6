"""The one door for time and chance."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from actors.environment import Environment, check_seconds


@pytest.mark.parametrize("seconds", [0, 0.5, 10, math.inf])
def test_lengths_of_time(seconds: float) -> None:
    """Zero, a number up to the bound, and infinity are lengths of time."""
    check_seconds("pause", seconds, 10)


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (-1, ValueError),
        (math.nan, ValueError),
        (10.5, ValueError),
        (-math.inf, ValueError),
        ("1", TypeError),
        (True, TypeError),
    ],
)
def test_what_is_no_length_of_time(seconds: Any, error: type[Exception]) -> None:
    """The error names what was given, and the bound."""
    with pytest.raises(error, match=r"^pause: expected seconds, 0 or more, at most 10, or math\.inf, got "):
        check_seconds("pause", seconds, 10)


def test_ids() -> None:
    """An id has its prefix and 96 bits of the environment's entropy."""
    assert re.fullmatch("e_[0-9a-f]{24}", Environment().new_id("e"))
    assert Environment(entropy=lambda count: b"\xab" * count).new_id("s") == "s_" + "ab" * 12
