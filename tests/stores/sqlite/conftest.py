"""Fixtures of the journal's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.sqlite.disk import SQLiteDisk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SQLiteDisk]:
    """A folder for a journal."""
    disk = SQLiteDisk(tmp_path)
    yield disk
    disk.close()
