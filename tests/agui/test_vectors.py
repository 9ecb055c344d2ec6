"""The corpus of courses, which both languages are held to."""

from __future__ import annotations

from typing import Any

import pytest

from actors.agui.mapper import Mapper
from tests.agui.vectors import apply, courses
from tests.support.agui_client import AguiClient

COURSES = courses()


@pytest.mark.parametrize("name", COURSES)
def test_the_mapper_says_what_the_corpus_has(name: str) -> None:
    """Each input of each course is what the corpus says, and a client takes it."""
    course: dict[str, Any] = COURSES[name]
    mapper, client = Mapper(course["thread_id"]), AguiClient()
    for step in course["steps"]:
        said = apply(mapper, step)
        assert said == step["said"]
        client.take(said)
    assert course["about"].endswith(".")
