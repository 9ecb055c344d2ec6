"""The promises of a journal, kept by SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.stores.sqlite import upkeep
from tests.stores.journal_contract import Disk, JournalContract
from tests.stores.sqlite.disk import SQLiteDisk


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
