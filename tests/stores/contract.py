"""The promises of every store, as one suite that each of them runs.

To run it on another store, say in a subclass of :class:`~tests.stores.desk.Place`
how stores are made that keep their events at one place, one after the other::

    class FilePlace(Place):
        faults = ("refused", "unanswered")  # the faults that ``fail`` can have a commit meet; none by default

        def store(self) -> Store:
            return FileStore(self.path)  # not open: the tests run it

        def crash(self, lost: int = 0) -> None:
            self.path = copy_of(self.path)  # from now on the store that is open writes to what nobody will read

        def fail(self, fault: Fault, nth: int) -> None: ...

    class TestFileStore(StoreContract):
        @pytest.fixture
        def place(self, tmp_path: Path) -> Place:
            return FilePlace(tmp_path)

    class FileMachine(StoreMachine):
        place = staticmethod(lambda: FilePlace(new_folder()))

    TestFileMachine = FileMachine.TestCase

A store that promises NOTHING needs ``store`` alone: the tests of several lives
are skipped for it, and none of them for one that promises more. Tests of faults
that a place cannot inject are skipped, and say so. ``tests/stores/test_contract.py``
shows that the suite fails stores that break a promise.
"""

from __future__ import annotations

from tests.stores.lives import ManyLives
from tests.stores.machine import StoreMachine
from tests.stores.one_life import OneLife

__all__ = ["StoreContract", "StoreMachine"]


class StoreContract(OneLife, ManyLives):
    """The contract, example by example."""
