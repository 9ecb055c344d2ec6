"""The page about embedding is true: its example runs as printed."""

from __future__ import annotations

from typing import Any

import pytest

import actors
from actors.examples import assistant
from tests.support.pages import examples


@pytest.mark.parametrize("ahead", [None, 1])
async def test_the_bridge_runs_as_printed(ahead: int | None) -> None:
    """The example, copied from the page, returns the whole answer of an agent."""
    names: dict[str, Any] = {}
    (example,) = examples("actors/runs/README.md")
    exec(example, names)  # noqa: S102 - it is this project's own page
    async with actors.open_runtime(on_message=assistant.assistant, ahead=ahead) as runtime:
        answer = await names["bridge"](runtime, "alice", "t1", "What is the weather in Oslo?")
        assert answer.startswith("The sky over Oslo is clear tonight, at 4 degrees.")
        assert runtime.devices("alice") == 0
