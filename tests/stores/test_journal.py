"""The contract of journals, held by the simplest one: what it asks can be given without a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stores.journal_contract import Disk, JournalContract
from tests.stores.journal_model import ModelDisk


class TestModelJournal(JournalContract):
    """The suite over the model."""

    @pytest.fixture
    def disk(self) -> Iterator[Disk]:
        """A model of a disk."""
        yield ModelDisk()
