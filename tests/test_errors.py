"""The tree of errors, as the page says it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import actors.errors
from actors.errors import ActorsError, Dropped, Unconfirmed, Unencodable
from actors.stages import Cause


def said(text: str) -> Iterator[tuple[str, str]]:
    """The pairs of class and base that the drawing of a tree shows."""
    above = {0: "ActorsError"}
    for line in text.splitlines():
        found = re.match(r"    ([│ ]*[├└])── (\w+)", line)
        if found:
            depth = len(found[1]) // 4 + 1
            above[depth] = found[2]
            yield found[2], above[depth - 1]


def defined() -> Iterator[tuple[str, str]]:
    """The pairs of class and base that the module defines."""
    for name, error in vars(actors.errors).items():
        if isinstance(error, type) and issubclass(error, ActorsError) and error is not ActorsError:
            yield name, error.__bases__[0].__name__


def test_the_drawing_is_the_tree() -> None:
    """Each error stands in the docstring under the one that it is a kind of."""
    assert sorted(said(actors.errors.__doc__ or "")) == sorted(defined())


def test_texts_say_what_was_expected() -> None:
    """An error of a payload names the place, what was expected there, and what came; it is a ValueError."""
    error = Unencodable("payload.a\ud800", "a string", came="int")
    assert str(error) == "payload.a\\ud800: expected a string, got int"
    assert error.path == "payload.a\\ud800"
    with pytest.raises(ValueError, match="expected a string"):
        raise error


def test_a_drop_has_its_cause() -> None:
    """The error of a stage that will not come says why, and whether the event was written."""
    assert Dropped("gone", Cause.RETENTION).cause is Cause.RETENTION
    assert isinstance(Unconfirmed("gone", Cause.RETENTION), Dropped)
