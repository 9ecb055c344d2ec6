"""The statements, which SQLite has to understand."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from actors.stores.sqlite import schema


def test_every_table_takes_and_gives_its_columns() -> None:
    """A row that is written twice is there once."""
    with closing(sqlite3.connect(":memory:")) as db:
        for table, columns in {**schema.COLUMNS, schema.segment_table(7): schema.EVENT_COLUMNS}.items():
            db.execute(schema.creation(table, columns))
            rows = [tuple(range(n, n + len(columns))) for n in (2, 1)]
            for _ in range(2):
                db.execute(schema.insertion(table, columns, 2), [one for row in rows for one in row])
            assert db.execute(schema.selection(table, columns)).fetchall() == sorted(rows)


def test_no_table_has_an_index() -> None:
    """An index costs more than all of the rest."""
    with closing(sqlite3.connect(":memory:")) as db:
        for table, columns in schema.COLUMNS.items():
            db.execute(schema.creation(table, columns))
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index'").fetchone() == (0,)


def test_every_table_is_explained() -> None:
    """The text of the module names each table, because the file outlives the code."""
    assert schema.__doc__ is not None
    named = {line.split()[0] for line in schema.__doc__.splitlines() if line[:1].isalpha()}
    assert schema.COLUMNS.keys() <= named
