"""A scenario again and again: under many seeds; or each time broken off a little later.

    run_seeds(scenario, seeds)          with another misfortune each time
    cancel_at_every_step(scenario)      cancelled one scheduler step later each time
    fail_every_store_call(scenario)     the next call of the store fails each time

until it runs through. After each time everything has to settle, and the
invariants are checked. The latter two are exhaustive, where seeds are only many.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import trio

from actors.checks import awaitable, check_coroutine, check_word, described
from actors.events.event import check_whole
from actors.testing.determinism import run
from actors.testing.journal import Fault
from actors.testing.world import World, check_agent, check_seed, simulate

Scenario = Callable[[World], Awaitable[None]]
"""A use of a world; an exception of its own is a failure, too."""

_STORE_SECONDS = 0.001


def run_seeds(scenario: Scenario, seeds: Iterable[int], **options: Any) -> None:
    """Run a scenario under one seed after the other, each in a world of its own; ``options`` are those of
    :func:`~actors.testing.simulate`. What it raises has a note that says which seed it was.

    Raises TypeError for what is no coroutine function or no seed, and
    ValueError where there is no seed at all: nothing would have been checked.
    """
    _check(scenario, options)
    left = _first_of(seeds)
    for seed in left:
        check_seed(seed)
        try:
            run(lambda seed: _simulated(scenario, seed, options), seed)
        except BaseException as error:
            error.add_note(f"in the simulation of seed {seed}")
            raise


def _check(scenario: Scenario, options: Mapping[str, Any]) -> None:
    """Raise TypeError for what no world can be made with, before there is one."""
    check_coroutine("scenario", scenario, "world")
    check_agent(options.get("on_message"))


def _check_steps(scenario: Scenario, seed: int, options: Mapping[str, Any], **most: int) -> None:
    _check(scenario, options)
    check_seed(seed)
    for name, value in most.items():
        check_whole(name, value, 1)


def _first_of(seeds: Iterable[int]) -> Iterator[int]:
    """Return the seeds, of which there must be one; there may be no last one."""
    if isinstance(seeds, str | bytes) or not isinstance(seeds, Iterable):
        raise TypeError(f"seeds: expected integers, range(100) for example, got {described(seeds)}")
    left = iter(seeds)
    for first in left:
        return chain((first,), left)
    raise ValueError(f"seeds: expected at least one seed, got {seeds!r}, with which nothing is checked")


async def _simulated(scenario: Scenario, seed: int, options: dict[str, Any]) -> None:
    async with simulate(seed, **options) as world:
        await awaitable("scenario", scenario(world))


class _Countdown(trio.abc.Instrument):
    """Cancels a scope when so many steps have been taken, whichever tasks took them."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self._left = steps
        self._scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


def cancel_at_every_step(scenario: Scenario, seed: int = 0, *, most_steps: int = 5_000, **options: Any) -> int:
    """Run a scenario, cancelled at its first scheduler step, its second, and so on; returns how many there were.

    ``options`` are those of :func:`~actors.testing.simulate`. Raises
    :class:`~actors.testing.Mismatched` for the first step after which an
    invariant does not hold; TypeError and ValueError as :func:`run_seeds`.
    """
    _check_steps(scenario, seed, options, most_steps=most_steps)
    for step in range(1, most_steps + 1):
        if run(lambda seed: _cancelled(scenario, seed, step, options), seed):  # noqa: B023 - it is called at once
            return step - 1
    raise RuntimeError(f"expected a scenario of at most {most_steps} steps, got a longer one")


async def _cancelled(scenario: Scenario, seed: int, steps: int, options: dict[str, Any]) -> bool:
    """Run a scenario once; True if it was through before its step came."""
    done = False
    async with simulate(seed, **{"faulty": False, **options}) as world:
        with trio.CancelScope() as scope:
            countdown = _Countdown(steps, scope)
            trio.lowlevel.add_instrument(countdown)
            try:
                await awaitable("scenario", scenario(world))
                done = True
            finally:
                trio.lowlevel.remove_instrument(countdown)
        world.note("scenario", f"cancelled at step {steps}" if not done else "through")
    return done


def fail_every_store_call(
    scenario: Scenario, fault: Fault = "unwritten", seed: int = 0, *, most_calls: int = 1_000, **options: Any
) -> int:
    """Run a scenario with the first commit of its store failing, the second, and so on; returns how many there were.

    ``full``: it says that it wrote nothing. ``unwritten``: it did not write, and does not say so.
    ``unanswered``: it wrote, and does not say so.
    """
    _check_steps(scenario, seed, options, most_calls=most_calls)
    check_word("fault", fault, Fault)
    for call in range(1, most_calls + 1):
        if run(lambda seed: _failed(scenario, fault, seed, call, options), seed):  # noqa: B023 - it is called at once
            return call - 1
    raise RuntimeError(f"expected a scenario of at most {most_calls} calls of the store, got more")


async def _failed(scenario: Scenario, fault: Fault, seed: int, call: int, options: dict[str, Any]) -> bool:
    """Run a scenario once; True if it made fewer calls."""
    async with simulate(seed, **{"faulty": False, "store_seconds": _STORE_SECONDS, **options}) as world:
        journal = world.store.journal
        journal.fail_call, journal.fail_with = call, fault
        await awaitable("scenario", scenario(world))
        calls = journal.calls
        journal.fail_call = 0
    return calls < call
