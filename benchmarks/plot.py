"""The figures as one SVG picture: a panel for each table, a bar for each row, a whisker from its least to its most.

The text is SVG itself and not a plotting library's, because one stylesheet in it then serves a light page and a dark
one, and the file is small enough to be read in a diff.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import attrs

WIDTH, NAME_WIDTH, VALUE_WIDTH = 860, 140, 190
ROW_HEIGHT, BAR_HEIGHT, TITLE_HEIGHT, GAP = 22, 13, 34, 22
OURS = "actors"

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .value, .foot { fill: #59636e; }
  .bar { fill: #8c959f; }
  .ours { fill: #0969da; }
  .whisker { stroke: #1f2328; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .value, .foot { fill: #9198a1; }
    .bar { fill: #656c76; }
    .ours { fill: #4493f8; }
    .whisker { stroke: #f0f6fc; }
  }
"""


@attrs.frozen
class Bar:
    """One row."""

    name: str
    middle: float
    least: float
    most: float

    def text(self) -> str:
        """Format the figure, with its spread where it has one."""
        if self.least == self.most:
            return _number(self.middle)
        return f"{_number(self.middle)} ({_number(self.least)}-{_number(self.most)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bars(table: dict[str, Any]) -> list[Bar]:
    """Return the bars of a table's plotted column; of rows without a figure none."""
    found = []
    for row in table["rows"]:
        name, cell = str(next(iter(row.values()))), row[table["plotted"]]
        if isinstance(cell, dict) and None not in cell.values():
            found.append(Bar(name, cell["median"], cell["least"], cell["most"]))
        elif isinstance(cell, int | float):
            found.append(Bar(name, cell, cell, cell))
    return found


def panel(table: dict[str, Any], top: int) -> tuple[list[str], int]:
    """Draw one table from a height on; returns its elements, and the height at which it ends."""
    elements = [f'<text class="title" x="0" y="{top + 16}">{escape(table["title"])}</text>']
    elements.append(
        f'<text class="foot" x="{WIDTH}" y="{top + 16}" text-anchor="end">{escape(table["plotted"])}</text>'
    )
    top += TITLE_HEIGHT
    found = bars(table)
    longest = max((bar.most for bar in found), default=0) or 1
    scale = (WIDTH - NAME_WIDTH - VALUE_WIDTH) / longest
    for bar in found:
        elements += _row(bar, top, scale)
        top += ROW_HEIGHT
    return elements, top + GAP


def _row(bar: Bar, top: int, scale: float) -> list[str]:
    baseline, middle = top + 11, top + BAR_HEIGHT / 2
    kind = "bar ours" if bar.name.startswith(OURS) else "bar"
    length = max(1.0, bar.middle * scale)
    elements = [
        f'<text x="{NAME_WIDTH - 10}" y="{baseline}" text-anchor="end">{escape(bar.name)}</text>',
        f'<rect class="{kind}" x="{NAME_WIDTH}" y="{top}" width="{length:.1f}" height="{BAR_HEIGHT}" rx="2"/>',
    ]
    if bar.least != bar.most:
        first, last = (NAME_WIDTH + end * scale for end in (bar.least, bar.most))
        elements.append(f'<line class="whisker" x1="{first:.1f}" y1="{middle}" x2="{last:.1f}" y2="{middle}"/>')
    after = NAME_WIDTH + bar.most * scale + 8
    elements.append(f'<text class="value" x="{after:.1f}" y="{baseline}">{escape(bar.text())}</text>')
    return elements


def drawn(figures: dict[str, Any]) -> str:
    """Draw all plotted tables of a file of figures."""
    elements: list[str] = []
    height = 8
    for claim in figures.values():
        for table in claim["tables"]:
            if table["plotted"] and bars(table):
                more, height = panel(table, height)
                elements += more
    for text in _feet(figures):
        elements.append(f'<text class="foot" x="0" y="{height + 6}">{escape(text)}</text>')
        height += 18
    body = "\n".join(elements)
    size = f'viewBox="0 0 {WIDTH} {height + 8}" width="{WIDTH}" height="{height + 8}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<style>{STYLE}</style>\n{body}\n</svg>\n'


def _feet(figures: dict[str, Any]) -> list[str]:
    """Name the machines and builds, each once."""
    named = []
    for claim in figures.values():
        machine = claim["machine"]
        text = f"actors {machine['build']}, {machine['python']}, {machine['processor']}, {machine['system']}"
        if text not in named:
            named.append(text)
    return named
