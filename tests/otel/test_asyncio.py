"""A traced runtime of asyncio: spans are current in code of the host's loop, and begin below what is current there."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace as otel

import actors
import actors.otel
from actors import aio
from tests.aio.support import events_of, run, served
from tests.otel.recording import SPAN_ID, TRACEPARENT, Recording, traceparent_of


def test_an_agent_that_answers() -> None:
    """The run's span is current in its coroutine and in what that starts, the tool's in its block; a run in the tool is
    below it."""
    recording = Recording()

    async def http(name: str) -> None:
        with recording.tracer.start_as_current_span(name):
            await asyncio.sleep(0)

    async def assistant(run: aio.Run, message: actors.Message) -> str:
        await http("llm")
        await asyncio.create_task(http("in a task"))
        await asyncio.to_thread(lambda: recording.tracer.start_span("in a thread").end())
        async with run.tool("search"):
            await http("GET")
            async with run.run("critic") as critic:
                critic.delta("good")
                await http("llm of the critic")
        call = await run.tool_started("embed")
        await run.tool_completed(call.call_id, 1)
        return "done"

    async def main() -> None:
        async with served(on_message=assistant) as (runtime, alice):
            actors.otel.trace(runtime, recording.provider)
            await alice.session.send({"text": "hi"}, traceparent=TRACEPARENT)
            assert await alice.saw("agent_completed", 2) == {"result": "done"}
            assert await runtime.failures() == ()

    run(main)
    assert {name: recording.above(name) for name in recording.names} == {
        "invoke_agent assistant": SPAN_ID,
        "llm": "invoke_agent assistant",
        "in a task": "invoke_agent assistant",
        "in a thread": "invoke_agent assistant",
        "execute_tool search": "invoke_agent assistant",
        "GET": "execute_tool search",
        "invoke_agent critic": "execute_tool search",
        "llm of the critic": "invoke_agent critic",
        "execute_tool embed": "invoke_agent assistant",
    }


def test_calls_of_the_host() -> None:
    """Events, messages and runs are below the span that is current in the calling task, or the one that is named."""
    recording = Recording()

    async def assistant(run: aio.Run, message: actors.Message) -> None:
        pass

    async def main() -> None:
        async with aio.open_runtime(on_message=assistant) as runtime:
            actors.otel.trace(runtime, recording.provider)
            thread = runtime.thread("t1")
            with recording.tracer.start_as_current_span("request"):
                await thread.emit("report_ready", {"pages": 3}, user_id="alice")
                await thread.send({"text": "hi"}, user_id="alice")
                async with thread.run("indexer") as found:
                    assert otel.get_current_span().get_span_context().is_valid
                    await found.emit("progress", {})
            await thread.emit("said", {}, traceparent=TRACEPARENT)
            await thread.emit("alone", {})
            await runtime.drain(60)
            traced = [one for one in await events_of(runtime) if one.traceparent is not None]
            assert {one.type: one.traceparent for one in traced if one.type != "agent_started"} == {
                "report_ready": traceparent_of(recording.named("send report_ready")),
                "user_message": traceparent_of(recording.named("send user_message")),
                "said": traceparent_of(recording.named("send said")),
                "alone": traceparent_of(recording.named("send alone")),
            }
            assert await runtime.failures() == ()

    run(main)
    assert {name: recording.above(name) for name in recording.names} == {
        "request": None,
        "send report_ready": "request",
        "send user_message": "request",
        "invoke_agent assistant": "send user_message",
        "invoke_agent indexer": "request",
        "send said": SPAN_ID,
        "send alone": None,
    }


def test_a_thread_without_room_makes_one_span() -> None:
    """An emit that has to wait is one span, and no refused one before it."""
    recording = Recording()

    async def main() -> None:
        limits = actors.Limits(mailbox_messages=1)
        async with aio.open_runtime(limits=limits) as runtime:
            actors.otel.trace(runtime, recording.provider)
            thread = runtime.thread("t1")
            await asyncio.gather(*(thread.emit("step", {}, user_id="alice") for _ in range(20)))

    run(main)
    assert recording.names == ["send step"] * 20
    assert {(span.attributes or {}).get("error.type") for span in recording.spans} == {None}


def test_untraced_and_named() -> None:
    """Without a tracer the trace that a call names goes with it; what is none is refused."""

    async def main() -> None:
        async with aio.open_runtime() as runtime:
            thread = runtime.thread("t1")
            await thread.emit("step", {}, user_id="alice", traceparent=TRACEPARENT)
            await thread.send({}, user_id="alice", traceparent=TRACEPARENT)
            async with thread.run("indexer", traceparent=TRACEPARENT) as found, found.run("child"):
                pass
            with pytest.raises(actors.Unencodable, match="traceparent"):
                await thread.emit("step", {}, traceparent="00-1")
            carried = [one.type for one in await events_of(runtime) if one.traceparent == TRACEPARENT]
            assert carried == ["step", "user_message", "agent_started", "agent_started"]

    run(main)
