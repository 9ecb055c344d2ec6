"""The page of the folder: its example prints the spans that it says, and its table has all attributes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import actors
from actors.otel import conventions
from actors.otel.conventions import Attributes
from tests.support.pages import examples

PAGE = (Path(actors.__file__).parent / "otel" / "README.md").read_text()
_PATIENCE_SECONDS = 60.0


def test_the_example_runs_as_printed() -> None:
    """It prints four spans of one trace, each below the one that the page says."""
    (program,) = examples("actors/otel/README.md")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, timeout=_PATIENCE_SECONDS, check=True
    )
    texts = re.split(r"(?<=^})\n", done.stdout.decode(), flags=re.MULTILINE)
    spans = [msgspec.json.decode(text) for text in texts if text]
    names = {span["context"]["span_id"]: span["name"] for span in spans}
    assert {span["name"]: names.get(span["parent_id"]) for span in spans} == {
        "send user_message": None,
        "invoke_agent assistant": "send user_message",
        "execute_tool search": "invoke_agent assistant",
        "chat gpt": "invoke_agent assistant",
    }
    assert len({span["context"]["trace_id"] for span in spans}) == 1


@pytest.mark.parametrize(
    ("row", "attributes"),
    [
        ("invoke_agent", conventions.run("t1", "r1", "a")[1]),
        ("execute_tool", conventions.tool("t1", "search", "c1")[1]),
        ("send", conventions.emit("t1", "step")[1]),
    ],
)
def test_the_table_has_the_attributes(row: str, attributes: Attributes) -> None:
    """Each that a span begins with is in its row, and the outcome that it ends with."""
    (line,) = re.findall(rf"^\| `{row} <.*$", PAGE, re.MULTILINE)
    shown = line.replace(
        "`messaging.operation.type` and `.name`", "`messaging.operation.type` `messaging.operation.name`"
    )
    assert {*attributes, conventions.OUTCOME} <= set(re.findall(r"`([\w.]+)`", shown))
