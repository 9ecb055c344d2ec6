"""The store in memory keeps the contract of a store, and out of the cyclic collector's way."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import pytest
from hypothesis import settings

from actors.environment import Environment
from actors.errors import NotTheOwner
from actors.events.event import encode, fingerprint
from actors.limits import Limits
from actors.stages import Promise
from actors.stores.memory import MemoryStore
from actors.stores.store import Act, Answer, Append, Bind, Placement, Store
from tests.stores.contract import StoreContract, StoreMachine
from tests.stores.desk import Hands, Place


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


def open_memory(hands: Hands, **limits: Any) -> MemoryStore:
    """A store in memory, open."""
    store = MemoryStore()
    store.open(Limits(**limits), hands.environment())
    return store


def answer_to(store: MemoryStore, act: Act) -> Answer:
    """The answer to an act, which comes at once."""
    answers: list[Answer] = []
    store.submit(act, lambda _, answer: answers.append(answer))
    (answer,) = answers
    return answer


def test_forgets_with_the_process() -> None:
    """The events of a store in memory are gone after a restart, and it says so."""
    assert MemoryStore().promise is Promise.NOTHING


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
        store = open_memory(Hands(), retained_events=10_000, unbound_events=10_000)
        answer_to(store, Bind("t", owner, take=False))
        for number in range(events):
            body = encode("say", {"n": number}, "t", None, f"e{number}", 0.0, Limits())
            answer_to(store, Append("t", f"e{number}", body, fingerprint=fingerprint(body)))
        gc.collect()
        return sum(gc.is_tracked(found) for found in reachable(store))

    assert tracked(1_000) == tracked(1)


def test_what_is_kept_of_a_user_who_has_gone() -> None:
    """Of a user without events a store keeps where the log ended, in 250 bytes with the name, and nothing to walk."""
    hands, users = Hands(), 20_000
    store = open_memory(hands)
    tracemalloc.start()
    try:
        before, tracked = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        for number in range(users):
            answer_to(store, Bind("t", f"user-{number}", take=True))
            answer_to(store, Append("t", f"e{number}", b"{"))
        hands.now = Limits().retained_seconds + 1.0
        while store.expire().more:
            pass
        assert all(store.forget(f"user-{number}") for number in range(users))
        gc.collect()
        assert (tracemalloc.get_traced_memory()[0] - before) / users < 250
        assert len(gc.get_objects()) - tracked < 100
    finally:
        tracemalloc.stop()


def test_a_repetition_in_a_forgotten_thread_leaves_nothing() -> None:
    """An id that is known in a thread that is not is answered as the first time, and the thread stays forgotten."""
    hands = Hands()
    store = open_memory(hands, vacant_threads=1, unbound_seconds=60.0)
    given = Append("a", "given", b"{", fingerprint=b"its fingerprint")
    answer_to(store, given)
    hands.now = 1.0
    answer_to(store, Append("b", "e", b"{"))
    hands.now = 62.0
    store.expire()
    assert "threads=1 " in repr(store)
    repetition = answer_to(store, given)
    assert isinstance(repetition, Placement)
    assert (repetition.seq, repetition.again) == (1, "given")
    assert "threads=1 " in repr(store)


def test_opened_again_it_keeps_what_it_has() -> None:
    """A store in memory that is run again after a crash of its run goes on with everything."""
    store = open_memory(Hands())
    secret, _ = store.secret, answer_to(store, Bind("t", "alice", take=False))
    store.open(Limits(), Environment())
    assert (store.secret, store.known_owner("t")) == (secret, "alice")


def test_a_refusal_keeps_no_frame_alive() -> None:
    """The traceback of a refusal is not kept: it would keep the act, and the store's own frames."""
    store = open_memory(Hands())
    refusal = answer_to(store, Append("t", "e", b"{", user_id="alice"))
    assert isinstance(refusal, NotTheOwner)
    assert refusal.__traceback__ is None
