"""The closing table: what a client may conclude from a code alone."""

from __future__ import annotations

import pytest

from actors.protocol.codes import BY_CODE, TABLE, Closing, closing_of

ROWS = list(TABLE.values())


def test_unique() -> None:
    """Each code, each name and each text stands for one reason."""
    assert len({row.code for row in ROWS}) == len(ROWS)
    assert len({row.text for row in ROWS}) == len(ROWS)
    assert all(TABLE[row.name] is row and BY_CODE[row.code] is row for row in ROWS)


@pytest.mark.parametrize("row", [row for row in ROWS if row.code >= 4000], ids=lambda row: row.name)
def test_verdict_follows_the_range(row: Closing) -> None:
    """A client that knows no row knows whether to come back: below 4500 yes, from 4500 on no."""
    assert 4000 <= row.code < 5000
    assert row.temporary == (row.code < 4500)


def test_verdict_of_standard_codes() -> None:
    """Of RFC 6455's own codes, those that blame the client's program are final, the others are not."""
    final = {row.code for row in ROWS if row.code < 4000 and not row.temporary}
    assert final == {1002, 1003, 1007, 1009}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_sayable(row: Closing) -> None:
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
