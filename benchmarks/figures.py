"""Figures and tables: medians with their spread, ratios of a round, and what a claim returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import attrs


@attrs.frozen
class Spread:
    """A figure of several rounds: its median, and the least and the most of them."""

    rounds: tuple[float, ...]
    digits: int = 1

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.rounds)

    def __str__(self) -> str:
        def text(value: float) -> str:
            return f"{value:,.{self.digits}f}"

        if len(self.rounds) == 1:
            return text(self.middle)
        return f"{text(self.middle)} ({text(min(self.rounds))}-{text(max(self.rounds))})"

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        found = {"median": self.middle, "least": min(self.rounds), "most": max(self.rounds)}
        return {name: finite(value) for name, value in found.items()} | {"rounds": list(map(finite, self.rounds))}


def finite(value: float) -> float | None:
    """Return a figure as JSON can have it: none where nothing came in time, which is infinite."""
    return value if math.isfinite(value) else None


def spread(values: Sequence[float], digits: int = 1) -> Spread:
    """Make a spread of a figure of each round."""
    return Spread(tuple(values), digits)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread | None:
    """Return the ratio of each round; ``None`` where a round of either is missing.

    Of each round and not of the medians, because the runs of one round were made at the same speed of the machine.
    """
    if len(ours) != len(theirs) or not ours or min(theirs) <= 0:
        return None
    return Spread(tuple(one / other for one, other in zip(ours, theirs, strict=True)), digits=2)


Cell = Spread | str | int | float | None


@attrs.frozen
class Table:
    """A claim's figures. All rows have the same columns, and the first names the row."""

    claim: str
    title: str
    rows: list[dict[str, Cell]]
    notes: list[str] = attrs.field(factory=list)
    plotted: str | None = None
    """The column that the plot shows as bars; only tables of servers have one, because the picture compares them."""

    broken: bool = False
    """True if an event was lost, doubled or swapped, or a server failed."""

    def text(self) -> str:
        """Format it, each column as wide as its widest cell."""
        lines = [list(self.rows[0])] if self.rows else []
        lines += [[_text(cell) for cell in row.values()] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        told = [self.title, *(_line(line, widths) for line in lines), *(f"  {note}" for note in self.notes)]
        return "\n" + "\n".join(told) + "\n"

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        rows = [
            {name: cell.plain() if isinstance(cell, Spread) else cell for name, cell in row.items()}
            for row in self.rows
        ]
        return attrs.asdict(self, recurse=False) | {"rows": rows}


def _text(cell: Cell) -> str:
    match cell:
        case None:
            return "-"
        case float():
            return f"{cell:,.1f}"
        case int():
            return f"{cell:,}"
        case _:
            return str(cell)


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = (
        cell.ljust(width) if not place else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(["", first, *others]).rstrip()
