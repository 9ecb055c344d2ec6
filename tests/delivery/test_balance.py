"""Rows of the books: each accepted event is in one column."""

from __future__ import annotations

import attrs
import pytest

from actors.delivery.balance import Audit, Balance


@pytest.mark.parametrize(
    "column", [field.name for field in attrs.fields(Balance) if field.name not in {"accepted", "restored"}]
)
def test_each_column_counts(column: str) -> None:
    """A row adds up when its one event is in any one column, and not when it is in two."""
    assert Balance(accepted=1, **{column: 1}).balanced
    assert not Balance(accepted=1, **{column: 2}).balanced
    assert not Balance(**{column: 1}).balanced
    assert Balance(restored=1, **{column: 1}).balanced


def test_one_row_is_enough() -> None:
    """Books do not balance when any one row does not."""
    right, wrong = Balance(accepted=1, held=1), Balance(accepted=2, held=1)
    assert Audit(total=right + right, unowned=right, users={"alice": right}).balanced
    assert not Audit(total=right + wrong, unowned=right, users={"alice": wrong}).balanced
    assert not Audit(total=right + wrong, unowned=wrong, users={"alice": right}).balanced
    assert not Audit(total=wrong, unowned=right, users={"alice": right}).balanced
