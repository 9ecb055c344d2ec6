"""A start, from files that are whole and from files that are not."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors.errors import StoreError
from actors.limits import Limits
from actors.stores.journal import LogRecord, Marks, Restored
from actors.stores.sqlite import schema, upkeep
from actors.stores.sqlite.journal import SQLiteJournal
from tests.stores.journal_contract import EVERY_KIND, LIMITS, SECRET, History, load_all, placed, placed_range
from tests.stores.journal_model import Model, plain
from tests.stores.sqlite.disk import SQLiteDisk, files_in

COMMITS = 12
PAGE = schema.PAGE_BYTES


async def history_on(disk: SQLiteDisk) -> tuple[list[dict[str, Any]], Model]:
    """Two lives of a journal, the second one killed; what it amounted to after each commit of that."""
    history = History(5)
    history.model.secret, history.model.life = SECRET, 1
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    for number in range(1, 25):
        await journal.commit(number, history.batch())
    await journal.aclose(clean=True)
    history.model.clean = False  # as a copy has it, of which nobody knows what came after
    shots = [plain(history.model.restored(LIMITS))]
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    history.model.life = 2
    for number in range(1, COMMITS + 1):
        await journal.commit(number, history.batch())
        shots.append(plain(history.model.restored(LIMITS)))
    disk.crash()
    return shots, history.model


async def open_copy(source: Path, folder: Path) -> tuple[SQLiteJournal, Restored | None, str]:
    """Open a journal; if it is refused, say how, and see that nothing has changed."""
    journal = SQLiteJournal(source)
    before = files_in(folder)
    try:
        return journal, await journal.open(LIMITS, b"other" * 6), ""
    except StoreError as error:
        after = files_in(folder)
        for name in ("events.db", "events.db-wal"):
            assert after.get(name, b"") == before.get(name, b""), "what is refused is left alone"
        return journal, None, str(error)


async def check_texts(journal: SQLiteJournal, restored: Restored, model: Model) -> None:
    """No text is another than the one that was placed there."""
    for log in restored.logs:
        known = model.logs.get(log.user_id)
        if known is None or known.epoch != log.epoch:
            continue
        assert log.head <= known.head
        for row in await load_all(journal, log.user_id, log.low, log.head):
            assert row.text is None or row.text == known.events[row.offset].text


def copies(disk: SQLiteDisk, folder: Path) -> Path:
    """A fresh copy of the files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("events.db", "events.db-wal"):
        shutil.copy(disk.path.with_name(name), folder / name)
    return folder / "events.db"


async def test_a_log_that_is_cut_gives_a_prefix(disk: SQLiteDisk, tmp_path: Path) -> None:
    """Wherever the write-ahead log ends, the start is the one after some commit."""
    shots, model = await history_on(disk)
    size = disk.path.with_name("events.db-wal").stat().st_size
    found: set[int] = set()
    for length in range(0, size + 1, PAGE):
        path = copies(disk, tmp_path / "cut")
        with path.with_name("events.db-wal").open("r+b") as file:
            file.truncate(length)
        journal, restored, refusal = await open_copy(path, path.parent)
        assert restored is not None, refusal
        assert plain(restored) in shots
        found.add(shots.index(plain(restored)))
        await check_texts(journal, restored, model)
        await journal.aclose(clean=False)
    assert len(found) > COMMITS // 2


async def test_a_log_that_is_flipped_gives_a_prefix(disk: SQLiteDisk, tmp_path: Path) -> None:
    """SQLite takes a frame that is not whole for the end of its log."""
    shots, model = await history_on(disk)
    size = disk.path.with_name("events.db-wal").stat().st_size
    for place in range(40, size, PAGE):
        path = copies(disk, tmp_path / "flip")
        flip(path.with_name("events.db-wal"), place)
        journal, restored, refusal = await open_copy(path, path.parent)
        assert restored is not None, refusal
        assert plain(restored) in shots
        await check_texts(journal, restored, model)
        await journal.aclose(clean=False)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x55
    path.write_bytes(content)


async def test_a_file_that_is_cut_is_refused_or_serves_what_is_whole(disk: SQLiteDisk, tmp_path: Path) -> None:
    """At each page; the reason is in the text."""
    _, model = await history_on(disk)
    for length in range(0, disk.path.stat().st_size, PAGE):
        path = copies(disk, tmp_path / "cut")
        with path.open("r+b") as file:
            file.truncate(length)
        await refused_or_true(path, model)


@pytest.mark.parametrize("within", [0, 7, 100, 1_500, 4_000])
async def test_a_file_that_is_flipped_is_refused_or_serves_what_is_whole(
    disk: SQLiteDisk, tmp_path: Path, within: int
) -> None:
    """In each page, at its head and in its rows; no row is taken for another."""
    _, model = await history_on(disk)
    for place in range(within, disk.path.stat().st_size, PAGE):
        path = copies(disk, tmp_path / "flip")
        flip(path, place)
        await refused_or_true(path, model)


async def refused_or_true(path: Path, model: Model) -> None:
    journal, restored, refusal = await open_copy(path, path.parent)
    if restored is None:
        assert str(path) in refusal
        assert "expected" in refusal
        return
    await check_texts(journal, restored, model)
    for thread in restored.threads:
        known = model.threads[thread.record.thread_id]
        assert thread.record.generation == known.record.generation
    assert restored.secret == SECRET
    await journal.aclose(clean=False)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("meta", "secret = x'00'"),
        ("life", "batch = 77"),
        ("log", "head = head + 1"),
        ("log", "n = n + 10"),
        ("thread", "generation = 'g77'"),
        ("mark", "low = low + 1"),
        ("shed", "count = 9"),
        ("held", "body = x'00'"),
        ("given", "seq = 77"),
        ("run", "open = 0"),
        ("segment", "first = 9"),
        ("directory", "ns = x'0000'"),
    ],
)
async def test_a_row_that_is_not_as_it_was_written_is_named(disk: SQLiteDisk, table: str, change: str) -> None:
    """Its table and its number, so that a person can look."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("early", "ep"), *placed_range("early", 1, 3)])
    await journal.aclose(clean=True)
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, EVERY_KIND)
    disk.crash()
    with closing(sqlite3.connect(disk.path)) as db:
        db.execute(f"UPDATE {table} SET {change} WHERE n = (SELECT max(n) FROM {table})")  # noqa: S608
        (n,) = db.execute(f"SELECT max(n) FROM {table}").fetchone()  # noqa: S608
        db.commit()
    with pytest.raises(StoreError, match=f"expected row {n} of table {table} as it was written"):
        await disk.journal().open(LIMITS, SECRET)


async def test_a_damaged_event_is_a_hole_or_an_end(disk: SQLiteDisk) -> None:
    """Where later events of the log are there it is a hole, and otherwise the log ends before it."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), LogRecord("bob", "ep")])
    await journal.commit(2, [*placed_range("alice", 1, 9), *placed_range("bob", 1, 5)])
    disk.crash()
    with closing(sqlite3.connect(disk.path)) as db:
        db.execute("UPDATE seg_1 SET text = x'00' WHERE n IN (4, 14)")
        db.commit()
    journal = disk.journal()
    alice, bob = (await journal.open(LIMITS, SECRET)).logs
    assert (alice.low, alice.head, list(alice.sizes).index(0), bob.head) == (1, 9, 3, 4)
    assert [row.offset for row in await load_all(journal, "alice", 1, 9) if row.text is None] == [4]
    await journal.commit(1, [placed("bob", 5)])
    rows = await load_all(journal, "bob", 1, 5)
    assert [row.text for row in rows] == [placed("bob", k).text for k in range(1, 6)]
    await journal.aclose(clean=True)


async def test_a_directory_that_names_no_segment(disk: SQLiteDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused: its events are nowhere."""
    monkeypatch.setattr(upkeep, "SEGMENT_ROWS", 3)
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 3)])
    await journal.aclose(clean=True)
    with closing(sqlite3.connect(disk.path)) as db:
        db.execute("DELETE FROM segment")
        db.commit()
    with pytest.raises(StoreError, match="row 1 of table directory as it was written, there is no segment 1"):
        await disk.journal().open(LIMITS, SECRET)


async def test_fewer_events_are_retained_and_then_more(disk: SQLiteDisk) -> None:
    """What a narrower limit had dropped is not there when it is wide again, once its segment was."""
    journal = disk.journal()
    await journal.open(LIMITS, SECRET)
    await journal.commit(1, [LogRecord("alice", "ep"), *placed_range("alice", 1, 30)])
    await journal.aclose(clean=True)
    journal = disk.journal()
    await journal.open(Limits(retained_events=1), SECRET)
    await journal.commit(1, [placed("alice", 31), Marks("alice", 31, (), 0)])
    await journal.aclose(clean=True)
    journal = disk.journal()
    (log,) = (await journal.open(LIMITS, SECRET)).logs
    assert (log.low, log.head) == (31, 31)
    await journal.aclose(clean=True)
