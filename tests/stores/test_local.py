"""The store over a journal keeps the contract, and through all that a disk may do."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import settings

from actors.stores.local import LocalStore
from actors.stores.store import Store
from actors.testing.journal import Disk, SimJournal
from actors.testing.journal import Fault as DiskFault
from tests.stores.contract import StoreContract, StoreMachine
from tests.stores.desk import Fault, Place

DISK_FAULTS: dict[Fault, DiskFault] = {"refused": "full", "unwritten": "unwritten", "unanswered": "unanswered"}


class DiskPlace(Place):
    """A simulated disk."""

    faults = tuple(DISK_FAULTS)
    loses = True

    def __init__(self) -> None:
        self.disk = Disk()
        self.journal = SimJournal(self.disk, 0.0)

    def store(self) -> Store:
        self.journal = SimJournal(self.disk, 0.0)
        return LocalStore(self.journal)

    def crash(self, lost: int = 0) -> None:
        self.disk = attrs.evolve(self.disk, commits=list(self.disk.commits))
        self.disk.crash(lost)

    def fail(self, fault: Fault, nth: int) -> None:
        self.journal.fail_call, self.journal.fail_with = self.journal.calls + nth, DISK_FAULTS[fault]


@pytest.mark.usefixtures("autojump_clock")
class TestLocalStore(StoreContract):
    """The contract, example by example."""

    @pytest.fixture
    def place(self) -> Place:
        """A disk that outlives the stores on it."""
        return DiskPlace()


class LocalMachine(StoreMachine):
    """The contract against its model."""

    place = DiskPlace


TestLocalMachine = LocalMachine.TestCase
TestLocalMachine.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
