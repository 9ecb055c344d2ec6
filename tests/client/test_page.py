"""The client's page is true: its example runs as printed."""

from __future__ import annotations

from typing import Any

import pytest

from actors.examples import assistant
from tests.support.pages import examples
from tests.support.served import served


async def test_the_example_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The client example, copied from the page, prints the answer to its question."""
    names: dict[str, Any] = {}
    (example,) = examples("actors/client/README.md")
    exec(example, names)  # noqa: S102 - it is this project's own page
    async with served(on_message=assistant.assistant) as server:
        assert isinstance(server.address, tuple)
        host, port = server.address
        await names["follow"](f"ws://{host}:{port}/ws", "alice")
    assert capsys.readouterr().out.startswith("The sky over Oslo is clear tonight, at 4 degrees.")
