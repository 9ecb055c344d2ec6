"""The report of chaos: a row for each misfortune, and the table of them with which a run ends."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Protocol

import attrs
import pytest


class Report(Protocol):
    """Reports the effects of one fault; fails if an event was lost without a report, or a bystander was affected."""

    def __call__(
        self,
        what: str,
        *,
        lost_unreported: int,
        recovery_seconds: Sequence[float] = (),
        others_hurt: int = 0,
        note: str = "",
    ) -> None:
        """``recovery_seconds`` has a duration for each victim; they are told, and nothing is asked of them."""


@attrs.frozen
class Row:
    """One misfortune."""

    what: str
    lost_unreported: int
    recovery_seconds: Sequence[float]
    others_hurt: int
    note: str
    test: str
    """The test that repeats it, as pytest names it."""

    @property
    def cells(self) -> tuple[str, ...]:
        """As it is printed."""
        seconds = self.recovery_seconds
        recovery = f"{statistics.median(seconds):.2f} / {max(seconds):.2f} s" if seconds else "-"
        command = f"`pytest {self.test}`"
        return self.what, str(self.lost_unreported), recovery, str(self.others_hurt), self.note, command


ROWS = pytest.StashKey[list[Row]]()
"""The place where a run keeps its rows."""

HEAD = "misfortune", "lost, unsaid", "recovery, median / worst", "others hurt", "with", "command"


def table(rows: Sequence[Row]) -> list[str]:
    """The lines of a table, in columns, as Markdown has it."""
    lines = [HEAD, *(row.cells for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
