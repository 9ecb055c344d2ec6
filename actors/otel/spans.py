"""Spans of OpenTelemetry, as the runtime sees them: of runs, of tools, and of events beside runs.

What a span is current in is a task's context variables: a block that makes it
current does so for the task that runs the block, on whichever event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from actors.kernel.failures import Barrier
from actors.observability.tracer import NO_SPAN, Outcome, Span
from actors.otel import conventions
from actors.receipts import Receipt

_RUN = contexts.create_key("actors-run")
"""The run in whose code a context is current."""

_W3C = TraceContextTextMapPropagator()


def traceparent_of(span: SpanContext) -> str | None:
    """Return the ``traceparent`` of a span, by W3C whatever propagator the program uses; ``None`` for no span."""
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def context_of(traceparent: str) -> Context:
    """Return a context in which the span of a ``traceparent`` is current, and nothing else."""
    return _W3C.extract({"traceparent": traceparent}, context=Context())


class OtelSpan:
    """One span. Where the code of an exporter or a sampler raises, ``barrier`` reports it, and the span is of no effect
    from then on."""

    def __init__(self, tracer: Tracer, barrier: Barrier, *, span: trace.Span) -> None:
        self.span = span
        self.traceparent: str | None = traceparent_of(span.get_span_context())
        """What an event carries."""
        self._tracer = tracer
        self._barrier = barrier
        self._has_ended = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.traceparent}{' ended' if self._has_ended else ''}>"

    def current(self) -> AbstractContextManager[None]:
        """See :class:`~actors.observability.tracer.Span`."""
        return self._being_current(contexts.get_current)

    def begin_tool(self, name: str, call_id: str) -> Span:
        """See :class:`~actors.observability.tracer.Span`; only in a run."""
        return NO_SPAN

    def emitted(self, receipt: Receipt) -> None:
        """See :class:`~actors.observability.tracer.Span`."""

    def fail(self, type_: str, text: str, error: BaseException | None = None) -> None:
        """See :class:`~actors.observability.tracer.Span`; of no effect once it has ended."""
        if self._has_ended:
            return
        with self._barrier:
            self.span.set_attribute(conventions.ERROR_TYPE, type_)
            self.span.set_status(Status(StatusCode.ERROR, text))
            if isinstance(error, Exception) and _has_text(error):
                self.span.record_exception(error)

    def end(self, outcome: Outcome) -> None:
        """See :class:`~actors.observability.tracer.Span`."""
        if self._has_ended:
            return
        self._has_ended = True
        with self._barrier:
            self.span.set_attribute(conventions.OUTCOME, outcome)
            self.span.end()

    @contextmanager
    def _being_current(self, base: Callable[[], Context]) -> Iterator[None]:
        token = None
        with self._barrier:
            token = contexts.attach(self._added_to(base()))
        try:
            yield
        finally:
            if token is not None:
                contexts.detach(token)

    def _added_to(self, context: Context) -> Context:
        return trace.set_span_in_context(self.span, context)


class RunSpan(OtelSpan):
    """The span of a run."""

    def __init__(
        self, tracer: Tracer, barrier: Barrier, *, span: trace.Span, thread_id: str, run_id: str, is_answer: bool
    ) -> None:
        super().__init__(tracer, barrier, span=span)
        self.run_id = run_id
        self._thread_id = thread_id
        self._is_answer = is_answer

    def current(self) -> AbstractContextManager[None]:
        """See :class:`~actors.observability.tracer.Span`.

        A run that answers a message has a context of its own: its task was
        started in the step of some other code, a run that ended, for example.
        """
        return self._being_current(Context if self._is_answer else contexts.get_current)

    def inside(self) -> Context:
        """Return the context for spans below this one: that of the run's code, if it calls, with its own spans."""
        here = contexts.get_current()
        return here if contexts.get_value(_RUN, here) == self.run_id else self._added_to(Context())

    def begin_tool(self, name: str, call_id: str) -> Span:
        """See :class:`~actors.observability.tracer.Span`."""
        with self._barrier:
            named, attributes = conventions.tool(self._thread_id, name, call_id)
            span = self._tracer.start_span(named, self.inside(), SpanKind.INTERNAL, attributes)
            return OtelSpan(self._tracer, self._barrier, span=span)
        return NO_SPAN

    def _added_to(self, context: Context) -> Context:
        return contexts.set_value(_RUN, self.run_id, super()._added_to(context))


def _has_text(error: Exception) -> bool:
    """False for an exception of which ``str()`` raises: no SDK can record it, and that is its own fault and not the
    exporter's."""
    with Barrier(lambda _: None):
        str(error)
        return True
    return False


Watch = Callable[[Receipt, str, SpanContext], None]
"""Takes an event that was accepted, its type and its span."""


class EmitSpan(OtelSpan):
    """The span of an event beside runs."""

    def __init__(self, tracer: Tracer, barrier: Barrier, *, span: trace.Span, type_: str, watch: Watch) -> None:
        super().__init__(tracer, barrier, span=span)
        self._type = type_
        self._watch = watch

    def emitted(self, receipt: Receipt) -> None:
        """See :class:`~actors.observability.tracer.Span`."""
        with self._barrier:
            self.span.set_attribute(conventions.MESSAGE_ID, receipt.event_id)
            if self.span.is_recording():
                self._watch(receipt, self._type, self.span.get_span_context())
