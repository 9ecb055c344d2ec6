"""The suite of stores fails each store that breaks a promise, and says which one."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs
import msgspec
import pytest
import trio
import trio.testing

from actors.environment import Environment
from actors.limits import Limits
from actors.stages import Promise
from actors.stores.batches import Batch
from actors.stores.journal import Effect, Restored
from actors.stores.local import LocalStore
from actors.stores.memory import MemoryStore
from actors.stores.store import Act, Answer, Answered, Append, Binding, Placement, Store
from actors.testing.journal import Disk, SimJournal
from tests.stores.contract import StoreContract
from tests.stores.desk import Hands, Place, opener
from tests.stores.lives import ManyLives
from tests.stores.test_local import DiskPlace

# --- the suite, without pytest ------------------------------------------------------


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """The tests of the suite, and the parameters of each."""
    for name, test in inspect.getmembers(StoreContract, inspect.isfunction):
        if name.startswith("test_"):
            marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
            choices = [[(mark.args[0], value) for value in mark.args[1]] for mark in marks]
            yield from ((name, dict(choice)) for choice in itertools.product(*choices))


def run_example(name: str, parameters: dict[str, Any], place: Place) -> bool:
    """Run one test of the suite; true if it passed, or was skipped."""
    hands = Hands()
    desk = opener(place, hands)
    test = getattr(StoreContract(), name)
    given = {"place": place, "hands": hands, "desk": desk, "lives": desk, **parameters}
    if place.loses:
        given["losing_lives"] = desk
    if not given.keys() >= inspect.signature(test).parameters.keys():
        return True

    async def within_time() -> None:
        with trio.fail_after(3_600.0):
            await test(**{key: given[key] for key in inspect.signature(test).parameters})

    try:
        trio.run(within_time, clock=trio.testing.MockClock(autojump_threshold=0.0))
    except pytest.skip.Exception:
        return True
    except (Exception, BaseExceptionGroup, pytest.fail.Exception):  # noqa: BLE001 - whatever it raised, it failed
        return False
    return True


def failures(place: type[Place]) -> set[str]:
    """The tests that fail the stores of a place."""
    return {name for name, parameters in examples() if not run_example(name, parameters, place())}


# --- stores that break a promise -------------------------------------------------------


class Liar(MemoryStore):
    """Says that it outlives the process, and keeps nothing."""

    promise = Promise.POWER

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        def promising(act: Act, answer: Answer) -> None:
            if isinstance(answer, Placement | Binding):
                answer.promise = Promise.POWER
            answered(act, answer)

        super().submit(act, promising)


class LiarPlace(Place):
    """No place at all."""

    def store(self) -> Store:
        return Liar()

    def crash(self, lost: int = 0) -> None:
        """Lose nothing more."""


class BrokenPlace(DiskPlace):
    """A simulated disk, with a bug in the store on it, or in its journal."""

    make_store: type[LocalStore] = LocalStore
    make_journal: type[SimJournal] = SimJournal

    def store(self) -> Store:
        self.journal = self.make_journal(self.disk, 0.0)
        return self.make_store(self.journal)


class ShowsEarly(LocalStore):
    """Shows an event before its commit."""

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        super().submit(act, answered)
        for log in self.state.logs.values():
            self.state.show(log, log.head)


class KeepsTheFirstLog(LocalStore):
    """Takes a thread's first route to lead into the log of its first owner."""

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        thread = act.route if isinstance(act, Append) else None
        if thread is not None and thread.user_id is not None:
            thread.log = self.__dict__.setdefault("first_log", thread.log)
        super().submit(act, answered)


class AnswersBackwards(LocalStore):
    """Answers the acts of one commit in the wrong order."""

    async def _begin(self, *life: Any) -> None:
        await super()._begin(*life)
        conclude = self._writer._conclude

        def backwards(batch: Batch, promise: Promise) -> None:
            batch.acts.reverse()
            conclude(batch, promise)

        self._writer._conclude = backwards  # type: ignore[method-assign]


class AnswersTwice(LocalStore):
    """Answers each act twice."""

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        def twice(act: Act, answer: Answer) -> None:
            answered(act, answer)
            answered(act, answer)

        super().submit(act, twice)


class TakesWhatItRefuses(LocalStore):
    """Has no room for an event, and takes it all the same."""

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        try:
            super().submit(act, answered)
        except trio.WouldBlock:
            assert isinstance(act, Append)
            self.state.append(act, self._clock.now())
            raise


class DoesNotAsk(LocalStore):
    """Writes a batch again without asking whether it was written."""

    async def _begin(self, *life: Any) -> None:
        async def no(batch: Batch) -> bool:
            await trio.lowlevel.checkpoint()
            return False

        await super()._begin(*life)
        self._writer._has = no  # type: ignore[method-assign]


class LivesByItsOwnClock(LocalStore):
    """Counts ages on the clock of its process."""

    async def run(self, limits: Limits, environment: Environment, **parts: Any) -> None:
        await super().run(limits, attrs.evolve(environment, wall_clock=environment.clock), **parts)


class Changing(SimJournal):
    """A journal that begins a life with something else than what it has."""

    changes: Mapping[str, Any] = MappingProxyType({})

    async def open(self, limits: Limits, secret: bytes) -> Restored:
        return msgspec.structs.replace(await super().open(limits, secret), **self.changes)


class ForgetsIds(Changing):
    """Forgets the given ids."""

    changes = MappingProxyType({"given_ids": []})


class ForgetsRuns(Changing):
    """Forgets which runs are due, or open."""

    changes = MappingProxyType({"runs": []})


class NeverForks(Changing):
    """Has each life end in order, as it says."""

    changes = MappingProxyType({"clean": True})


class WritesLate(SimJournal):
    """Confirms a commit, and writes it with the next one."""

    def __init__(self, disk: Disk, seconds: float) -> None:
        super().__init__(disk, seconds)
        self._late: list[tuple[int, Sequence[Effect]]] = []

    async def commit(self, number: int, effects: Sequence[Effect]) -> None:
        late, self._late = self._late, [(number, tuple(effects))]
        await trio.lowlevel.checkpoint()
        for one in late:
            await super().commit(*one)

    async def aclose(self, *, clean: bool) -> None:
        for one in self._late:
            await super().commit(*one)
        await super().aclose(clean=clean)


class OpensTwice(SimJournal):
    """Opens what is open elsewhere."""

    async def open(self, limits: Limits, secret: bytes) -> Restored:
        self.disk.is_open = False
        return await super().open(limits, secret)


BROKEN: list[tuple[type[LocalStore] | type[SimJournal], set[str]]] = [
    (ShowsEarly, {"test_nothing_is_visible_before_it_is_answered", "test_a_commit_that_fails_shows_nothing"}),
    (KeepsTheFirstLog, {"test_a_route_decides_nothing"}),
    (AnswersBackwards, {"test_answers_come_in_order", "test_acts_are_answered_when_the_store_is_closed"}),
    (AnswersTwice, {"test_numbers_have_no_hole", "test_answers_come_in_order"}),
    (TakesWhatItRefuses, {"test_what_was_not_taken_leaves_nothing"}),
    (DoesNotAsk, {"test_a_commit_that_fails"}),
    (LivesByItsOwnClock, {"test_ages_go_on", "test_a_clock_that_is_set_forward"}),
    (ForgetsIds, {"test_given_ids_are_known", "test_a_commit_that_fails"}),
    (ForgetsRuns, {"test_a_due_run_is_named_until_it_begins", "test_an_open_run_is_closed_once"}),
    (NeverForks, {"test_what_a_disk_lost_is_told"}),
    (WritesLate, {"test_what_was_answered_is_there", "test_everything_goes_on"}),
    (OpensTwice, {"test_two_at_once"}),
]
"""Stores and journals with a bug, and examples that must fail for it."""


@pytest.mark.parametrize(("broken", "expected"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_promise_is_found(broken: type[LocalStore] | type[SimJournal], expected: set[str]) -> None:
    """Each bug that a store may have fails the examples of the promise that it breaks."""
    bug = {"make_store" if issubclass(broken, LocalStore) else "make_journal": broken}
    assert expected <= failures(type("Broken", (BrokenPlace,), bug))


NEEDS_FAULTS = {"test_a_commit_that_fails", "test_a_commit_that_fails_shows_nothing", "test_what_a_disk_lost_is_told"}
"""Examples that are skipped for a place that can inject no faults."""


def test_a_store_that_keeps_nothing_is_found() -> None:
    """A store that only says that it outlives its process fails every example of a next life."""
    names = {name for name, _ in inspect.getmembers(ManyLives, inspect.isfunction) if name.startswith("test_")}
    assert names - NEEDS_FAULTS <= failures(LiarPlace)


def test_a_sound_store_passes() -> None:
    """What fails a broken store does not fail a sound one."""
    assert failures(BrokenPlace) == set()
