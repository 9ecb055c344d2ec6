"""Looks into stores, and acts on those that answer at once."""

from __future__ import annotations

from typing import cast

import trio

from actors.delivery.bounds import Bounds
from actors.environment import Environment
from actors.limits import Limits
from actors.stores.local import LocalStore
from actors.stores.memory import MemoryStore
from actors.stores.state import StoreState
from actors.stores.store import Answer, Append, Bind, Binding, Placement, Store

WALL_AT = 1_764_211_000.0
"""The wall clock's time when a :func:`timed_environment` is made."""


def opened_store(limits: Limits | None = None, environment: Environment | None = None) -> MemoryStore:
    """A store in memory, open."""
    store = MemoryStore()
    store.open(limits or Limits(), environment or Environment())
    return store


def timed_environment() -> Environment:
    """An environment of which the wall clock goes with Trio's clock, as time does; to be made in a run of Trio."""
    begun = trio.current_time()
    return Environment(wall_clock=lambda: WALL_AT + trio.current_time() - begun)


def append(store: MemoryStore, event: Append) -> Placement:
    """Have an event placed, or raise its refusal."""
    answers: list[Answer] = []
    store.submit(event, lambda _, answer: answers.append(answer))
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return cast(Placement, answer)


def bind(store: MemoryStore, thread_id: str, user_id: str | None, *, take: bool = False) -> Binding:
    """Have a thread bound, or raise the refusal."""
    answers: list[Answer] = []
    store.submit(Bind(thread_id, user_id, take), lambda _, answer: answers.append(answer))
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return cast(Binding, answer)


def state_of(store: Store) -> StoreState:
    """What a store has decided."""
    assert isinstance(store, MemoryStore | LocalStore), "of others nothing is known"
    return store.state


def bounds_of(store: Store, user_id: str) -> Bounds:
    """What is shown of a user's log."""
    bounds = store.known_bounds(user_id)
    assert bounds is not None, "these stores know all logs"
    return bounds
