"""A line: calls have their turn in the order in which they joined, whichever tasks run first."""

from __future__ import annotations

from random import Random

import pytest
import trio
import trio.testing

from actors.aio.line import Line


@pytest.mark.parametrize("seed", range(20))
async def test_the_order_is_that_of_joining(seed: int) -> None:
    """Whatever order the tasks start in, and whichever are cancelled before, in or after their turn."""
    random, line, done = Random(seed), Line(), []

    def call(n: int, scope: trio.CancelScope):  # type: ignore[no-untyped-def]
        async def act() -> None:
            await trio.lowlevel.checkpoint()
            done.append(n)

        joined = line.join(act)

        async def task() -> None:
            with scope:
                await joined()

        return task

    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(20)]
        tasks = [call(n, scope) for n, scope in enumerate(scopes)]
        cancelled = random.sample(range(20), 8)
        random.shuffle(tasks)
        for task in tasks:
            nursery.start_soon(task)
        for n in cancelled:
            scopes[n].cancel()
            await trio.lowlevel.checkpoint()
    assert done == sorted(done)
    assert set(range(20)) - set(cancelled) <= set(done)
    assert line.empty


async def test_a_call_that_passes_lets_the_next_go() -> None:
    """It waits for its turn, and then holds up no other."""
    line, steps, open_ = Line(), [], trio.Event()

    async def ask() -> None:
        steps.append("asked")
        await open_.wait()
        steps.append("answered")

    async def emit() -> None:
        steps.append("emitted")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.join_passing(ask))
        nursery.start_soon(line.join(emit))
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(steps) == ["asked", "emitted"]
        open_.set()
    assert steps[-1] == "answered"


async def test_a_call_that_fails_lets_the_next_go() -> None:
    """An exception is its own."""
    line = Line()

    async def fail() -> None:
        raise LookupError

    first, second = line.join(fail), line.join(trio.lowlevel.checkpoint)
    with pytest.raises(LookupError):
        await first()
    await second()
    assert line.empty
