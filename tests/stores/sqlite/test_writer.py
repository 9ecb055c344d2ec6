"""The writer in trouble: no room, no disk, and a disk that does not say."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from actors.errors import StoreError
from actors.stores.journal import Effect, LogRecord, Marks, NotTaken, Placed
from actors.stores.sqlite import upkeep
from actors.stores.sqlite.journal import SQLiteJournal
from tests.stores.journal_contract import LIMITS, SECRET, History, load_all, placed, placed_range
from tests.stores.journal_model import plain
from tests.stores.sqlite.disk import SQLiteDisk

EIO = sqlite3.SQLITE_IOERR_FSYNC


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upkeep behind every commit."""
    for name, number in {"SEGMENT_ROWS": 10, "SEGMENT_LEAST_ROWS": 4, "LOOSE_ROWS": 3, "COPIED_ROWS": 5}.items():
        monkeypatch.setattr(upkeep, name, number)


async def commit_surely(journal: SQLiteJournal, number: int, effects: list[Effect]) -> int:
    """Commit as a store does: again if it was not taken, and reopen where that is not known; returns the failures."""
    failures = 0
    while True:
        try:
            await journal.commit(number, effects)
        except NotTaken:
            failures += 1
            continue
        except StoreError:
            failures += 1
            if await reopened(journal) == number:
                return failures
            continue
        return failures


async def reopened(journal: SQLiteJournal) -> int:
    while True:
        try:
            return await journal.reopen()
        except StoreError:
            continue


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("code", [EIO, sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY])
async def test_any_statement_may_fail(tmp_path: Path, code: int) -> None:
    """Each one in turn, the upkeep's among them: what is there at the end is what was committed, once."""
    statement = failures = 0
    while True:
        (tmp_path / str(statement)).mkdir()
        disk = SQLiteDisk(tmp_path / str(statement))
        history = History(7)
        history.model.secret, history.model.life, history.model.clean = SECRET, 1, False
        journal = disk.journal()
        await journal.open(LIMITS, SECRET)
        disk.faults.countdown, disk.faults.code, disk.faults.executed = statement, code, 0
        failures = sum([await commit_surely(journal, number, history.batch()) for number in range(1, 9)])
        not_reached, disk.faults.countdown = disk.faults.countdown >= 0, -1
        disk.crash()
        journal = disk.journal()
        assert plain(await journal.open(LIMITS, SECRET)) == plain(history.model.restored(LIMITS)), statement
        await journal.aclose(clean=True)
        disk.close()
        if not_reached:
            break
        statement += 1
    assert failures == 0
    assert statement > 60


@pytest.mark.parametrize("statement", range(14))
async def test_a_start_that_fails_may_be_tried_again(disk: SQLiteDisk, statement: int) -> None:
    """It says why, and keeps nothing locked."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), placed("alice", 1)])
    disk.crash()
    disk.faults.countdown, disk.faults.code = statement, EIO
    with pytest.raises(StoreError, match="expected a journal that can be opened, got SQLITE_INJECTED: injected"):
        await disk.journal().open(LIMITS, SECRET)
    journal = disk.journal()
    assert [log.head for log in (await journal.open(LIMITS, SECRET)).logs] == [1]
    await journal.aclose(clean=True)


async def test_an_end_that_cannot_be_written_is_told(disk: SQLiteDisk) -> None:
    """The life then counts as one that was killed, and the file may be opened again."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), placed("alice", 1)])
    disk.faults.countdown, disk.faults.code = 1, EIO
    with pytest.raises(StoreError, match=r"expected to close it in order, .*; its next life begins as after a crash"):
        await journal.aclose(clean=True)
    journal = disk.journal()
    restored = await journal.open(LIMITS, SECRET)
    assert (restored.clean, [log.head for log in restored.logs]) == (False, [1])
    await journal.aclose(clean=True)


async def test_until_it_is_reopened_nothing_is_written(disk: SQLiteDisk) -> None:
    """A connection whose outcome is not known is never used again."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep")])
    disk.fail("after")
    with pytest.raises(StoreError, match="expected to write it, got SQLITE_INJECTED: injected; it is not known what"):
        await journal.commit(2, [placed("alice", 1)])
    for _ in range(2):
        with pytest.raises(StoreError, match="has to be reopened"):
            await journal.commit(2, [placed("alice", 1)])
        await journal.load("alice", 1, 1)
    assert await journal.reopen() == 2
    await journal.aclose(clean=True)


async def test_how_much_is_written(disk: SQLiteDisk) -> None:
    """To the write-ahead log less than twice the bytes of the events, with 200 of them over 2,000 logs in a commit."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    users = [f"user{k}" for k in range(2_000)]
    await journal.commit(1, [LogRecord(user, f"ep_{user}") for user in users])
    await journal.commit(2, [Placed(user, 1, user, 1, 1.0, b"x" * 250) for user in users])
    db = journal._writer._connection()
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    chance, heads = random.Random(3), dict.fromkeys(users, 1)
    for number in range(3, 103):
        batch: list[Effect] = []
        for user in chance.choices(users, k=200):
            heads[user] += 1
            batch.append(Placed(user, heads[user], user, heads[user], 1.0 + number, b"x" * 250))
        if number % 100 == 0:  # a second of 20,000 events
            batch += [Marks(user, 1, ((1, head),), head) for user, head in heads.items()]
        await journal.commit(number, batch)
    size = await trio.Path(disk.path.with_name("events.db-wal")).stat()
    assert size.st_size < 2 * 100 * 200 * 250
    await journal.aclose(clean=True)


async def test_another_program_writes(disk: SQLiteDisk) -> None:
    """A batch is not taken while that has the file locked, and is afterwards."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep")])
    with closing(sqlite3.connect(disk.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotTaken, match="another program has locked it"):
            await journal.commit(2, [placed("alice", 1)])
    await journal.commit(2, [placed("alice", 1)])
    await journal.aclose(clean=True)


async def test_a_file_that_may_not_grow(disk: SQLiteDisk) -> None:
    """The batch is refused with the cause; what makes room is taken; with room everything goes on."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 100)])
    db = journal._writer._connection()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(NotTaken, match="the disk is full"):
        await journal.commit(2, placed_range("alice", 101, 900))
    assert journal._writer._reserve.is_there
    await journal.commit(2, [Marks("alice", 90, ((1, 89),), 89)])
    db.execute("PRAGMA max_page_count = 100000")
    await journal.commit(3, placed_range("alice", 101, 900))
    await journal.aclose(clean=True)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own can be mounted by root only, and not in every container")
    yield folder
    subprocess.run(["/bin/umount", "-l", str(folder)], check=True)


async def test_a_full_disk_and_its_end(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are refused; lows are taken, in the room of the reserve, and segments dropped; and so there is room."""
    monkeypatch.setattr(upkeep, "SEGMENT_ROWS", 2_000)
    journal = SQLiteJournal(tiny / "events.db")
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep")])
    number, head = 2, 0
    for _ in range(2):
        head, number = await fill(journal, number, head)
        for _ in range(20):
            with pytest.raises(NotTaken, match="the disk is full"):
                await journal.commit(number, events(head + 1, 200))
        assert journal._writer._reserve.is_there
        rows = await load_all(journal, "alice", head - 200, head)
        assert all(row.text for row in rows)
        await journal.commit(number, [Marks("alice", head - 300, (), 0)])
        number += 1
        for _ in range(10):
            await journal.commit(number, events(head + 1, 50))
            number, head = number + 1, head + 50
    await journal.aclose(clean=True)
    journal = SQLiteJournal(tiny / "events.db")
    restored = await journal.open(LIMITS, SECRET)
    assert (restored.clean, [log.head for log in restored.logs]) == (True, [head])
    await journal.aclose(clean=True)


def events(first: int, count: int) -> list[Effect]:
    return [Placed("alice", k, "t", k, 1_000.0, b"%06d" % k * 50) for k in range(first, first + count)]


async def fill(journal: SQLiteJournal, number: int, head: int) -> tuple[int, int]:
    """Commit events until the disk is full; returns the next number and the head."""
    while True:
        try:
            await journal.commit(number, events(head + 1, 200))
        except NotTaken:
            return head, number
        number, head = number + 1, head + 200


def fill_with(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4_096):
            pass


async def test_a_start_on_a_full_disk(tiny: Path) -> None:
    """It takes the little that it needs from the reserve; what is there can be read, and there is no room for more."""
    journal = SQLiteJournal(tiny / "events.db")
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), *events(1, 100)])
    await journal.aclose(clean=False)
    fill_with(tiny / "theirs")
    journal = SQLiteJournal(tiny / "events.db")
    assert [log.head for log in (await journal.open(LIMITS, SECRET)).logs] == [100]
    assert all(row.text for row in await load_all(journal, "alice", 1, 100))
    (tiny / "theirs2").write_bytes(b"x" * 3_000_000)
    with pytest.raises(NotTaken, match="the disk is full"):
        await journal.commit(1, events(101, 10))
    (tiny / "theirs").unlink()
    await journal.commit(1, events(101, 10))
    await journal.aclose(clean=True)


async def test_another_program_fills_the_disk(tiny: Path) -> None:
    """Without room for the reserve nothing is taken that takes room; when there is room, everything is again."""
    journal = SQLiteJournal(tiny / "events.db")
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), *events(1, 100)])
    (tiny / "events.db-reserve").unlink()
    fill_with(tiny / "theirs")
    with pytest.raises(NotTaken, match=r"the disk is full .no room for events.db-reserve"):
        await journal.commit(2, events(101, 10))
    (tiny / "theirs").unlink()
    await journal.commit(2, events(101, 10))
    assert journal._writer._reserve.is_there
    await journal.aclose(clean=True)
