"""Figures as they are quoted, and the files of them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs

from benchmarks.figures import Cell, Table, ratios, spread
from benchmarks.plot import bars, drawn
from benchmarks.record import FIGURES, PLOT, keep

ROWS: list[dict[str, Cell]] = [
    {"server": "actors", "CPU": spread([3.0, 1.0, 2.0]), "lost": 0},
    {"server": "a < b", "CPU": None, "lost": 1_000},
]


def table(claim: str) -> Table:
    return Table(claim, f"{claim}: a & b", ROWS, notes=["versions"], plotted="CPU")


def test_a_figure_is_its_median_with_its_spread() -> None:
    """The least and the most stand beside the median; a single round has no spread to show."""
    assert str(spread([3.0, 1.0, 2.0])) == "2.0 (1.0-3.0)"
    assert str(spread([1234.5], 0)) == "1,234"


def test_a_ratio_is_of_each_round() -> None:
    """Rounds are compared one by one, because the machine has one speed within a round and another in the next."""
    found = ratios([2.0, 40.0], [1.0, 10.0])
    assert found is not None
    assert found.rounds == (2.0, 4.0)
    assert ratios([1.0], [1.0, 2.0]) is None
    assert ratios([1.0], [0.0]) is None


def test_a_table_is_read_in_columns() -> None:
    """Every column is as wide as its widest cell, and a figure that is missing is a dash."""
    lines = table("spread").text().splitlines()
    assert lines[1] == "spread: a & b"
    assert lines[2].endswith("  lost")
    assert lines[4].split() == ["a", "<", "b", "-", "1,000"]
    assert len({len(line) for line in lines[2:5]}) == 1


def test_a_picture_serves_a_light_and_a_dark_page() -> None:
    """It is XML, whatever a title has in it, with a stylesheet for both; a row without a figure has no bar."""
    measured = {"machine": {"build": "pure", "python": "3", "processor": "p", "system": "s"}}
    text = drawn({"spread": measured | {"tables": [table("spread").plain()]}})
    root = ET.fromstring(text)  # noqa: S314 - our own
    drawn_bars = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    assert [bar.get("class") for bar in drawn_bars] == ["bar ours"]
    assert "prefers-color-scheme: dark" in text
    assert "actors pure" in text


def test_a_figure_without_an_end_is_no_number() -> None:
    """The latency is infinite where no event came: JSON has no word for that, and a picture no length."""
    endless = attrs.evolve(table("spread"), rows=[{"server": "actors", "CPU": spread([1.0, float("inf")])}])
    plain = json.loads(json.dumps(endless.plain(), allow_nan=False))
    assert plain["rows"][0]["CPU"]["most"] is None
    assert bars(plain) == []


def test_figures_of_other_claims_stay(tmp_path: Path) -> None:
    """A claim that is measured again replaces its own figures and no other's."""
    keep(tmp_path, [table("spread")], "first")
    keep(tmp_path, [table("held")], "second")
    keep(tmp_path, [table("spread")], "third")
    found = json.loads((tmp_path / FIGURES).read_text())
    assert {claim: one["command"] for claim, one in found.items()} == {"spread": "third", "held": "second"}
    assert found["spread"]["tables"][0]["rows"][0]["CPU"]["median"] == 2.0
    assert (tmp_path / PLOT).read_text().count("a &amp; b") == 2
