"""The promises of a journal, kept by SQLite."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from actors.errors import StoreError
from actors.limits import Limits
from actors.stages import Promise
from actors.stores.sqlite import upkeep
from actors.stores.sqlite.journal import SQLiteJournal
from tests.stores.journal_contract import Disk, JournalContract, load_all, placed
from tests.stores.sqlite.disk import SQLiteDisk, files_in


class TestSQLiteJournal(JournalContract):
    """The suite over a file."""

    @pytest.fixture(params=["full", "normal"])
    def disk(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
        """A folder."""
        disk = SQLiteDisk(tmp_path, request.param)
        yield disk
        disk.close()


class TestSmallSegments(JournalContract):
    """The suite again, with segments that end, are copied forward and dropped all the time."""

    @pytest.fixture
    def disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
        """A folder, and upkeep behind every commit."""
        small = {"SEGMENT_ROWS": 12, "SEGMENT_LEAST_ROWS": 4, "SEGMENT_SECONDS": 2.0, "LOOSE_ROWS": 3}
        for name, number in {**small, "NEWEST": 1, "COPIED_ROWS": 3}.items():
            monkeypatch.setattr(upkeep, name, number)
        disk = SQLiteDisk(tmp_path)
        yield disk
        disk.close()


KILLED = """
import sys, trio
from actors.limits import Limits
from actors.stores.journal import LogRecord, Marks
from actors.stores.sqlite import upkeep
from actors.stores.sqlite.journal import SQLiteJournal
from tests.stores.journal_contract import placed_range

upkeep.SEGMENT_ROWS, upkeep.SEGMENT_LEAST_ROWS = 60, 8

async def main():
    journal = SQLiteJournal(sys.argv[1])
    restored = await journal.open(Limits(), b"s" * 32)
    head = max([log.head for log in restored.logs], default=0)
    if not restored.logs:
        await journal.commit(1, [LogRecord("alice", "ep")])
    for number in range(2, 100_000):
        low = Marks("alice", max(1, head - 50), (), 0)
        await journal.commit(number, [*placed_range("alice", head + 1, head + 7), low])
        head += 7
        print(head, flush=True)

trio.run(main)
"""


@pytest.mark.slow
async def test_killed_again_and_again(tmp_path: Path, *, at_length: bool) -> None:
    """Of many processes, each killed among its commits, no event is lost that was said to be there."""
    path, chance, said = tmp_path / "events.db", random.Random(1), 0
    for life in range(1, 101 if at_length else 9):
        said = await trio.to_thread.run_sync(run_and_kill, path, chance.randrange(1, 60)) or said
        journal = SQLiteJournal(path)
        restored = await journal.open(Limits(), b"")
        (log,) = restored.logs
        assert (restored.life, restored.clean) == (life + 1, False)
        assert log.head >= said
        assert log.head % 7 == 0, "a batch is there whole, or not at all"
        rows = await load_all(journal, "alice", log.low, log.head)
        assert [row.text for row in rows] == [placed("alice", row.offset).text for row in rows]
        assert log.head - log.low >= 50 or log.low == 1
        await journal.aclose(clean=False)


def run_and_kill(path: Path, lines: int) -> int:
    """Run a process, and kill it after so many commits; returns the last head that it told."""
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.kill()
        return max([int(line) for line in child.stdout if line.endswith("\n")], default=0)


async def test_two_processes(tmp_path: Path) -> None:
    """The second one is told which one has it, and changes no byte."""
    code = KILLED.replace("print(head, flush=True)", "print(head, flush=True); await trio.sleep(60)")
    command = [sys.executable, "-c", code, str(tmp_path / "e.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: ASYNC220 - nothing else runs
        assert child.stdout is not None
        await trio.to_thread.run_sync(child.stdout.readline)
        before = files_in(tmp_path)
        with pytest.raises(StoreError, match=f"e.db-lock: expected .* not open, process {child.pid} has it open"):
            await SQLiteJournal(tmp_path / "e.db").open(Limits(), b"")
        assert files_in(tmp_path) == before
        child.kill()


def test_what_it_promises(tmp_path: Path) -> None:
    """The loss of power is survived by a journal that waits for the disk."""
    assert SQLiteJournal(tmp_path / "e.db").promise is Promise.POWER
    normal = SQLiteJournal(str(tmp_path / "e.db"), "normal")
    assert normal.promise is Promise.PROCESS
    assert repr(normal) == f"<SQLiteJournal {tmp_path}/e.db survives=PROCESS>"
    with pytest.raises(ValueError, match=r"SQLiteJournal\(synchronous\): expected 'full' or 'normal', got 'off'"):
        SQLiteJournal(tmp_path / "e.db", "off")  # type: ignore[arg-type]
