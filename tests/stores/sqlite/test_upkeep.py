"""Segments end, are dropped, and are copied forward."""

from __future__ import annotations

import random
import sqlite3

import pytest

from actors.limits import Limits
from actors.stores.journal import LogRecord, Marks, Placed
from actors.stores.sqlite import upkeep
from actors.stores.sqlite.journal import SQLiteJournal
from tests.stores.journal_contract import SECRET, load_all, placed, placed_range
from tests.stores.sqlite.disk import SQLiteDisk

LIMITS = Limits(retained_events=1_000_000)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 100 events."""
    for name, number in {"SEGMENT_ROWS": 100, "SEGMENT_LEAST_ROWS": 20, "COPIED_ROWS": 30}.items():
        monkeypatch.setattr(upkeep, name, number)


def tables(journal: SQLiteJournal) -> list[str]:
    found = journal._writer._connection().execute(
        "SELECT name FROM sqlite_master WHERE name LIKE 'seg\\_%' ESCAPE '\\'"
    )
    return sorted(name for (name,) in found)


def count(journal: SQLiteJournal, table: str) -> int:
    (number,) = journal._writer._connection().execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608
    return int(number)


async def opened(disk: SQLiteDisk) -> SQLiteJournal:
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    return journal


async def test_a_full_segment_is_closed(disk: SQLiteDisk) -> None:
    """Its directory is written, and what was known of logs and threads; the next event begins another one."""
    journal = await opened(disk)
    await journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 99), Marks("alice", 1, ((1, 5),), 5)])
    assert (count(journal, "directory"), count(journal, "mark")) == (0, 1)
    await journal.commit(2, placed_range("alice", 100, 100))
    assert (count(journal, "directory"), count(journal, "mark"), tables(journal)) == (1, 0, ["seg_1"])
    await journal.commit(3, placed_range("alice", 101, 101))
    assert tables(journal) == ["seg_1", "seg_2"]
    assert journal._writer._connection().execute("SELECT n FROM seg_2").fetchall() == [(101,)]
    await journal.aclose(clean=True)


async def test_a_segment_is_closed_for_its_bytes(disk: SQLiteDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few large events fill it as well."""
    monkeypatch.setattr(upkeep, "SEGMENT_BYTES", 10_000)
    journal = await opened(disk)
    await journal.commit(1, [LogRecord("alice", "ep"), Placed("alice", 1, "t", 1, 1.0, b"x" * 10_000)])
    assert count(journal, "directory") == 1
    await journal.aclose(clean=True)


@pytest.mark.parametrize(("rows", "seconds", "closed"), [(20, 60.0, 1), (20, 59.0, 0), (19, 600.0, 0)])
async def test_a_segment_is_closed_for_its_age(disk: SQLiteDisk, rows: int, seconds: float, closed: int) -> None:
    """But not if there is next to nothing in it."""
    journal = await opened(disk)
    await journal.commit(1, [LogRecord("alice", "ep"), *(placed("alice", k, at=10.0) for k in range(1, rows))])
    await journal.commit(2, [placed("alice", rows, at=10.0 + seconds)])
    assert count(journal, "directory") == closed
    await journal.aclose(clean=True)


async def test_marks_do_not_pile_up(disk: SQLiteDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without events they are folded into the rows of their logs."""
    monkeypatch.setattr(upkeep, "LOOSE_ROWS", 5)
    journal = await opened(disk)
    await journal.commit(1, [LogRecord("alice", "ep"), placed("alice", 1)])
    for number in range(2, 20):
        await journal.commit(number, [Marks("alice", 1, ((1, 1),), number)])
        assert count(journal, "mark") < 5
    disk.crash()
    journal = disk.journal()
    (log,) = (await journal.open(LIMITS, SECRET)).logs
    assert (log.written, log.acked) == (19, ((1, 1),))
    await journal.aclose(clean=True)


async def test_a_dead_segment_is_dropped(disk: SQLiteDisk) -> None:
    """When the last of its events has left, one segment behind each commit."""
    journal = await opened(disk)
    await journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 100)])
    await journal.commit(2, placed_range("alice", 101, 200))
    await journal.commit(3, placed_range("alice", 201, 250))
    await journal.commit(4, [Marks("alice", 101, (), 0)])
    assert tables(journal) == ["seg_2", "seg_3"]
    await journal.commit(5, [Marks("alice", 201, (), 0)])
    assert tables(journal) == ["seg_3"]
    assert count(journal, "directory") == 0
    await journal.aclose(clean=True)


async def test_a_quiet_log_does_not_keep_a_segment(disk: SQLiteDisk) -> None:
    """Its few events are copied forward, in pieces, and are as they were in each life."""
    journal = await opened(disk)
    await journal.commit(1, [LogRecord("quiet", "ep"), *placed_range("quiet", 1, 45), LogRecord("loud", "ep")])
    head = 0
    for number in range(2, 16):
        await journal.commit(number, placed_range("loud", head + 1, head + 50))
        head += 50
        if number > 4:
            await journal.commit(number * 100, [Marks("loud", head - 60, (), 0)])
    assert "seg_1" not in tables(journal)
    assert len(tables(journal)) <= 4
    await self_same(journal, "quiet", 1, 45)
    for how in ("crash", "clean"):
        if how == "crash":
            disk.crash()
        else:
            await journal.aclose(clean=True)
        journal = disk.journal()
        restored = await journal.open(LIMITS, SECRET)
        assert {log.user_id: (log.low, log.head) for log in restored.logs} == {"quiet": (1, 45), "loud": (640, 700)}
        await self_same(journal, "quiet", 1, 45)
        await self_same(journal, "loud", 640, 700)
    await journal.aclose(clean=True)


async def self_same(journal: SQLiteJournal, user_id: str, first: int, last: int) -> None:
    rows = await load_all(journal, user_id, first, last)
    assert [row.text for row in rows] == [placed(user_id, k).text for k in range(first, last + 1)]


async def test_a_damaged_event_is_not_copied(disk: SQLiteDisk) -> None:
    """It is a hole, in this life and the next; its neighbours are copied."""
    journal = await opened(disk)
    await journal.commit(1, [LogRecord("quiet", "ep"), *placed_range("quiet", 1, 10), LogRecord("loud", "ep")])
    await journal.commit(2, placed_range("loud", 1, 90))
    journal._writer._connection().execute("UPDATE seg_1 SET text = x'00' WHERE n = 5")
    for number in range(3, 9):
        head = 90 + (number - 3) * 100
        await journal.commit(number, [*placed_range("loud", head + 1, head + 100), Marks("loud", head, (), 0)])
    assert "seg_1" not in tables(journal)
    assert [row.offset for row in await load_all(journal, "quiet", 1, 10) if row.text is None] == [5]
    await journal.aclose(clean=True)
    journal = disk.journal()
    log = next(one for one in (await journal.open(LIMITS, SECRET)).logs if one.user_id == "quiet")
    assert (log.low, log.head, [size > 0 for size in log.sizes].index(False)) == (1, 10, 4)
    await journal.aclose(clean=True)


async def test_a_step_without_room_is_taken_later(disk: SQLiteDisk) -> None:
    """The batch is committed all the same; nothing that was to be copied is lost."""
    journal = await opened(disk)
    await journal.commit(1, [LogRecord("quiet", "ep"), *placed_range("quiet", 1, 45), LogRecord("loud", "ep")])
    for number in range(2, 30):
        head = (number - 2) * 50
        disk.faults.countdown, disk.faults.code = number % 9 + 4, sqlite3.SQLITE_FULL
        await journal.commit(number, [*placed_range("loud", head + 1, head + 50), Marks("loud", head, (), 0)])
        disk.faults.countdown = -1
        await self_same(journal, "quiet", 1, 45)
    await journal.aclose(clean=True)
    journal = await opened(disk)
    await self_same(journal, "quiet", 1, 45)
    await journal.aclose(clean=True)


async def test_the_file_does_not_grow(disk: SQLiteDisk) -> None:
    """However uneven the logs are, the segments have about twice what is retained, and three more."""
    chance = random.Random(4)
    journal = await opened(disk)
    users = [f"u{k}" for k in range(20)]
    heads = dict.fromkeys(users, 0)
    await journal.commit(1, [LogRecord(user, "ep") for user in users])
    for number in range(2, 400):
        effects = []
        for _ in range(20):
            user = users[int(20 * chance.random() ** 3)]
            heads[user] += 1
            effects.append(placed(user, heads[user]))
        marks = [Marks(user, max(1, heads[user] - 24), (), 0) for user in users if heads[user]]
        await journal.commit(number, [*effects, *marks])
    retained = sum(min(head, 25) for head in heads.values())
    rows = sum(count(journal, table) for table in tables(journal))
    assert rows <= 2 * retained + 3 * 120
    for user in users:
        await self_same(journal, user, max(1, heads[user] - 24), heads[user])
    await journal.aclose(clean=True)
