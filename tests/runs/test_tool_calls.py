"""The calls of tools in a run: one id, one call, one end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio

import actors
from actors import Event, IdempotencyConflict, Limits, RunEnded, Runtime, Unencodable


async def told(runtime: Runtime) -> list[tuple[str, Any, Any]]:
    """The events of tools in t1: type, id of the call, and type of the error."""
    events = (await runtime.read("t1")).events
    return [
        (one.type, one.payload["tool_call_id"], one.payload.get("error", {}).get("type"))
        for one in events
        if one.type.startswith("tool_")
    ]


async def test_an_id_of_the_callers_is_in_both_events() -> None:
    """``call_id`` names the call; without one, ids are made that are new in the run."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.thread("t1").run("agent") as run:
            async with run.tool("a", call_id="call_2"):
                pass
            async with run.tool("b") as first:
                pass
            async with run.tool("c") as second:
                pass
            assert (first.call_id, second.call_id) == ("call_1", "call_3")
        assert [call_id for _, call_id, _ in await told(runtime)] == [
            "call_2",
            "call_2",
            "call_1",
            "call_1",
            "call_3",
            "call_3",
        ]


async def test_an_id_that_the_run_has_had_is_refused() -> None:
    """Open or completed, a second start of an id raises before anything is emitted; another run may have it."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.thread("t1").run("agent") as run:
            await run.tool_started("a", call_id="x")
            with pytest.raises(IdempotencyConflict, match="'x' again"):
                await run.tool_started("a", call_id="x")
            run.tool_completed("x")
            with pytest.raises(IdempotencyConflict):
                async with run.tool("a", call_id="x"):
                    pytest.fail("it was refused")
            async with run.run("child") as child, child.tool("a", call_id="x"):
                pass
            wrong: Any
            for wrong in ("", 1, b"x", "x" * 300):
                with pytest.raises(Unencodable, match="call_id"):
                    await run.tool_started("a", call_id=wrong)
        assert len(await told(runtime)) == 4


async def test_a_start_that_was_not_emitted_gives_its_id_back() -> None:
    """Cancelled, or with arguments that JSON cannot carry, the call may be started again under its id."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.thread("t1").run("agent") as run:
            with trio.CancelScope() as scope:
                scope.cancel()
                await run.tool_started("a", call_id="x")
            with pytest.raises(Unencodable, match=r"payload\.arguments"):
                await run.tool_started("a", {"n": object()}, call_id="x")
            await run.tool_started("a", {"n": 1}, call_id="x")
            run.tool_completed("x", 2)
        assert await told(runtime) == [("tool_executing", "x", None), ("tool_completed", "x", None)]


async def test_a_completion_is_for_an_open_call() -> None:
    """Of none, of a completed one, and after the run's end it raises; a result that cannot travel leaves it open."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.thread("t1").run("agent") as run:
            with pytest.raises(Unencodable, match="of none"):
                run.tool_completed("x")
            await run.tool_started("a", call_id="x")
            with pytest.raises(Unencodable, match=r"payload\.result"):
                run.tool_completed("x", object())
            run.tool_completed("x", error="no such city")
            with pytest.raises(Unencodable, match="of one that is completed"):
                run.tool_completed("x")
            await run.tool_started("a", call_id="y")
            run.tool_completed("y", error=LookupError("gone"))
        with pytest.raises(RunEnded):
            run.tool_completed("x")
        assert [error for type_, _, error in await told(runtime) if type_ == "tool_completed"] == [
            "ToolError",
            "LookupError",
        ]


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled"])
async def test_the_end_of_the_run_completes_what_is_open(ending: str) -> None:
    """Each call that was started is completed before the last event, oldest first, however the run ends."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        with suppress(LookupError):
            async with runtime.thread("t1").run("agent") as run:
                for call_id in ("a", "b"):
                    await run.tool_started("tool", call_id=call_id)
                if ending == "failed":
                    raise LookupError
                if ending == "cancelled":
                    run.cancel("user")
                    await trio.sleep_forever()
        events = (await runtime.read("t1")).events
        assert [one.type for one in events[-3:]] == ["tool_completed", "tool_completed", f"agent_{ending}"]
        error = "Cancelled" if ending == "cancelled" else "RunEnded"
        assert [one.payload["error"]["type"] for one in events[-3:-1]] == [error, error]
        assert [one.payload["tool_call_id"] for one in events[-3:-1]] == ["a", "b"]


async def test_calls_are_completed_in_a_thread_that_is_full() -> None:
    """Completions have reserved places: they wait for no room."""
    async with actors.open_runtime(limits=Limits(mailbox_messages=1)) as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.thread("t1").run("agent") as run:
            for n in range(20):
                await run.tool_started("tool", call_id=f"c{n}")
                run.delta("text ")
        found = await told(runtime)
        assert [one[1] for one in found if one[0] == "tool_completed"] == [f"c{n}" for n in range(20)]


async def test_an_emit_that_does_not_wait_keeps_the_order() -> None:
    """``emit_nowait`` comes after the text so far, refuses the run's own types, and raises after its end."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.thread("t1").run("agent") as run:
            run.delta("text")
            receipt = run.emit_nowait("x", {"n": 1}, event_id="e1")
            assert run.emit_nowait("x", {"n": 1}, event_id="e1") == receipt
            with pytest.raises(Unencodable, match="emits itself"):
                run.emit_nowait("agent_completed", {})
        with pytest.raises(RunEnded):
            run.emit_nowait("x", {})
        types = [one.type for one in (await runtime.read("t1")).events]
        assert types == ["agent_started", "agent_delta", "x", "agent_completed"]


async def test_an_emit_that_does_not_wait_knows_how_far_it_may_be_ahead() -> None:
    """With ``ahead``, ``emit_nowait`` raises WouldBlock where ``emit`` would wait for devices, and emits nothing."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.follow("alice") as followed, runtime.thread("t1").run("agent", ahead=2) as run:
            run.emit_nowait("x", {"n": 1})
            run.emit_nowait("x", {"n": 2})
            with pytest.raises(trio.WouldBlock):
                run.emit_nowait("x", {"n": 3})
            seen = 0
            async for item in followed:
                seen += isinstance(item, Event)
                if seen == 3:
                    break
            run.emit_nowait("x", {"n": 4})
        events = (await runtime.read("t1")).events
        assert [one.payload["n"] for one in events if one.type == "x"] == [1, 2, 4]
