"""Tracing: a runtime's tracer, by OpenTelemetry's API; what becomes of its spans is the SDK's of the application."""

from __future__ import annotations

from opentelemetry import context as contexts
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, TracerProvider

from actors import __version__, aio
from actors.checks import check_instance
from actors.events.event import check_whole
from actors.kernel.failures import Barrier
from actors.observability.tracer import Span, Untraced
from actors.otel import conventions
from actors.otel.settlements import Settlements
from actors.otel.spans import EmitSpan, RunSpan, context_of, traceparent_of
from actors.runtime import Runtime


def trace(
    runtime: Runtime | aio.Runtime, tracer_provider: TracerProvider | None = None, *, settle_every: int = 64
) -> None:
    """Trace a runtime from now on, of Trio or of asyncio; with the global provider, unless another one is given.

        async with actors.open_runtime(on_message=assistant) as runtime:
            actors.otel.trace(runtime)

    A run has a span ``invoke_agent <agent>``, below that of the message that
    it answers, of its parent run, or of the code that opened it; a tool's call
    has ``execute_tool <tool>`` below that. Both are current in the agent's
    code, so that spans of its own, of HTTP clients for example, are below
    them. An event emitted beside runs has ``send <type>``, and the ack of one
    of ``settle_every`` such events ``settle <type>``, linked to it. Tokens
    have none. Messages, first events of runs and events beside runs carry the
    ``traceparent``.

    A sampler, a processor or an exporter that raises is reported in
    ``runtime.failures``, and nothing is traced from then on. Raises TypeError
    for what is no runtime, ValueError for a ``settle_every`` that is no whole
    number from 1 on, and RuntimeError for a runtime that is traced already.
    """
    inner = runtime.runtime if isinstance(runtime, aio.Runtime) else runtime
    check_instance("runtime", inner, Runtime)
    check_whole("settle_every", settle_every, 1)
    instruments = inner.instruments
    if instruments.tracer is not None:
        raise RuntimeError("expected a runtime that is not traced yet, this one is")
    tracer = otel.get_tracer("actors", __version__, tracer_provider)
    settlements = Settlements(tracer, settle_every)

    def give_up(error: BaseException) -> None:
        instruments.tracer = None
        instruments.remove(settlements)
        inner.failures.report("tracer", "a span", error)

    instruments.tracer = OtelTracer(tracer, Barrier(give_up), settlements=settlements)
    if isinstance(runtime, aio.Runtime):
        runtime.bridge.soon(instruments.add, settlements)
    else:
        instruments.add(settlements)


class OtelTracer:
    """Begins the spans of one runtime; the :class:`~actors.observability.tracer.Tracer` of its instruments."""

    def __init__(self, tracer: otel.Tracer, barrier: Barrier, *, settlements: Settlements) -> None:
        self._tracer = tracer
        self._barrier = barrier
        self._settlements = settlements

    def __repr__(self) -> str:
        return f"<OtelTracer {self._settlements!r}>"

    def here(self) -> str | None:
        """See :class:`~actors.observability.tracer.Tracer`."""
        with self._barrier:
            return traceparent_of(otel.get_current_span().get_span_context())
        return None

    def begin_emit(self, thread_id: str, type_: str, event_id: str | None, traceparent: str | None) -> Span:
        """See :class:`~actors.observability.tracer.Tracer`."""
        with self._barrier:
            context = contexts.get_current() if traceparent is None else context_of(traceparent)
            type_ = _text(type_)
            name, attributes = conventions.emit(thread_id, type_)
            if event_id is not None:
                attributes[conventions.MESSAGE_ID] = _text(event_id)
            span = self._tracer.start_span(name, context, SpanKind.PRODUCER, attributes)
            return EmitSpan(self._tracer, self._barrier, span=span, type_=type_, watch=self._settlements.watch)
        return Untraced(traceparent)

    def begin_run(
        self,
        thread_id: str,
        run_id: str,
        agent_name: str,
        *,
        parent: Span | None,
        traceparent: str | None,
        is_answer: bool,
    ) -> Span:
        """See :class:`~actors.observability.tracer.Tracer`."""
        with self._barrier:
            if traceparent is not None:
                context = context_of(traceparent)
            elif isinstance(parent, RunSpan):
                context = parent.inside()
            else:
                context = Context() if is_answer else contexts.get_current()
            name, attributes = conventions.run(thread_id, run_id, agent_name)
            span = self._tracer.start_span(name, context, SpanKind.INTERNAL, attributes)
            return RunSpan(
                self._tracer, self._barrier, span=span, thread_id=thread_id, run_id=run_id, is_answer=is_answer
            )
        return Untraced(traceparent)


def _text(value: object) -> str:
    """Return a text that an exporter can encode; what is none is about to be refused by the encoder of events."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else type(value).__name__
