"""The table of log lines: the README has the rows that the code has, and nothing else logs."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import actors
from actors.kernel.log_lines import LogLine
from actors.observability import lines
from actors.observability.lines import LINES, RESETS
from actors.users.actor import _reason_to_reset

PACKAGE = Path(actors.__file__).parent
README = PACKAGE / "observability" / "README.md"

ELSEWHERE = {
    "kernel/failures.py": "what has no runtime: callbacks of receipts and of clients, complained of once each",
    "observability/lines.py": "the levels of the rows",
    "http/server.py": "what the HTTP server's library says",
    "tools/log_format.py": "the form",
}
"""Modules that use ``logging`` beside the table, and for what."""


def table() -> dict[str, tuple[str, str]]:
    """The level and the fields of each row of the README."""
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z]+) \| ([^|]*) \|", README.read_text(), re.MULTILINE)
    return {name: (level, fields.strip()) for name, level, fields in rows}


def test_the_readme_has_every_line() -> None:
    """Each line is in the README with its level and its fields, and the README has no other."""
    assert table() == {
        name: (logging.getLevelName(line.level), ", ".join(f"`{field}`" for field in line.fields))
        for name, line in LINES.items()
    }


def test_a_reset_has_a_sentence_for_each_reason() -> None:
    """Whatever a device is reset for, the log says what that means."""
    reasons = {_reason_to_reset(None, 1, True), _reason_to_reset(3, 4, True), _reason_to_reset(3, 3, False)}
    assert reasons == set(RESETS)


def test_every_row_is_in_the_table() -> None:
    """No row is defined that the table forgets, and each has the name of its constant."""
    rows = {name: value for name, value in vars(lines).items() if isinstance(value, LogLine)}
    assert {name.lower(): line for name, line in rows.items()} == LINES


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_field_is_no_attribute_of_every_record(line: LogLine) -> None:
    """``logging`` refuses a field that records have themselves; a row has fields, and few and named as elsewhere."""
    reserved = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "notice"}
    assert line.fields
    assert not reserved & set(line.fields)


def test_a_line_is_said_with_its_fields() -> None:
    """Each line is said somewhere, and wherever it is, each field of its text is given, and no other one."""
    found = [call for path in PACKAGE.rglob("*.py") for call in calls(path)]
    said = {(name, *sorted(fields)) for name, fields in found}
    assert said == {(name, *sorted(line.fields)) for name, line in LINES.items()}


def calls(path: Path) -> Iterator[tuple[str, set[str]]]:
    """The name and the fields in each call that says a line."""
    text = path.read_text()
    if "observability.lines import" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and _says(node.func) and isinstance(node.args[0], ast.Name):
            yield node.args[0].id.lower(), {str(keyword.arg) for keyword in node.keywords}


def _says(called: ast.expr) -> bool:
    return getattr(called, "attr", getattr(called, "id", None)) in {"say", "log_line"}


def test_nothing_else_logs() -> None:
    """What the package logs is in the table, so that nothing is without a bound, or undocumented."""
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^ *import logging", path.read_text(), re.MULTILINE) and "testing" not in path.parts
    }
    assert users == set(ELSEWHERE)
