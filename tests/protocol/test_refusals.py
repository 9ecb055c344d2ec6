"""Why requests are refused: one table, which says whether asking again is of any use."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import actors
from actors.protocol import codes as closing
from actors.protocol.refusals import TABLE, Refusal

LATER = {"busy", "too_many_requests", "shutting_down", "unavailable", "quarantined", "failed", "dropped"}
"""What may be different the next time."""


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_the_code_says_whether_to_ask_again(row: Refusal) -> None:
    """Codes below 4500 ask for another try, from 4500 on they do not; none stands outside of the two ranges."""
    assert 4000 <= row.code < 5000
    assert row.temporary == (row.code < 4500) == (row.name in LATER)


def test_one_row_each() -> None:
    """Each code and each name is one row's, no close code is among them, and each row says something."""
    assert len({row.code for row in TABLE.values()}) == len(TABLE)
    assert all(name == row.name and row.text for name, row in TABLE.items())
    assert not {row.code for row in TABLE.values()} & set(closing.BY_CODE)


def test_every_row_is_used() -> None:
    """A reason that no code gives is not in the table."""
    house = Path(actors.__file__).parent
    said: set[object] = set()
    for path in house.rglob("*.py"):
        if path.name != "refusals.py":
            said |= {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    assert set(TABLE) <= said
