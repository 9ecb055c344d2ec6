"""The store in a file: the contract, and runtimes from life to life."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import trio
from hypothesis import settings

import actors
from actors.environment import Environment
from actors.events.event import encode
from actors.limits import Limits
from actors.stores.journal import Effect
from actors.stores.local import LocalStore
from actors.stores.sqlite.store import SQLiteStore
from actors.stores.store import Append, Bind, Placement, Store
from tests.stores.contract import StoreContract, StoreMachine
from tests.stores.desk import Fault, Place
from tests.stores.sqlite.disk import SQLiteDisk

FAULTS: dict[Fault, Literal["full", "before", "after"]] = {
    "refused": "full",
    "unwritten": "before",
    "unanswered": "after",
}


class SQLitePlace(Place):
    """A folder, of which a crash leaves a copy."""

    faults = tuple(FAULTS)

    def __init__(self, folder: Path) -> None:
        self.disk = SQLiteDisk(folder)
        self._journal = self.disk.journal()

    def store(self) -> Store:
        self._journal = self.disk.journal()
        return LocalStore(self._journal)

    def crash(self, lost: int = 0) -> None:
        assert not lost, "a process that ends takes nothing from a file"
        self.disk.crash()

    def fail(self, fault: Fault, nth: int) -> None:
        commit, calls = self._journal.commit, itertools.count(1)

        async def failing(number: int, effects: Sequence[Effect]) -> None:
            if next(calls) == nth:
                self.disk.fail(FAULTS[fault])
            await commit(number, effects)

        self._journal.commit = failing  # type: ignore[method-assign]


class TestSQLiteStore(StoreContract):
    """The contract, example by example: a simulated journal may be kinder than a file."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        """A folder that outlives the stores in it."""
        place = SQLitePlace(tmp_path)
        yield place
        place.disk.close()


class SQLiteMachine(StoreMachine):
    """The contract against its model."""

    folders: ClassVar[list[tempfile.TemporaryDirectory[str]]] = []

    @classmethod
    def place(cls) -> Place:
        cls.folders.append(tempfile.TemporaryDirectory())
        return SQLitePlace(Path(cls.folders[-1].name))

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "at"):
            assert isinstance(self.at, SQLitePlace)
            self.at.disk.close()
            self.folders.pop().cleanup()


TestSQLiteMachine = SQLiteMachine.TestCase
TestSQLiteMachine.settings = settings(max_examples=8, stateful_step_count=30, deadline=None)


async def placed(store: SQLiteStore, *acts: Append | Bind) -> list[object]:
    """Submit acts, and return their answers."""
    answers: list[object] = []
    for act in acts:
        store.submit(act, lambda _, answer: answers.append(answer))
    await store.settled()
    return answers


async def test_an_event_may_be_the_first_thing_of_a_forked_log(tmp_path: Path) -> None:
    """After a life that was not closed in order, an event is placed behind the fork although no device asked before."""
    path = tmp_path / "events.db"
    first, second = SQLiteStore(path), SQLiteStore(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(first.run, Limits(), Environment())
        await placed(first, Bind("t", "alice", take=False), Append("t", "e1", b'{"type":"x"'))
        # As a kill leaves it: nothing more is written, and the lock is let go of.
        await first._journal.aclose(clean=False)
        await nursery.start(second.run, Limits(), Environment())
        (answer,) = await placed(second, Append("t", "e2", b'{"type":"x"'))
        assert isinstance(answer, Placement)
        assert (answer.seq, answer.offset) == (2, 2)
        bounds = second.known_bounds("alice")
        assert bounds is not None
        assert [fork.offset for fork in bounds.lineage] == [1]
        nursery.cancel_scope.cancel()


async def test_messages_without_a_run_are_answered_in_the_next_life(tmp_path: Path) -> None:
    """A runtime on the file of one that ended between a message and its run starts each such run once, in order."""
    path, body = tmp_path / "events.db", partial(encode, "user_message", thread_id="t", run_id=None, timestamp=1.0)
    async with trio.open_nursery() as nursery:
        store = SQLiteStore(path)
        await nursery.start(store.run, Limits(), Environment())
        await placed(store, Bind("t", "alice", take=False))
        for n in range(2):
            message = body(payload={"n": n}, event_id=f"m{n}", limits=Limits())
            await placed(store, Append("t", f"m{n}", message, user_id="alice", run_id=f"r{n}", edge="due"))
        nursery.cancel_scope.cancel()
    answered: list[tuple[str, str, object]] = []
    both = trio.Event()

    async def agent(run: actors.Run, message: actors.Message) -> None:
        answered.append((run.run_id, message.event_id, message.payload["n"]))
        if len(answered) == 2:
            both.set()

    for _ in range(2):
        async with actors.open_runtime(store=SQLiteStore(path), on_message=agent):
            await both.wait()
    assert answered == [("r0", "m0", 0), ("r1", "m1", 1)]
