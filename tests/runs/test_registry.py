"""The registry of runs: an id is one run's, and a cancel waits a moment for a run to be known."""

from __future__ import annotations

import trio
import trio.testing

import actors
from actors.runs.registry import RunRegistry
from actors.runs.roster import Roster
from actors.runs.run import Run

LIMITS = actors.Limits()


def registry(owner: str | None = "alice") -> RunRegistry:
    return RunRegistry(Roster(lambda _: owner, lambda _: ()), lambda _: owner, limits=LIMITS)


def run(runtime: actors.Runtime, run_id: str = "r1") -> Run:
    return runtime.tree.runs.new("t1", "bot", run_id)


async def test_what_is_known_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """A run is known from its beginning until after its end, to its thread's owner and to the application alone."""
    async with actors.open_runtime() as runtime:
        known, one = registry(), run(runtime)
        known.add(one)
        for _ in ("active", "ended"):
            began = trio.current_time()
            assert await known.becomes_known("r1", "alice")
            assert await known.becomes_known("r1", None)
            assert trio.current_time() == began
            assert not await known.becomes_known("r1", "bob")
            assert trio.current_time() == began + LIMITS.cancel_hold_seconds
            known.end(one)
        assert known.find("r1") is None


async def test_what_becomes_known(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """A cancel that overtakes its run waits for it, several at once, and leaves nothing when it is cancelled."""
    async with actors.open_runtime() as runtime:
        known, found = registry(), list[bool]()

        async def cancel() -> None:
            found.append(await known.becomes_known("r1", "alice"))

        for _ in range(2):
            nursery.start_soon(cancel)
        with trio.move_on_after(LIMITS.cancel_hold_seconds / 2):
            await known.becomes_known("r2", None)
        known.add(run(runtime))
        await trio.testing.wait_all_tasks_blocked()
        assert found == [True, True]
        assert not known._awaited


async def test_a_run_that_was_abandoned_is_found_until_it_leaves() -> None:
    """One that was closed without its code keeps its id until that ends, whatever another run leaves."""
    async with actors.open_runtime() as runtime:
        known, one = registry(), run(runtime)
        known.add(one)
        known.abandon(one)
        known.end(one)
        assert known.find("r1") is one
        known.leave(run(runtime))
        assert known.find("r1") is one
        assert repr(known) == "<RunRegistry 0 active, 1 abandoned>"
        known.leave(one)
        assert known.find("r1") is None
