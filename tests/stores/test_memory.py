"""The store in memory keeps the contract of a store, and out of the cyclic collector's way."""

from __future__ import annotations

import pytest
from hypothesis import settings

from actors.stores.memory import MemoryStore
from actors.stores.store import Store
from tests.stores.contract import StoreContract, StoreMachine
from tests.stores.desk import Place


class MemoryPlace(Place):
    """No place at all, because nothing is kept."""

    def store(self) -> Store:
        return MemoryStore()


class TestMemoryStore(StoreContract):
    """The contract, example by example."""

    @pytest.fixture
    def place(self) -> Place:
        """Each store in memory is a new one."""
        return MemoryPlace()


class MemoryMachine(StoreMachine):
    """The contract against its model."""

    place = MemoryPlace


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
