"""Blocks of runs: who cancels whom, what is waited for, and that the task's counts come out right."""

from __future__ import annotations

import asyncio

import pytest
import trio

import actors
from actors import RuntimeClosed, aio
from tests.aio.support import payloads_of, run, types_of, until
from tests.aio.test_run import in_thread


def test_a_cancel_of_the_run_cancels_the_block_and_stops_there() -> None:
    """As in ``asyncio.timeout``: the code after the block goes on, and the task's count is what it was."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        steps: list[str] = []

        async def agent() -> int:
            async with thread.run("indexer", run_id="r1"):
                try:
                    steps.append("began")
                    await asyncio.sleep(60)
                finally:
                    await asyncio.sleep(0.01)
                    steps.append("unwound")
            steps.append("after")
            await asyncio.sleep(0)
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        task = asyncio.create_task(agent())
        await until(lambda: steps == ["began"])
        assert await runtime.cancel("r1", reason="user") == actors.Cancellation(("r1",), ())
        assert await task == 0
        assert steps == ["began", "unwound", "after"]
        assert await payloads_of(runtime, "t1", "agent_cancelled") == [{"reason": "user"}]

    in_thread(test)


def test_a_cancel_of_the_task_cancels_the_run_and_goes_on() -> None:
    """``task.cancel()`` is ``agent_cancelled`` by the host, and CancelledError comes out with the right count."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        begun = asyncio.Event()
        counts: list[int] = []

        async def agent() -> None:
            task = asyncio.current_task()
            assert task is not None
            try:
                async with thread.run("indexer"):
                    begun.set()
                    await asyncio.sleep(60)
            finally:
                counts.append(task.cancelling())

        task = asyncio.create_task(agent())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert counts == [1]
        assert await payloads_of(runtime, "t1", "agent_cancelled") == [{"reason": "host"}]

    in_thread(test)


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.002, 0.005, 0.01])
def test_cancelled_by_both_sides_at_once(delay: float) -> None:
    """Whichever comes first, the task is cancelled once, the run once, and no cancellation is left over."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        for n in range(10):
            begun = asyncio.Event()

            async def agent(begun: asyncio.Event = begun, n: int = n) -> None:
                async with thread.run("indexer", run_id=f"r{n}"):
                    begun.set()
                    await asyncio.sleep(60)

            task = asyncio.create_task(agent())
            await begun.wait()
            cancelling = asyncio.create_task(runtime.cancel(f"r{n}"))
            await asyncio.sleep(delay)
            told = task.cancel()
            await asyncio.wait([task])
            await cancelling
            assert task.cancelled() is told
            assert task.cancelling() == int(told)
        assert (await types_of(runtime, "t1")).count("agent_cancelled") == 10

    in_thread(test)


def test_a_timeout_around_a_run_is_one_and_a_timeout_inside_another() -> None:
    """``asyncio.timeout`` works on either side of the block."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02), thread.run("outer"):
                await asyncio.sleep(60)
        async with thread.run("inner") as found:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await found.ask("approval", {"question": "?"}, timeout=60)
            await found.emit("went_on", {})
        assert (await types_of(runtime, "t1"))[-4:] == [
            "agent_cancelled",
            "agent_started",
            "went_on",
            "agent_completed",
        ]

    in_thread(test)


def test_a_block_that_ignores_its_cancel_is_cancelled_all_the_same() -> None:
    """The run's last event is decided; a result that still comes is kept; no cancellation is left over."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        begun = asyncio.Event()

        async def agent() -> int:
            async with thread.run("indexer", run_id="r1") as found:
                begun.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    found.result = "half"
            await asyncio.sleep(0)
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        task = asyncio.create_task(agent())
        await begun.wait()
        await runtime.cancel("r1")
        assert await task == 0
        assert await payloads_of(runtime, "t1", "agent_cancelled") == [{"reason": "application", "result": "half"}]

    in_thread(test)


def test_a_cancel_that_comes_while_the_block_does_not_wait() -> None:
    """A block that ends by itself in the same turn leaves no cancellation behind for the code after it."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        task = asyncio.current_task()
        assert task is not None
        for n in range(20):
            async with thread.run("indexer", run_id=f"r{n}") as found:
                runtime.bridge.soon(found.inner.cancel, "user")
                await runtime.bridge.ask(lambda: None)
            await asyncio.sleep(0)
            assert task.cancelling() == 0

    in_thread(test)


@pytest.mark.parametrize("turns", range(8))
def test_cancelled_while_it_begins(turns: int) -> None:
    """A task that is cancelled at any moment of the beginning leaves no run that is active, and no half of one."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async def agent() -> None:
            async with thread.run("indexer"):
                await asyncio.sleep(60)

        for _ in range(10):
            task = asyncio.create_task(agent())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        types = await types_of(runtime, "t1")
        assert types.count("agent_started") == types.count("agent_cancelled")
        assert await runtime.bridge.ask(lambda: len(runtime.runtime.tree.runs.registry.active)) == 0

    in_thread(test)


def test_a_child_run_is_cancelled_with_its_parent() -> None:
    """Both end as cancelled, the child first, in one cancellation of the task."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        begun = asyncio.Event()

        async def agent() -> None:
            async with thread.run("parent", run_id="r1") as parent, parent.run("child"):
                begun.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(agent())
        await begun.wait()
        await runtime.cancel("r1", reason="user")
        await task
        assert task.cancelling() == 0
        events = (await runtime.read("t1")).events
        assert [(one.type, one.run_id) for one in events[2:]] == [
            ("agent_cancelled", "r1.1"),
            ("agent_cancelled", "r1"),
        ]

    in_thread(test)


def test_runs_side_by_side_in_a_task_group() -> None:
    """Children that run at once are tasks of the host; one that fails cancels the others."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            await runtime.bind("t1", "alice")

            async def child(parent: aio.Run, name: str) -> None:
                async with parent.run(name):
                    if name == "bad":
                        raise LookupError(name)
                    await asyncio.sleep(60)

            with pytest.raises(ExceptionGroup):  # noqa: PT012 - the whole block is what is tested
                async with runtime.thread("t1").run("parent") as parent, asyncio.TaskGroup() as group:
                    for name in ("good", "fine", "bad"):
                        group.create_task(child(parent, name))
            types = await types_of(runtime, "t1")
            assert types.count("agent_cancelled") == 2
            assert types.count("agent_failed") == 2

    run(main)


def test_the_end_of_the_runtime_ends_the_blocks_in_other_tasks() -> None:
    """A block that is there when the host leaves is cancelled as by a client; what comes after it finds it closed."""

    async def main() -> None:
        begun, steps = asyncio.Event(), []

        async def agent(thread: aio.Thread) -> None:
            async with thread.run("indexer"):
                begun.set()
                try:
                    await asyncio.sleep(60)
                finally:
                    await asyncio.sleep(0.01)
                    steps.append("unwound")
            steps.append("after")

        async with aio.open_runtime() as runtime:
            task = asyncio.create_task(agent(runtime.thread("t1")))
            await begun.wait()
        await task
        assert steps == ["unwound", "after"]
        assert task.cancelling() == 0
        with pytest.raises(RuntimeClosed):
            async with runtime.thread("t1").run("late"):
                pytest.fail("it is closed")

    run(main)


def test_anyio_s_scopes_are_exact_too() -> None:
    """A scope of anyio's, which cancels again in each turn, ends at the block, at a call, and around the runtime."""
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None

        async def slow() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.02)

        async def agent(thread: aio.Thread, name: str) -> None:
            async with thread.run("agent", run_id=name):
                await anyio.sleep(60)

        with anyio.move_on_after(0.2) as around:
            async with aio.open_runtime() as runtime:
                await runtime.bind("t1", "alice")
                thread = runtime.thread("t1")
                with anyio.move_on_after(0.01) as scope:
                    await runtime.bridge.call(slow)
                assert scope.cancelled_caught
                async with anyio.create_task_group() as group:
                    for name in ("a", "b"):
                        group.start_soon(agent, thread, name)
                    await until(lambda: len(runtime.runtime.tree.runs.registry.active) == 2)
                    await runtime.cancel("a")
                    group.cancel_scope.cancel()
                assert await payloads_of(runtime, "t1", "agent_cancelled") == [
                    {"reason": "application"},
                    {"reason": "host"},
                ]
                assert task.cancelling() == 0
                await anyio.sleep(60)
        assert around.cancelled_caught
        assert task.cancelling() == 0

    run(main)
