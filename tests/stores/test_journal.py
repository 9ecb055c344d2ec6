"""The contract of journals, held by the simplest one: what it asks can be given without a file."""

from __future__ import annotations

import pytest

from tests.stores.journal_contract import Disk, JournalContract
from tests.stores.journal_model import ModelDisk


class TestModelJournal(JournalContract):
    """The suite over the model."""

    @pytest.fixture
    def disk(self) -> Disk:
        """A model of a disk."""
        return ModelDisk()
