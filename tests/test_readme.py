"""The README is true: its example runs as printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import trio

README = Path(__file__).parent.parent / "README.md"


async def test_the_example_runs_as_printed() -> None:
    """The embedding example, copied from the page, runs and prints what its comments say."""
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    finished = await trio.run_process([sys.executable, "-c", example], capture_stdout=True, capture_stderr=True)
    listening, buffered, stored, explained, audited = finished.stdout.decode().splitlines()
    assert listening.startswith("listening on ws://127.0.0.1:")
    assert (buffered, stored) == ("BUFFERED", "STORED")
    assert "owner alice → offset 1" in explained
    assert audited.startswith("Balance(accepted=1,")


def test_links_lead_somewhere() -> None:
    """Every file that the page points to is there."""
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
