"""Spans as the runtime sees them: what they say in events, where they are current, and when they are of no effect."""

from __future__ import annotations

import logging
from contextvars import copy_context
from functools import partial

import pytest
import trio
from opentelemetry import context as contexts
from opentelemetry import trace as otel
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, TraceFlags

from actors.kernel.failures import Barrier
from actors.observability.tracer import NO_SPAN
from actors.otel.spans import OtelSpan, RunSpan, context_of, traceparent_of
from tests.otel.recording import SPAN_ID, TRACE_ID, TRACEPARENT, Recording


def run_span(recording: Recording, errors: list[BaseException] | None = None, *, is_answer: bool = False) -> RunSpan:
    """The span of a run."""
    barrier = Barrier((errors if errors is not None else []).append)
    span = recording.tracer.start_span("run")
    make = partial(RunSpan, recording.tracer, barrier, span=span, thread_id="t1", run_id="r1")
    return make(is_answer=is_answer)


def here() -> SpanContext:
    """The span that is current."""
    return otel.get_current_span().get_span_context()


def test_a_traceparent_there_and_back() -> None:
    """What an event carries names the span, the trace and the flags, whatever propagators a program has."""
    found = otel.get_current_span(context_of(TRACEPARENT)).get_span_context()
    assert (f"{found.trace_id:032x}", f"{found.span_id:016x}") == (TRACE_ID, SPAN_ID)
    assert found.is_remote
    assert traceparent_of(found) == TRACEPARENT
    low = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(0))
    assert traceparent_of(low) == f"00-{1:032x}-{2:016x}-00"
    assert traceparent_of(INVALID_SPAN_CONTEXT) is None


async def test_it_is_current_in_its_block_and_its_tasks() -> None:
    """In the task that runs the block, and in those that it starts there; not in others, and not afterwards."""
    span, seen = run_span(Recording()), dict[str, bool]()
    begun, over = trio.Event(), trio.Event()

    async def look(name: str) -> None:
        begun.set()
        await over.wait()
        seen[name] = here().is_valid

    async with trio.open_nursery() as outer:
        outer.start_soon(look, "before")
        await begun.wait()
        with span.current():
            outer.start_soon(look, "within")
            await trio.lowlevel.checkpoint()
            assert traceparent_of(here()) == span.traceparent
        assert not here().is_valid
        over.set()
    assert seen == {"before": False, "within": True}


async def test_two_runs_at_one_time() -> None:
    """Tasks that go by turns each have their own span."""
    recording = Recording()

    async def look(span: RunSpan) -> None:
        with span.current():
            for _ in range(5):
                assert traceparent_of(here()) == span.traceparent
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(look, run_span(recording))


@pytest.mark.parametrize("is_answer", [False, True])
def test_what_else_is_current(is_answer: bool) -> None:
    """A run of the application has what its task has; one that answers a message has nothing of other code."""
    token = contexts.attach(contexts.set_value("tenant", "a"))
    try:
        with run_span(Recording(), is_answer=is_answer).current():
            assert contexts.get_value("tenant") == (None if is_answer else "a")
        assert contexts.get_value("tenant") == "a"
    finally:
        contexts.detach(token)


def test_a_tool_is_below_the_code_that_calls_it() -> None:
    """Below the span that is current in the run; called from elsewhere, below the run's."""
    recording = Recording()
    run = run_span(recording)
    with run.current(), recording.tracer.start_as_current_span("plan"):
        run.begin_tool("inside", "call_1").end("completed")
    with recording.tracer.start_as_current_span("elsewhere"):
        run.begin_tool("outside", "call_2").end("completed")
    run.end("completed")
    assert recording.above("execute_tool inside") == "plan"
    assert recording.above("execute_tool outside") == "run"


def test_it_ends_once() -> None:
    """Its first outcome counts."""
    recording = Recording()
    span = run_span(recording)
    span.end("cancelled")
    span.fail("Failed", "too late", ValueError())
    span.end("completed")
    assert recording.attributes("run") == {"trio_actors.outcome": "cancelled"}
    assert repr(span) == f"<RunSpan {span.traceparent} ended>"


class BrokenSpan(otel.NonRecordingSpan):
    """A span with a bug in each of its methods."""

    def set_attribute(self, key: str, value: object) -> None:
        raise ZeroDivisionError(key)


def test_what_raises_is_reported() -> None:
    """To the barrier, and not to the run."""
    errors: list[BaseException] = []
    recording = Recording()
    span = OtelSpan(recording.tracer, Barrier(errors.append), span=BrokenSpan(INVALID_SPAN_CONTEXT))
    span.fail("Failed", "text", ValueError())
    span.end("failed")
    assert [str(error) for error in errors] == ["error.type", "trio_actors.outcome"]
    assert span.begin_tool("no run", "call_1") is NO_SPAN


class Mute(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_an_exception_without_a_text() -> None:
    """One of which ``str()`` raises is the fault of the code that raised it: the span has failed, and others go on."""
    errors: list[BaseException] = []
    recording = Recording()
    span = run_span(recording, errors)
    span.fail("Mute", "Mute", Mute())
    span.end("failed")
    (ended,) = recording.spans
    assert (errors, ended.status.is_ok, ended.events) == ([], False, ())


def test_a_block_that_is_left_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    """A generator that is closed in another context leaves that one as it is, and raises nothing."""
    span = run_span(Recording())
    block = span.current()
    copy_context().run(block.__enter__)
    with caplog.at_level(logging.CRITICAL, logger="opentelemetry.context"):
        block.__exit__(None, None, None)
    assert not here().is_valid
