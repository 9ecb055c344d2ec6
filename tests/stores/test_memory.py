"""The store in memory keeps the contract of a store, and out of the cyclic collector's way."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import BuiltinFunctionType, FunctionType, ModuleType

import pytest
from hypothesis import settings

from actors.environment import Environment
from actors.events.event import encode, fingerprint
from actors.limits import Limits
from actors.stores.memory import MemoryStore
from actors.stores.store import Append, Store
from tests.stores.contract import OpenStore, StoreContract, StoreMachine


@asynccontextmanager
async def open_memory(limits: Limits) -> AsyncIterator[Store]:
    store = MemoryStore(limits, Environment())
    yield store
    await store.aclose()


class TestMemoryStore(StoreContract):
    """The contract, example by example."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """A store in memory is opened by making it."""
        return open_memory


class MemoryMachine(StoreMachine):
    """The contract against its model."""

    def open_store(self, limits: Limits) -> AbstractAsyncContextManager[Store]:
        """A store in memory is opened by making it."""
        return open_memory(limits)


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_forgets_with_the_process() -> None:
    """The events of a store in memory are gone after a restart, and it says so."""
    assert not MemoryStore(Limits(), Environment()).outlives_process


def test_a_forgotten_log_keeps_its_lineage() -> None:
    """A log that has forked and was forgotten still knows which devices may go on."""
    store = MemoryStore(Limits(), Environment())
    store.bind_nowait("t1", "alice", 0.0, take=False)
    store.append_nowait(Append("t1", "e1", b'{"type":"tick"'), 0.0)
    first = store.bounds("alice").epoch
    bounds = store.fork("alice", 0)
    assert (bounds.head, bounds.shared(first)) == (0, 0)
    assert bounds.epoch != first
    assert store.forget("alice")
    assert store.bounds("alice") == bounds


def reachable(root: object) -> Iterator[object]:
    """Everything that a store refers to, directly or not, but through code: that refers to the whole program."""
    known: dict[int, object] = {}
    ahead = [root]
    while ahead:
        found = ahead.pop()
        if id(found) in known or isinstance(found, type | ModuleType | FunctionType | BuiltinFunctionType):
            continue
        known[id(found)] = found
        ahead.extend(gc.get_referents(found))
    yield from known.values()


@pytest.mark.parametrize("owner", ["alice", None])
def test_the_collector_does_not_walk_what_is_retained(owner: str | None) -> None:
    """However many events are retained, held or remembered, the cyclic collector has not one object more to walk."""

    def tracked(events: int) -> int:
        limits = Limits(retained_events=10_000, unbound_events=10_000)
        store = MemoryStore(limits, Environment())
        store.bind_nowait("t", owner, 0.0, take=False)
        for number in range(events):
            body = encode("say", {"n": number}, "t", None, f"e{number}", 0.0, limits)
            store.append_nowait(Append("t", f"e{number}", body, None, fingerprint(body)), 0.0)
        gc.collect()
        return sum(gc.is_tracked(found) for found in reachable(store))

    assert tracked(1_000) == tracked(1)


def test_what_is_kept_of_a_user_who_has_gone() -> None:
    """Of a user without events a store keeps where the log ended, in 250 bytes with the name, and nothing to walk."""
    store, users = MemoryStore(Limits(), Environment()), 20_000
    tracemalloc.start()
    try:
        before, tracked = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        for number in range(users):
            user_id = f"user-{number}"
            store.bind_nowait("t", user_id, 0.0, take=True)
            store.append_nowait(Append("t", f"e{number}", b"{", None, None), 0.0)
        while store.expire(Limits().retained_seconds + 1.0).more:
            pass
        assert all(store.forget(f"user-{number}") for number in range(users))
        gc.collect()
        assert (tracemalloc.get_traced_memory()[0] - before) / users < 250
        assert len(gc.get_objects()) - tracked < 100
    finally:
        tracemalloc.stop()


def test_a_repetition_in_a_forgotten_thread_leaves_nothing() -> None:
    """An id that is known in a thread that is not is answered as the first time, and the thread stays forgotten."""
    limits = Limits(vacant_threads=1, unbound_seconds=60.0)
    store = MemoryStore(limits, Environment())
    given = Append("a", "given", b"{", None, b"its fingerprint")
    first = store.append_nowait(given, 0.0)
    store.append_nowait(Append("b", "e", b"{", None, None), 1.0)
    store.expire(62.0)
    assert "threads=1 " in repr(store)
    repetition = store.append_nowait(given, 63.0)
    assert (repetition.seq, repetition.duplicate) == (first.seq, True)
    assert "threads=1 " in repr(store)
