"""Traces in events, where the runtime itself is not traced: each carries the one that its emitter names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import actors
from actors.stores.sqlite.store import SQLiteStore

TRACE, OTHER_TRACE = (
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-" + "1" * 32 + "-" + "2" * 16 + "-00",
)


async def traces(runtime: actors.Runtime, thread_id: str = "t1") -> list[tuple[str, str | None]]:
    """The events of a thread, each with its trace."""
    return [(event.type, event.traceparent) for event in (await runtime.read(thread_id)).events]


async def test_an_event_carries_its_trace() -> None:
    """Emitted with one, waiting or not; and without one it has not a byte more."""
    async with actors.open_runtime() as runtime:
        thread = runtime.thread("t1")
        await thread.emit("step", {}, user_id="alice", traceparent=TRACE)
        thread.emit_nowait("step", {}, traceparent=OTHER_TRACE)
        await thread.emit("step", {})
        assert await traces(runtime) == [("step", TRACE), ("step", OTHER_TRACE), ("step", None)]


async def test_a_repetition_may_be_of_another_trace() -> None:
    """It is the same event all the same, and the first one's trace stays."""
    async with actors.open_runtime() as runtime:
        thread = runtime.thread("t1")
        first = await thread.emit("step", {}, event_id="e", user_id="alice", traceparent=TRACE)
        assert await thread.emit("step", {}, event_id="e", traceparent=OTHER_TRACE) is first
        assert thread.emit_nowait("step", {}, event_id="e") is first
        assert await traces(runtime) == [("step", TRACE)]


async def test_a_trace_that_is_none_is_refused() -> None:
    """Before anything happens, in each call that takes one."""
    bad: dict[str, Any] = {"traceparent": f"{TRACE}\n"}
    async with actors.open_runtime() as runtime:
        thread = runtime.thread("t1")
        with pytest.raises(actors.Unencodable, match="traceparent"):
            await thread.emit("step", {}, **bad)
        with pytest.raises(actors.Unencodable, match="traceparent"):
            await thread.emit("step", {}, run_id="r", **bad)
        with pytest.raises(actors.Unencodable, match="traceparent"):
            thread.emit_nowait("step", {}, **bad)
        with pytest.raises(actors.Unencodable, match="traceparent"):
            await thread.send({}, user_id="alice", **bad)
        with pytest.raises(actors.Unencodable, match="traceparent"):
            async with thread.run("agent", **bad):
                pytest.fail("it was refused")
        async with thread.run("agent") as run:
            with pytest.raises(actors.Unencodable, match="traceparent"):
                async with run.run("child", **bad):
                    pytest.fail("it was refused")
        assert runtime.audit().total.accepted == 2


async def test_a_runs_first_event_stands_for_all() -> None:
    """Of a run's events the first one has the trace, of a child's the same; and no token has one."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        thread = runtime.thread("t1")
        async with thread.run("agent", run_id="r", traceparent=TRACE) as run:
            async with run.tool("search"):
                run.delta("hm")
            await thread.emit("step", {}, run_id="r", traceparent=OTHER_TRACE)
            async with run.run("child"), run.run("other", traceparent=OTHER_TRACE):
                pass
        await thread.emit("agent_delta", {"text": "x"}, traceparent=TRACE)
        found = await traces(runtime)
        begun = [trace for type_, trace in found if type_ == "agent_started"]
        assert begun == [TRACE, TRACE, OTHER_TRACE]
        assert {trace for type_, trace in found if type_ != "agent_started"} == {None}


async def test_a_message_brings_its_trace_to_the_run() -> None:
    """The agent sees it, and the run's first event has it."""
    seen: list[str | None] = []

    async def answer(run: actors.Run, message: actors.Message) -> None:
        seen.append(message.traceparent)

    async with actors.open_runtime(on_message=answer) as runtime:
        await runtime.thread("t1").send({"text": "hi"}, user_id="alice", traceparent=TRACE)
        await runtime.thread("t1").send({"text": "hi"}, user_id="alice")
        await runtime.drain(5)
        assert seen == [TRACE, None]
        found = await traces(runtime)
        for type_ in ("user_message", "agent_started"):
            assert [trace for other, trace in found if other == type_] == [TRACE, None]
        assert {trace for type_, trace in found if type_ == "agent_completed"} == {None}


async def test_a_repetition_after_a_restart_may_be_of_another_trace(tmp_path: Path) -> None:
    """In a store that outlives the runtime it is the same event and the same message, with the first one's trace."""
    begun: list[str | None] = []

    async def answer(run: actors.Run, message: actors.Message) -> None:
        begun.append(message.traceparent)

    path, places, sent = tmp_path / "journal.db", list[object](), list[object]()
    for trace in (TRACE, OTHER_TRACE, None):
        async with actors.open_runtime(store=SQLiteStore(path), on_message=answer) as runtime:
            receipt = await runtime.thread("t1").emit("step", {}, event_id="e", user_id="alice", traceparent=trace)
            await receipt.reached(actors.Stage.STORED)
            places.append(receipt.position)
            sent.append(await runtime.thread("t1").send({}, user_id="alice", message_id="m", traceparent=trace))
            found = await traces(runtime)
            assert found[:2] == [("step", TRACE), ("user_message", TRACE)]
            await runtime.drain(5)
    assert len(set(map(str, places))) == 1
    assert len(set(map(str, sent))) == 1
    assert begun == [TRACE]
