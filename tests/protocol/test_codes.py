"""The two tables of codes: what a client may conclude from a code alone, and no row without a use."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import actors
from actors.protocol.codes import CLOSING_BY_CODE, CLOSINGS, PRODUCER_REFUSALS, REFUSALS, Reason, closing_of

ROWS = list(CLOSINGS.values())

OF_REQUESTS = [*REFUSALS.values(), *PRODUCER_REFUSALS.values()]

LATER = {"busy", "too_many_requests", "shutting_down", "unavailable", "quarantined", "failed", "dropped"} | {
    "unanswered",
    "too_slow",
}
"""The refusals after which the same request may succeed."""


def test_unique() -> None:
    """Each code, each name and each text of a connection's end stands for one reason."""
    assert len({row.code for row in ROWS}) == len(ROWS)
    assert len({row.text for row in ROWS}) == len(ROWS)
    assert all(CLOSINGS[row.name] is row and CLOSING_BY_CODE[row.code] is row for row in ROWS)


def test_unique_refusals() -> None:
    """Each code and each name is one refusal's, no close code is among them, and each row says something."""
    assert len({row.code for row in OF_REQUESTS}) == len({row.name for row in OF_REQUESTS}) == len(OF_REQUESTS)
    assert all(name == row.name and row.text for name, row in (REFUSALS | PRODUCER_REFUSALS).items())
    assert not {row.code for row in OF_REQUESTS} & set(CLOSING_BY_CODE)


@pytest.mark.parametrize("row", OF_REQUESTS, ids=lambda row: row.name)
def test_verdict_of_refusals(row: Reason) -> None:
    """Codes below 4500 ask for another try, from 4500 on they do not; none stands outside of the two ranges."""
    assert 4000 <= row.code < 5000
    assert row.temporary == (row.code < 4500) == (row.name in LATER)


def test_every_row_is_used() -> None:
    """A reason that no module gives is not in the tables."""
    server = Path(actors.__file__).parent
    said: set[object] = set()
    for path in server.rglob("*.py"):
        if path.name != "codes.py":
            said |= {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    assert {*CLOSINGS, *REFUSALS, *PRODUCER_REFUSALS} <= said


@pytest.mark.parametrize("row", [row for row in ROWS if row.code >= 4000], ids=lambda row: row.name)
def test_verdict_follows_the_range(row: Reason) -> None:
    """A client that knows no row knows whether to come back: below 4500 yes, from 4500 on no."""
    assert 4000 <= row.code < 5000
    assert row.temporary == (row.code < 4500)


def test_verdict_of_standard_codes() -> None:
    """Of RFC 6455's own codes, those that blame the client's program are final, the others are not."""
    final = {row.code for row in ROWS if row.code < 4000 and not row.temporary}
    assert final == {1002, 1003, 1007, 1009}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_sayable(row: Reason) -> None:
    """Each row can be said in a Close frame, whose reason has 123 bytes."""
    assert 0 < len(row.text.encode()) <= 123


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1000, "left"),
        (1001, "left"),
        (1002, "bad_frame"),
        (1005, "left"),
        (1006, "vanished"),
        (1011, "vanished"),
        (3000, "left"),
        (4999, "left"),
        (4501, "unauthenticated"),
    ],
)
def test_what_a_peer_said(code: int, name: str) -> None:
    """A peer's code has its row; one without a row is a goodbye where the choice is the peer's."""
    assert closing_of(code).name == name
