"""A journal, read by people: nothing is changed by it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from actors.errors import StoreError
from actors.stages import Cause
from actors.stores.journal import Letter, LogRecord, Placed
from actors.stores.sqlite.inspection import inspected, problems, vacuum
from tests.stores.journal_contract import EVERY_KIND, LIMITS, SECRET, placed, placed_range
from tests.stores.sqlite.disk import SQLiteDisk, files_in


async def written(disk: SQLiteDisk) -> Path:
    """A journal with something of everything, that was killed."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, EVERY_KIND)
    await journal.commit(2, [LogRecord("carol", "ep_c"), placed("carol", 1, at=1_000.3)])
    disk.crash()
    return disk.path


async def test_it_is_read_and_not_changed(disk: SQLiteDisk) -> None:
    """A file that was killed is read with its write-ahead log, which stays as it is."""
    path = await written(disk)
    before = files_in(path.parent)
    with inspected(path) as found:
        assert (found.restored.clean, found.state.life.batch) == (False, 2)
        assert {log.user_id: log.head for log in found.restored.logs} == {"alice": 5, "bob": 1, "carol": 1}
        assert found.letters() == [one for one in EVERY_KIND if isinstance(one, Letter)]
    assert files_in(path.parent) == before


async def test_events_come_in_order(disk: SQLiteDisk) -> None:
    """By time over all users, and of a log by offset, although a clock was set back."""
    path = await written(disk)
    with inspected(path) as found:
        order = [(event.user_id, event.offset) for event in found.events()]
        assert order == [
            ("bob", 1), ("alice", 2), ("carol", 1), ("alice", 3), ("alice", 4), ("alice", 5),
        ]  # fmt: skip
        assert all(event.text == placed(event.user_id, event.offset).text for event in found.events())


async def test_it_may_be_in_use(disk: SQLiteDisk) -> None:
    """What is committed meanwhile is not seen; a vacuum is refused."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 3)])
    with inspected(disk.path) as found:
        await journal.commit(2, placed_range("alice", 4, 9))
        assert [event.offset for event in found.events()] == [1, 2, 3]
    assert list(problems(disk.path)) == []
    with pytest.raises(StoreError, match="expected a journal that is not open"):
        vacuum(disk.path)
    await journal.aclose(clean=True)


async def test_an_event_is_found_by_its_id(disk: SQLiteDisk) -> None:
    """By its own, not by one that its payload speaks of."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    texts = [b'{"event_id":"e1","payload":{}}', b'{"event_id":"e2","payload":{"of":"e1"}}']
    events = [Placed("alice", k, "t", k, 1.0, text) for k, text in enumerate(texts, 1)]
    await journal.commit(1, [LogRecord("alice", "ep"), *events])
    await journal.aclose(clean=True)
    with inspected(disk.path) as found:
        assert [event.offset for event in found.find("e1")] == [1]
        assert list(found.find("e3")) == []


async def test_every_damage_is_told(disk: SQLiteDisk) -> None:
    """Not the first one only."""
    path = await written(disk)
    assert list(problems(path)) == []
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE seg_1 SET text = x'00' WHERE n IN (2, 4)")
        db.execute("UPDATE held SET body = x'00' WHERE n = 2")
        db.execute("UPDATE letter SET count = 5 WHERE n = 1")
        db.commit()
    found = list(problems(path))
    for text in ("seg_1: expected event 2", "seg_1: expected event 4", "row 2 of table held", "row 1 of table letter"):
        assert any(text in one for one in found), (text, found)
    with pytest.raises(StoreError, match=f"{path}: expected row 2 of table held"), inspected(path):
        pass


async def test_a_page_that_cannot_be_read_is_told(disk: SQLiteDisk) -> None:
    """In SQLite's words."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 400)])
    await journal.aclose(clean=True)
    content = bytearray(disk.path.read_bytes())
    start = content.index(b'"offset":200,') // 4_096 * 4_096
    content[start : start + 8] = b"\xff" * 8
    disk.path.write_bytes(content)
    assert any("malformed" in one for one in problems(disk.path))


async def test_a_vacuum_gives_room_back(disk: SQLiteDisk) -> None:
    """And everything is where it was."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), LogRecord("bob", "ep"), *placed_range("bob", 1, 900)])
    await journal.commit(2, [*placed_range("alice", 1, 9), LogRecord("bob", "again")])
    await journal.aclose(clean=True)
    with closing(sqlite3.connect(disk.path, isolation_level=None)) as db:
        db.execute("DELETE FROM seg_1 WHERE log = 2")
    before, after = vacuum(disk.path)
    assert after < before / 2
    with inspected(disk.path) as found:
        assert [event.text for event in found.events()] == [placed("alice", k).text for k in range(1, 10)]
    assert list(problems(disk.path)) == []
    journal = disk.journal()
    assert (await journal.open(LIMITS, SECRET)).clean
    await journal.aclose(clean=True)


def test_what_is_no_journal(tmp_path: Path) -> None:
    """It is said what it is; a file that is not there is not made."""
    for call in (vacuum, lambda path: list(problems(path)), lambda path: inspected(path).__enter__()):
        with pytest.raises(StoreError, match="expected a journal, there is no such file"):
            call(tmp_path / "x.db")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.db").write_text("words")
    with pytest.raises(StoreError, match="got a file that begins with b'words'"):
        list(problems(tmp_path / "x.db"))


def test_a_letter_of_every_cause_can_be_read() -> None:
    """A cause is kept by its value, which is part of the file's format."""
    assert {Cause(cause.value) for cause in Cause} == set(Cause)
