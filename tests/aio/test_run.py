"""Runs from asyncio: their events, and every way in which one ends."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import actors
from actors import IdempotencyConflict, RunEnded, RuntimeClosed, Unencodable, aio
from tests.aio.support import payloads_of, run, types_of, until


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[aio.Runtime, aio.Thread]]:
    """A runtime, and a thread of alice's."""
    async with aio.open_runtime(**options) as runtime:
        await runtime.bind("t1", "alice")
        yield runtime, runtime.thread("t1")
        assert [str(one) for one in await runtime.failures()] == []


def in_thread(test: Callable[[aio.Runtime, aio.Thread], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a test with a runtime; nothing of ours may fail."""

    async def main() -> None:
        async with opened(**options) as (runtime, thread):
            await test(runtime, thread)

    run(main)


def test_a_block_is_a_run() -> None:
    """Its events are there in the order in which the code emitted them, between the first and the last."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("indexer", run_id="r1") as found:
            assert (found.run_id, found.thread_id, found.agent_name) == ("r1", "t1", "indexer")
            await found.thinking("hm")
            found.delta("one ")
            found.delta("two")
            receipt = await found.emit("progress", {"pct": 50})
            found.delta("three")
            async with found.tool("weather", {"city": "Oslo"}) as tool:
                tool.result = {"sky": "clear"}
            found.result = {"pages": 3}
        assert await types_of(runtime, "t1") == [
            "agent_started",
            "agent_thinking",
            "agent_delta",
            "progress",
            "agent_delta",
            "tool_executing",
            "tool_completed",
            "agent_completed",
        ]
        assert receipt.seq == 4
        assert await payloads_of(runtime, "t1", "agent_delta") == [{"text": "one two"}, {"text": "three"}]
        assert await payloads_of(runtime, "t1", "agent_completed") == [{"result": {"pages": 3}}]

    in_thread(test)


def test_what_a_block_raises_comes_out_as_it_is() -> None:
    """The run has failed with the type and text of the exception, whose traceback is the block's own."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            await runtime.bind("t1", "alice")
            error = LookupError("no such page")
            with pytest.raises(LookupError) as caught:  # noqa: PT012 - the whole block is what is tested
                async with runtime.thread("t1").run("indexer") as found:
                    found.delta("so far")
                    raise error
            assert caught.value is error
            assert "block.py" not in [Path(entry.path).name for entry in caught.traceback]
            assert await types_of(runtime, "t1") == ["agent_started", "agent_delta", "agent_failed"]
            (failed,) = await payloads_of(runtime, "t1", "agent_failed")
            assert failed["error"] == {"type": "LookupError", "message": "no such page"}
            assert len(await runtime.failures()) == 1

    run(main)


@pytest.mark.parametrize("error", [SystemExit(2), ExceptionGroup("several", [KeyError(1), KeyError(2)])])
def test_unusual_exceptions_come_out_too(error: BaseException) -> None:
    """SystemExit and groups end the run as failed, and nothing else."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            await runtime.bind("t1", "alice")
            found: BaseException | None = None
            try:
                async with runtime.thread("t1").run("indexer"):
                    raise error
            except BaseException as caught:  # noqa: BLE001 - SystemExit is one of them
                found = caught
            assert found is error
            assert await types_of(runtime, "t1") == ["agent_started", "agent_failed"]

    run(main)


def test_a_result_that_json_cannot_carry_is_the_blocks_error() -> None:
    """The run has failed, and the error comes out of the block."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            await runtime.bind("t1", "alice")
            with pytest.raises(Unencodable, match=r"payload\.result\.n"):
                async with runtime.thread("t1").run("indexer") as found:
                    found.result = {"n": float("nan")}
            assert await types_of(runtime, "t1") == ["agent_started", "agent_failed"]

    run(main)


# --- cancellation ---------------------------------------------------------------


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


def test_a_run_that_was_closed_says_so() -> None:
    """Code that goes on after its run's end gets RunEnded from each call that waits, and then from ``delta``."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("indexer") as found:
            pass
        for act in (
            found.emit("x", {}),
            found.thinking("x"),
            found.flushed(),
            found.tool_started("x"),
            found.ask("x", {}, timeout=1),
        ):
            with pytest.raises(RunEnded):
                await act
        found.delta("x")
        await runtime.bridge.ask(lambda: None)
        await asyncio.sleep(0)
        await runtime.bridge.ask(lambda: None)
        with pytest.raises(RunEnded):
            found.delta("y")

    in_thread(test)


# --- tools ------------------------------------------------------------------------


def test_a_tool_has_the_frameworks_own_id() -> None:
    """``call_id`` is in both events; the same one again is refused, and nothing is emitted for it."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("indexer") as found:
            async with found.tool("weather", call_id="toolu_77") as tool:
                tool.result = 1
            with pytest.raises(IdempotencyConflict, match="toolu_77"):
                await found.tool_started("weather", call_id="toolu_77")
            with pytest.raises(Unencodable):
                await found.tool_started("weather", call_id="")
        assert await payloads_of(runtime, "t1", "tool_executing") == [
            {"tool_name": "weather", "tool_call_id": "toolu_77", "arguments": {}}
        ]
        (completed,) = await payloads_of(runtime, "t1", "tool_completed")
        assert (completed["tool_call_id"], completed["ok"], completed["result"]) == ("toolu_77", True, 1)

    in_thread(test)


def test_a_tool_that_fails_or_is_cancelled_is_completed() -> None:
    """``tool_completed`` names the error; that of a cancelled tool is Trio's, and comes before the run's end."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("indexer", run_id="r1") as found:
            with pytest.raises(LookupError):
                async with found.tool("a"):
                    raise LookupError("gone")
            with pytest.raises(Unencodable, match=r"payload\.result"):
                async with found.tool("b") as tool:
                    tool.result = datetime
            runtime.bridge.soon(found.inner.cancel, "user")
            async with found.tool("c"):
                await asyncio.sleep(60)
        errors = [one["error"]["type"] for one in await payloads_of(runtime, "t1", "tool_completed")]
        assert errors == ["LookupError", "Unencodable", "Cancelled"]
        assert (await types_of(runtime, "t1"))[-1] == "agent_cancelled"

    in_thread(test)


def test_tools_that_are_told_of_are_completed_by_the_end_of_the_run() -> None:
    """What a framework started and did not finish is completed with an error, in order, before the last event."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("indexer") as found:
            for call_id in ("a", "b", "c"):
                await found.tool_started("weather", {"city": call_id}, call_id=call_id)
            await found.tool_completed("b", {"sky": "clear"})
            with pytest.raises(Unencodable, match="completed"):
                await found.tool_completed("b")
            with pytest.raises(Unencodable, match="of none"):
                await found.tool_completed("d")
        events = (await runtime.read("t1")).events[-4:]
        assert [one.payload.get("tool_call_id") for one in events] == ["b", "a", "c", None]
        assert [one.payload.get("error", {}).get("type") for one in events] == [None, "RunEnded", "RunEnded", None]

    in_thread(test)


def test_what_is_no_tool_call_is_refused_at_once() -> None:
    """A name that is no text and arguments that are no object raise before anything is emitted."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("indexer") as found:
            wrong: Any
            for wrong in (b"weather", None):
                with pytest.raises(Unencodable, match="name"):
                    await found.tool_started(wrong)
            for wrong in ([1], "x"):
                with pytest.raises(Unencodable, match="arguments"):
                    await found.tool_started("weather", wrong)
        assert await types_of(runtime, "t1") == ["agent_started", "agent_completed"]

    in_thread(test)


def test_an_emit_in_a_run_waits_for_room() -> None:
    """With a thread that takes nothing, ``emit`` waits, its cancellation is exact, and the order stays."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("indexer") as found:
            tasks = [asyncio.create_task(found.emit("n", {"n": n}, event_id=f"n{n}")) for n in range(50)]
            found.delta("text")
            receipts = await asyncio.gather(*tasks)
            assert [one.seq for one in receipts] == sorted(one.seq or 0 for one in receipts)
        assert [one["n"] for one in await payloads_of(runtime, "t1", "n")] == list(range(50))

    in_thread(test, limits=actors.Limits(mailbox_messages=1))


def test_a_payload_may_be_changed_after_the_call() -> None:
    """What is emitted is what was handed over, because it is encoded in the caller's step."""

    async def test(runtime: aio.Runtime, thread: aio.Thread) -> None:
        async with thread.run("indexer") as found:
            payload = {"rows": [1, 2, 3]}
            task = asyncio.create_task(found.emit("rows", payload))
            await asyncio.sleep(0)
            payload["rows"].clear()
            await task
        assert await payloads_of(runtime, "t1", "rows") == [{"rows": [1, 2, 3]}]

    in_thread(test)


def test_wouldblock_is_trios() -> None:
    """The one exception of Trio's that an application meets has a name here."""
    assert aio.WouldBlock is trio.WouldBlock
