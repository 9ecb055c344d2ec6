"""The page of threats names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import actors

TREE = Path(__file__).parents[3]
PAGE = (Path(actors.__file__).parent / "server" / "threats.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("|")][2:]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def functions_of(path: str) -> set[str]:
    tree = ast.parse((TREE / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda one: one)
def test_the_test_exists(path: str, name: str) -> None:
    """Each test that the page names is there."""
    assert name in functions_of(path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[2].strip()[:40])
def test_every_threat_has_a_test(row: str) -> None:
    """Each threat has a defence, and each defence a test."""
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 4
    assert all(cells[1:])
    assert "::test_" in cells[3]
