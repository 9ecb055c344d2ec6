"""A traced runtime: the spans of real runs, over real sockets, and what they are below."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from opentelemetry import trace as otel
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode

import actors
import actors.otel
from actors.client import Session, connect
from actors.runs.run import TERMINAL
from tests.otel.recording import SPAN_ID, TRACE_ID, TRACEPARENT, Recording, traceparent_of
from tests.support.served import PATIENCE_SECONDS, Served, served


class Failed(Exception):
    """An error of an agent's."""


async def history(runtime: actors.Runtime, thread_id: str = "t1") -> list[tuple[str, str | None]]:
    """The events of a thread, each with its trace."""
    return [(one.type, one.traceparent) for one in (await runtime.read(thread_id)).events]


@asynccontextmanager
async def device(server: Served) -> AsyncIterator[Session]:
    """A device of alice's, over a socket."""
    assert isinstance(server.address, tuple)
    host, port = server.address
    async with connect(f"ws://{host}:{port}/ws", token="alice") as session:
        yield session


async def events(session: Session, run_id: str | None) -> list[actors.Event]:
    """The events up to the last one of a run."""
    found: list[actors.Event] = []
    async for item in session:
        if isinstance(item, actors.Event):
            found.append(item)
            if item.run_id == run_id and item.type in TERMINAL:
                break
    return found


async def test_a_message_of_a_browser_with_a_tool_and_a_child_run() -> None:
    """One trace, from the span of the client's that sent the message down to those of the agent's own code."""
    recording = Recording()

    async def assistant(run: actors.Run, message: actors.Message) -> str:
        with recording.tracer.start_as_current_span("llm"):
            for _ in range(50):
                run.delta("token ")
        async with run.tool("search", call_id="call_7") as tool:
            with recording.tracer.start_as_current_span("GET"):
                tool.result = {"found": 1}
        async with run.run("critic") as critic:
            with recording.tracer.start_as_current_span("llm of the critic"):
                critic.delta("good")
        await run.emit("progress", {"pct": 100})
        return "done"

    async with served(on_message=assistant) as server, device(server) as session:
        actors.otel.trace(server.runtime, recording.provider)
        sent = await session.send({"text": "hi"}, traceparent=TRACEPARENT)
        seen: dict[str, list[str | None]] = {}
        for event in await events(session, sent.run_id):
            seen.setdefault(event.type, []).append(event.traceparent)
        assert list(server.runtime.failures) == []
    assert {span.context.trace_id for span in recording.spans if span.context} == {int(TRACE_ID, 16)}
    assert {name: recording.above(name) for name in recording.names} == {
        "invoke_agent assistant": SPAN_ID,
        "llm": "invoke_agent assistant",
        "execute_tool search": "invoke_agent assistant",
        "GET": "execute_tool search",
        "invoke_agent critic": "invoke_agent assistant",
        "llm of the critic": "invoke_agent critic",
    }
    run, child = recording.named("invoke_agent assistant"), recording.named("invoke_agent critic")
    assert run.kind is SpanKind.INTERNAL
    assert run.status.status_code is StatusCode.UNSET
    assert recording.attributes("invoke_agent assistant") == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "assistant",
        "gen_ai.conversation.id": sent.thread_id,
        "trio_actors.run.id": sent.run_id,
        "trio_actors.outcome": "completed",
    }
    assert recording.attributes("execute_tool search") == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.id": "call_7",
        "gen_ai.conversation.id": sent.thread_id,
        "trio_actors.outcome": "completed",
    }
    assert seen.pop("user_message") == [TRACEPARENT]
    assert seen.pop("agent_started") == [traceparent_of(run), traceparent_of(child)]
    assert {trace for traces in seen.values() for trace in traces} == {None}


async def test_a_run_that_fails() -> None:
    """Its span, and that of the tool that failed, have the type of the error, as the events do; and the error."""
    recording = Recording()

    async def assistant(run: actors.Run, message: actors.Message) -> None:
        async with run.tool("search"):
            raise Failed("no index")

    async with served(on_message=assistant) as server, device(server) as session:
        actors.otel.trace(server.runtime, recording.provider)
        sent = await session.send({})
        assert (await events(session, sent.run_id))[-1].type == "agent_failed"
    for name in ("execute_tool search", "invoke_agent assistant"):
        assert recording.named(name).status.status_code is StatusCode.ERROR
        assert recording.named(name).status.description == "no index"
        assert recording.attributes(name)["error.type"] == "Failed"
        assert recording.attributes(name)["trio_actors.outcome"] == "failed"
    (event,) = recording.named("invoke_agent assistant").events
    assert event.name == "exception"
    assert recording.above("invoke_agent assistant") is None


async def test_a_run_that_is_cancelled() -> None:
    """It is no error; the tool that it was in was cancelled, too."""
    recording, began = Recording(), trio.Event()

    async def assistant(run: actors.Run, message: actors.Message) -> None:
        async with run.tool("search"), run.run("critic"):
            began.set()
            await trio.sleep_forever()

    async with served(on_message=assistant) as server, device(server) as session:
        actors.otel.trace(server.runtime, recording.provider)
        sent = await session.send({})
        assert sent.run_id is not None
        await began.wait()
        await session.cancel(sent.run_id)
        assert (await events(session, sent.run_id))[-1].type == "agent_cancelled"
    assert recording.names == ["execute_tool search", "invoke_agent assistant", "invoke_agent critic"]
    for name in recording.names:
        assert recording.attributes(name)["trio_actors.outcome"] == "cancelled"
        assert recording.named(name).status.status_code is StatusCode.UNSET
        assert "error.type" not in recording.attributes(name)
    assert recording.above("invoke_agent critic") == "execute_tool search"


async def test_events_beside_runs() -> None:
    """Each has a span below that of its emitter, and carries it to devices; repetitions and tokens change nothing."""
    recording = Recording()
    async with actors.open_runtime() as runtime:
        actors.otel.trace(runtime, recording.provider)
        thread = runtime.thread("t1")
        with recording.tracer.start_as_current_span("request"):
            receipt = await thread.emit("report_ready", {"pages": 3}, user_id="alice")
            thread.emit_nowait("progress", {}, event_id="p1")
        await thread.emit("said", {}, traceparent=TRACEPARENT)
        for _ in range(3):
            await thread.emit("agent_delta", {"text": "x"})
            await thread.emit("step", {}, run_id="of a program elsewhere")
        found = [one for one in await history(runtime) if one[1] is not None]
    assert recording.names == ["request", "send progress", "send report_ready", "send said"]
    assert [recording.above(name) for name in recording.names] == [None, "request", "request", SPAN_ID]
    types = ["report_ready", "progress", "said"]
    assert found == [(type_, traceparent_of(recording.named(f"send {type_}"))) for type_ in types]
    assert recording.named("send report_ready").kind is SpanKind.PRODUCER
    assert recording.attributes("send report_ready") == {
        "messaging.system": "trio_actors",
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
        "messaging.destination.name": "thread",
        "messaging.message.conversation_id": "t1",
        "messaging.message.id": receipt.event_id,
        "trio_actors.event.type": "report_ready",
        "trio_actors.outcome": "completed",
    }
    assert recording.attributes("send progress")["messaging.message.id"] == "p1"


async def test_an_emit_that_is_refused() -> None:
    """Its span has the error, whatever the caller handed in."""
    recording = Recording()
    async with actors.open_runtime() as runtime:
        actors.otel.trace(runtime, recording.provider)
        thread = runtime.thread("t1")
        with pytest.raises(actors.Unencodable):
            await thread.emit("bad", {"a": object()})
        for type_ in ("half \ud83d", 7):
            with pytest.raises(actors.Unencodable):
                thread.emit_nowait(type_, {})  # type: ignore[arg-type] # as callers do
        with trio.CancelScope() as scope:
            scope.cancel()
            await thread.emit("late", {})
        assert list(runtime.failures) == []
    assert recording.names == ["send bad", "send half ?", "send int", "send late"]
    for name in recording.names[:3]:
        assert recording.attributes(name)["error.type"] == "Unencodable"
        assert recording.named(name).status.status_code is StatusCode.ERROR
    assert recording.attributes("send late")["trio_actors.outcome"] == "cancelled"


async def test_a_message_of_the_host() -> None:
    """``Thread.send`` has a span, and the run is below it, though it runs in a task of its own."""
    recording, seen = Recording(), list[str | None]()

    async def assistant(run: actors.Run, message: actors.Message) -> None:
        seen.append(message.traceparent)

    async with actors.open_runtime(on_message=assistant) as runtime:
        actors.otel.trace(runtime, recording.provider)
        with recording.tracer.start_as_current_span("webhook"):
            sent = await runtime.thread("t1").send({"text": "hi"}, user_id="alice")
        await runtime.drain(PATIENCE_SECONDS)
        assert list(runtime.failures) == []
    assert seen == [traceparent_of(recording.named("send user_message"))]
    assert recording.above("send user_message") == "webhook"
    assert recording.above("invoke_agent assistant") == "send user_message"
    assert recording.attributes("send user_message")["messaging.message.id"] == sent.event_id


async def test_a_run_is_not_below_the_one_that_ended_for_it() -> None:
    """A message that waits for its turn is started in the step in which another run ends; its trace is its own."""
    recording, seen = Recording(), list[bool]()

    async def assistant(run: actors.Run, message: actors.Message) -> None:
        seen.append(otel.get_current_span().get_span_context().is_valid)
        with recording.tracer.start_as_current_span(f"code of {message.payload['n']}"):
            await trio.lowlevel.checkpoint()

    async with served(on_message=assistant) as server, server.peer() as peer:
        actors.otel.trace(server.runtime, recording.provider)
        await server.runtime.bind("t1", "alice")
        await peer.attach("alice")
        for n in range(3):
            await peer.say({"op": "send", "id": f"c{n}", "thread_id": "t1", "payload": {"n": n}})
        done = 0
        while done < 3:
            done += (await peer.next_event())["type"] == "agent_completed"
    runs = [span for span in recording.spans if span.name == "invoke_agent assistant"]
    assert [span.parent for span in runs] == [None] * 3
    assert len({span.context.trace_id for span in runs if span.context}) == 3
    assert seen == [True] * 3
    for n, run in enumerate(runs):
        parent = recording.named(f"code of {n}").parent
        assert parent is not None
        assert run.context is not None
        assert parent.span_id == run.context.span_id


async def test_a_run_that_is_cancelled_before_its_turn() -> None:
    """It has a span as it has a first and a last event, below its message."""
    recording, begun = Recording(), trio.Event()

    async def assistant(run: actors.Run, message: actors.Message) -> None:
        begun.set()
        await trio.sleep_forever()

    async with served(on_message=assistant) as server, device(server) as session:
        actors.otel.trace(server.runtime, recording.provider)
        first = await session.send({})
        await begun.wait()
        second = await session.send({}, thread_id=first.thread_id, traceparent=TRACEPARENT)
        assert second.run_id is not None
        await session.cancel(second.run_id)
        told = await events(session, second.run_id)
        assert [one.type for one in told if one.run_id == second.run_id] == ["agent_started", "agent_cancelled"]
        assert recording.above("invoke_agent assistant") == SPAN_ID
        assert recording.attributes("invoke_agent assistant")["trio_actors.outcome"] == "cancelled"
        assert told[-2].traceparent == traceparent_of(recording.named("invoke_agent assistant"))


async def test_a_run_of_the_application() -> None:
    """``Thread.run`` is below the span that is current where it is opened, which is current again after it."""
    recording = Recording()
    async with actors.open_runtime() as runtime:
        actors.otel.trace(runtime, recording.provider)
        with recording.tracer.start_as_current_span("job") as job:
            async with runtime.thread("t1").run("indexer") as run:
                assert otel.get_current_span() is not job
                await trio.lowlevel.checkpoint()
                call = await run.tool_started("embed")
                run.tool_completed(call.call_id, error="no model")
                await run.tool_started("left open")
            assert otel.get_current_span() is job
        async with runtime.thread("t1").run("other", traceparent=TRACEPARENT):
            pass
    assert recording.above("invoke_agent indexer") == "job"
    assert recording.above("execute_tool embed") == "invoke_agent indexer"
    assert recording.attributes("execute_tool embed")["error.type"] == "ToolError"
    assert recording.attributes("execute_tool left open")["error.type"] == "RunEnded"
    assert recording.above("invoke_agent other") == SPAN_ID


async def test_a_run_that_cannot_begin() -> None:
    """Its span ends all the same."""
    recording = Recording()
    async with actors.open_runtime() as runtime:
        actors.otel.trace(runtime, recording.provider)
        runtime.tree.emitter.closed = True
        with pytest.raises(actors.RuntimeClosed):
            async with runtime.thread("t1").run("indexer"):
                pytest.fail("it was refused")
        runtime.tree.emitter.closed = False
    assert recording.attributes("invoke_agent indexer")["trio_actors.outcome"] == "refused"


async def test_what_is_not_sampled() -> None:
    """A trace that its client does not sample has no spans, and goes on with its flags."""
    recording = Recording(ParentBased(ALWAYS_OFF))
    unsampled = f"{TRACEPARENT[:-2]}00"
    async with actors.open_runtime() as runtime:
        actors.otel.trace(runtime, recording.provider)
        await runtime.thread("t1").emit("step", {}, user_id="alice", traceparent=unsampled)
        async with runtime.thread("t1").run("indexer", traceparent=unsampled) as run, run.tool("search"):
            pass
        carried = [trace for _, trace in await history(runtime) if trace is not None]
    assert recording.names == []
    assert len(carried) == 2
    for trace in carried:
        assert trace.startswith(f"00-{TRACE_ID}-")
        assert trace.endswith("-00")


async def test_without_an_sdk_traces_pass_through() -> None:
    """With OpenTelemetry's API alone nothing is recorded, and an event carries the trace that its emitter named."""
    async with actors.open_runtime() as runtime:
        actors.otel.trace(runtime, otel.NoOpTracerProvider())
        await runtime.thread("t1").emit("step", {}, user_id="alice", traceparent=TRACEPARENT)
        await runtime.thread("t1").emit("step", {})
        async with runtime.thread("t1").run("indexer", traceparent=TRACEPARENT), runtime.thread("t1").run("other"):
            pass
        assert [trace for type_, trace in await history(runtime) if type_ in {"step", "agent_started"}] == [
            TRACEPARENT,
            None,
            TRACEPARENT,
            TRACEPARENT,
        ]


class Broken(Sampler):  # type: ignore[misc] # the SDK is not installed wherever the types are checked
    """A sampler with a bug."""

    def should_sample(self, *args: Any, **options: Any) -> SamplingResult:
        raise ZeroDivisionError("a bug in the sampler")

    def get_description(self) -> str:
        return "broken"


async def test_what_raises_ends_the_tracing_and_nothing_else() -> None:
    """It is one failure of the tracer; the event and the run are there, with the trace that was named."""
    recording = Recording(Broken())
    async with actors.open_runtime() as runtime:
        actors.otel.trace(runtime, recording.provider)
        await runtime.thread("t1").emit("step", {}, user_id="alice", traceparent=TRACEPARENT)
        async with runtime.thread("t1").run("indexer", traceparent=TRACEPARENT) as run, run.tool("search"):
            pass
        (failure,) = runtime.failures
        assert failure.path == "tracer"
        assert runtime.instruments.tracer is None
        assert [trace for _, trace in await history(runtime)] == [TRACEPARENT, TRACEPARENT, None, None, None]


async def test_what_cannot_be_traced() -> None:
    """A runtime is traced once; anything else is none."""
    recording = Recording()
    async with actors.open_runtime() as runtime:
        with pytest.raises(TypeError, match="runtime"):
            actors.otel.trace("runtime")  # type: ignore[arg-type] # as callers do
        with pytest.raises(ValueError, match="settle_every"):
            actors.otel.trace(runtime, recording.provider, settle_every=0)
        actors.otel.trace(runtime, recording.provider)
        assert repr(runtime.instruments.tracer) == "<OtelTracer <Settlements one of 64, of 0 events>>"
        with pytest.raises(RuntimeError, match="not traced yet"):
            actors.otel.trace(runtime, recording.provider)


async def test_nothing_of_opentelemetry_below() -> None:
    """The rest of the package runs without OpenTelemetry, and imports none of it."""
    program = "import sys, actors, actors.aio; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = await trio.run_process([sys.executable, "-c", program], capture_stdout=True)
    assert msgspec.json.decode(done.stdout) == []
