"""The rows of the metrics: names by Prometheus's conventions, and every number of the statistics."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

import pytest

import actors
from actors import Statistics
from actors.metrics.rows import BESIDE, ROWS, HistogramRow, Row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_name(row: Row | HistogramRow) -> None:
    """Words by underscores; a counter ends in ``_total`` and nothing else does; a time is in seconds, a size in
    bytes."""
    assert re.fullmatch(r"trio_actors_[a-z]+(_[a-z]+)*", row.exported)
    assert row.exported.endswith("_total") == (row.kind == "counter")
    assert not re.search(r"_(ms|millis|kb|kib|mb|percent)\b", row.exported)
    if isinstance(row, HistogramRow):
        assert row.exported.endswith("_seconds")
    assert row.help.endswith(".")


def test_names_are_unique() -> None:
    """A name is one metric."""
    names = [*(row.exported for row in ROWS), *BESIDE]
    assert len(set(names)) == len(names)


async def test_a_row_reads_as_many_labels_as_it_has() -> None:
    """Each sample has a value for each label, text all of them, also where nothing has happened yet."""
    async with actors.open_runtime() as runtime:
        now = runtime.statistics()
    for row in ROWS:
        read = row.read(now)
        for values in read if isinstance(read, Mapping) else [()]:
            assert len(values) == len(row.labels), row.name
            assert all(type(one) is str or isinstance(one, actors.Cause) for one in values), row.name


def test_every_number_of_the_statistics_is_exported() -> None:
    """A field that is counted and cannot be seen would be forgotten; runs are exported by agent."""
    source = inspect.getsource(inspect.getmodule(Row) or Row)
    fields = {name for name in Statistics.__annotations__ if not re.search(rf"\bnow\.{name}\b", source)}
    assert fields == {"runs"}


def test_no_label_is_a_name() -> None:
    """The labels are those of the tables of this package; none is a user, a thread, a run, an event or an address."""
    labels = {label for row in ROWS for label in row.labels}
    assert labels == {
        "outcome", "place", "cause", "stage", "kind", "name", "verdict", "op", "status", "reason",
    }  # fmt: skip
