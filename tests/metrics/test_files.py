"""The dashboard and the alert rules: they are well-formed, and ask for what is exported and nothing else."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

import actors.metrics
from actors.metrics.rows import BESIDE, PREFIX, ROWS, HistogramRow, Row
from actors.protocol.codes import CLOSINGS
from tests.support.pages import ROOT

FOLDER = Path(actors.metrics.__file__).parent
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in msgspec.yaml.decode((FOLDER / "alerts.yml").read_bytes())["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
EXPRESSIONS = [
    *((rule["alert"], rule["expr"]) for rule in RULES),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]

TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<text>"(?:[^"\\]|\\.)*")
  | (?P<range>\[(?:\d+[smhd]|\$__rate_interval)\])
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<word>[A-Za-z_:$][A-Za-z0-9_:]*)
  | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/><=(){},])
    """,
    re.VERBOSE,
)
FUNCTIONS = {"rate", "increase", "histogram_quantile"}
AGGREGATIONS = {"sum", "max", "min", "count"}
KEYWORDS = {"by", "and", "or"}
TARGET_LABELS = {"job", "instance", "le"}
"""Labels that Prometheus adds, or a histogram has."""


def labels_of(name: str) -> set[str]:
    """The labels with which a series is exported; raises KeyError for one that is not."""
    known = {row.exported: set(row.labels) for row in ROWS if isinstance(row, Row)}
    for row in ROWS:
        if isinstance(row, HistogramRow):
            known |= {f"{row.exported}_{part}": set(row.labels) for part in ("bucket", "sum", "count")}
    known |= {f"{PREFIX}runs": {"agent"}, f"{PREFIX}info": {"version"}}
    return known[name]


def tokens(expression: str) -> list[tuple[str, str]]:
    """The tokens of a query; raises ValueError where there is none."""
    found, at = [], 0
    while at < len(expression):
        match = TOKEN.match(expression, at)
        if match is None:
            raise ValueError(f"expected PromQL, got {expression[at:]!r}")
        if match.lastgroup != "space":
            found.append((match.lastgroup or "", match[0]))
        at = match.end()
    return found


def check(expression: str) -> set[str]:
    """Check a query's names, labels and parentheses; returns the series that it asks for."""
    found, series, opened = tokens(expression), set[str](), list[str]()
    labels: set[str] = set()
    for (kind, text), following in zip(found, [*found[1:], ("end", "")], strict=True):
        if text in ("(", "{"):
            opened.append(text)
        elif text in (")", "}"):
            assert "".join([*opened[-1:], text]) in ("()", "{}"), expression
            opened.pop()
        elif kind == "word" and "{" in opened and following[1] in ("=", "=~", "!=", "!~"):
            labels.add(text)
        elif kind == "word" and text.startswith(PREFIX):
            series.add(text)
        elif kind == "word" and text in FUNCTIONS | AGGREGATIONS:
            assert following[1] == "(" or (text in AGGREGATIONS and following[1] == "by"), expression
        elif kind == "word" and text not in KEYWORDS:
            labels.add(text)  # of a grouping
    assert not opened, expression
    known = set[str]().union(*map(labels_of, series)) | TARGET_LABELS
    assert labels <= known, f"{expression}: {labels - known}"
    return series


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS)
def test_a_query_asks_for_what_is_exported(name: str, expression: str) -> None:
    """Each series of a query is exported, with the labels by which it is chosen and summed; a counter is asked for its
    growth, because its height says how old a process is."""
    series = check(expression)
    assert series, name
    for one in series:
        grows = one.endswith(("_total", "_bucket", "_sum", "_count"))
        assert grows == bool(re.search(rf"(rate|increase)\({one}\b", expression)), expression


@pytest.mark.parametrize(
    "wrong",
    [
        "trio_actors_no_such_metric > 0",
        'rate(trio_actors_failures_total{user="alice"}[5m])',
        "sum by (user) (trio_actors_connections)",
        "sum(trio_actors_connections",
        "trio_actors_connections }",
        "trio_actors_connections % 2",
        "avg(trio_actors_connections)",
    ],
)
def test_a_wrong_query_is_found(wrong: str) -> None:
    """A name or a label that is not exported, and what is no query, does not pass."""
    with pytest.raises((AssertionError, KeyError, ValueError)):
        check(wrong)


def test_values_of_labels_are_words_of_the_tables() -> None:
    """A query that chooses by a value chooses one that is exported: a misspelt one would be silent for ever."""
    words: dict[str, set[str]] = {
        "cause": set(actors.Cause),
        "verdict": {"fresh", "replayed", "renamed", "gap", "reset"},
        "stage": {"written", "acked"},
        "name": set(CLOSINGS),
        "reason": {"not_found", "bad_request"},
    }
    chosen = [
        (label, value)
        for _, expression in EXPRESSIONS
        for label, values in re.findall(r'(\w+)(?:=|=~|!=|!~)"([^"$]*)"', expression)
        for value in values.split("|")
    ]
    assert chosen
    for label, value in chosen:
        assert value in words[label], (label, value)


def test_the_dashboard_shows_every_metric() -> None:
    """What is exported can be seen."""
    shown = set[str]().union(*(check(target["expr"]) for panel in PANELS for target in panel["targets"]))
    shown |= set(re.findall(rf"{PREFIX}\w+", json.dumps(DASHBOARD["templating"])))
    parts = {re.sub(r"_(bucket|sum|count)$", "", one) for one in shown}
    assert parts == {row.exported for row in ROWS} | set(BESIDE)


def test_panels_do_not_overlap() -> None:
    """Each has a place of its own, a title and an id of its own, and asks the data source that was chosen."""
    cells = [
        (panel["gridPos"]["x"] + dx, panel["gridPos"]["y"] + dy)
        for panel in PANELS
        for dx in range(panel["gridPos"]["w"])
        for dy in range(panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for key in ("id", "title"):
        assert len({panel[key] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule(rule: dict[str, Any]) -> None:
    """It has what Prometheus asks for and nothing else; a person reads what is wrong and what to look at."""
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Actors[A-Z]\w+", rule["alert"])
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert re.search(r"(==|>|<) [\d.]+", rule["expr"]), "an alert compares"


def test_rules_have_names_of_their_own() -> None:
    """So that a silence for one is for no other."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_the_files_are_shipped() -> None:
    """A wheel takes every file of the package."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["packages"] == ["actors"]
    assert not {"exclude", "only-include", "include"} & set(build)
    assert {path.name for path in FOLDER.iterdir()} >= {"grafana.json", "alerts.yml", "README.md"}
