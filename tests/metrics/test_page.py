"""The page of the folder: its example runs as printed, and its tables are what is exported."""

from __future__ import annotations

import re
import sys

import httpx
import trio

from actors.metrics.rows import BESIDE, ROWS, Row
from tests.metrics.test_files import RULES
from tests.support.pages import ROOT, examples

PAGE = "actors/metrics/README.md"


def rows_of(*header: str) -> list[list[str]]:
    """The rows of the table with this header."""
    text = (ROOT / PAGE).read_text()
    table = text.partition(f"| {' | '.join(header)} |\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[1:]]


def test_the_table_is_what_is_exported() -> None:
    """Each metric has a row, with its kind, its labels and what it is, and there is no other row."""
    told = [
        [name, kind, labels, text + "."]
        for name, kind, labels, text in rows_of("metric", "kind", "labels", "what it is")
    ]
    exported = [
        [f"`{row.exported}`", row.kind, ", ".join(f"`{label}`" for label in row.labels), row.help] for row in ROWS
    ]
    labels = {"trio_actors_runs": "`agent`", "trio_actors_info": "`version`"}
    assert told == [*exported, *([f"`{name}`", "gauge", labels[name], text] for name, text in BESIDE.items())]


def test_every_alert_has_an_answer() -> None:
    """Who is woken by an alert finds what to do."""
    assert [name.strip("`") for name, _ in rows_of("alert", "what to do")] == [rule["alert"] for rule in RULES]


async def test_the_example_runs_as_printed() -> None:
    """A scrape at the host's own port has the metrics of the runtime."""
    (example,) = examples(PAGE)
    program = example.replace("9464", "0").replace("8765", "0")
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process([sys.executable, "-c", program], stdout=-1)
        try:
            assert process.stdout is not None
            said = b""
            while b"\n" not in said:
                more = await process.stdout.receive_some()
                assert more, "the example has ended"
                said += more
            url = said.decode().rpartition(" at ")[2].strip()
            async with httpx.AsyncClient() as client:
                text = (await client.get(url)).text
        finally:
            process.terminate()
            await process.wait()
    for row in ROWS:
        assert re.search(rf"^# TYPE {row.exported} {row.kind}$", text, re.MULTILINE) or not isinstance(row, Row)
    assert 'trio_actors_runs{agent="writer"} 0.0' in text
