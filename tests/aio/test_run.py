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
from actors import IdempotencyConflict, RunEnded, Unencodable, aio
from tests.aio.support import payloads_of, run, types_of


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
            async with found.tool("c"):
                runtime.bridge.soon(found.inner.cancel, "user")
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
