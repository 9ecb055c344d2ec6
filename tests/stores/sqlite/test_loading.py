"""Events by their rowids."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from actors.limits import Limits
from actors.stores.journal import LogRecord, Placed, Row
from actors.stores.sqlite import loading, schema
from actors.stores.sqlite.loading import Place, load, places
from tests.stores.journal_contract import SECRET, load_all, placed, placed_range
from tests.stores.sqlite.disk import SQLiteDisk, sqlite_error


async def test_a_load_is_bounded(disk: SQLiteDisk) -> None:
    """By rows, and by bytes of texts."""
    journal = disk.journal()
    await journal.open(Limits(), SECRET)
    large = [Placed("bob", k, "t", k, 1.0, b"x" * 1_000_000) for k in range(1, 9)]
    await journal.commit(
        1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 2_500), LogRecord("bob", "ep"), *large]
    )
    assert len(await journal.load("alice", 1, 2_500)) == loading.MOST_ROWS
    assert len(await journal.load("bob", 1, 8)) == 5
    await journal.aclose(clean=True)


async def test_a_damaged_row_is_a_row_without_a_text(disk: SQLiteDisk) -> None:
    """Its neighbours are as they were; so are those of a row that is gone, or that has become another one."""
    journal = disk.journal()
    await journal.open(Limits(), SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 9)])
    db = journal._writer._connection()
    db.execute("UPDATE seg_1 SET text = x'00' WHERE n = 2")
    db.execute("DELETE FROM seg_1 WHERE n = 4")
    db.execute("UPDATE seg_1 SET (log, off, thread, seq, at, text, crc) = (SELECT log, off, thread, seq, at, text, crc"
               " FROM seg_1 WHERE n = 7) WHERE n = 6")  # fmt: skip
    db.execute("UPDATE seg_1 SET at = 'noon' WHERE n = 8")
    expected = [Row(k, None if k in {2, 4, 6, 8} else placed("alice", k).text) for k in range(1, 10)]
    assert await journal.load("alice", 1, 9) == expected
    await journal.aclose(clean=True)


async def test_a_page_that_cannot_be_read_costs_its_own_rows(disk: SQLiteDisk) -> None:
    """SQLite gives up the whole statement: the rows are asked for one by one."""
    journal = disk.journal()
    await journal.open(Limits(), SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 400)])
    await journal.aclose(clean=True)
    spoil_page_with(disk, b'"offset":200,')
    journal = disk.journal()
    await journal.open(Limits(), SECRET)
    rows = await load_all(journal, "alice", 1, 400)
    lost = [row.offset for row in rows if row.text is None]
    assert 200 in lost
    assert len(lost) < 100
    assert all(row.text == placed("alice", row.offset).text for row in rows if row.text is not None)
    await journal.aclose(clean=False)


def spoil_page_with(disk: SQLiteDisk, text: bytes) -> None:
    """Overwrite the head of the page in which a text is."""
    content = bytearray(disk.path.read_bytes())
    start = content.index(text) // schema.PAGE_BYTES * schema.PAGE_BYTES
    content[start : start + 8] = b"\xff" * 8
    disk.path.write_bytes(content)


def test_events_are_sought_again_when_their_segment_is_gone() -> None:
    """They have been copied forward; an error that has another reason is not hidden."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(schema.creation("seg_2", schema.EVENT_COLUMNS))
    found: Iterator[list[Place]] = iter([[Place(1, 5, 1, (3,))], [Place(1, 5, 2, (4,))], [Place(1, 5, 2, (4,))]])
    assert load(db, lambda _: next(found), 5, 5) == [Row(5, None)]
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        load(db, lambda _: [Place(1, 5, 1, (3,))], 5, 5)
    db.close()


def test_an_error_of_the_disk_is_no_damage() -> None:
    """It is raised, because the next read may go well."""

    class Failing(sqlite3.Connection):
        def execute(self, *_: object) -> sqlite3.Cursor:
            raise sqlite_error(sqlite3.SQLITE_IOERR)

    db = Failing(":memory:")
    with pytest.raises(sqlite3.OperationalError, match="injected"):
        load(db, lambda _: [Place(1, 5, 1, (3, 4))], 5, 6)
    db.close()


async def test_places_of_nothing(disk: SQLiteDisk) -> None:
    """An unknown user, and offsets that are not there."""
    journal = disk.journal()
    await journal.open(Limits(), SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 600)])
    state = journal._writer.state
    assert places(state, "nobody", 1, 9) == []
    assert places(state, "alice", 601, 700) == []
    assert [(one.first, len(one.numbers)) for one in places(state, "alice", 51, 600)] == [
        (51, 250),
        (301, 250),
        (551, 50),
    ]
    assert await journal.load("nobody", 1, 2) == [Row(1, None), Row(2, None)]
    await journal.aclose(clean=True)
