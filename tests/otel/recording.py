"""Spans of the SDK, kept in memory: each with its name, its kind, and the span that it is below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
"""The span of a client, which is not among those that are kept."""


class Recording:
    """A provider, and the spans that have ended."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("application")

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """In the order in which they have ended."""
        found: Sequence[ReadableSpan] = self._exporter.get_finished_spans()
        return found

    @property
    def names(self) -> list[str]:
        """Their names, sorted."""
        return sorted(span.name for span in self.spans)

    def named(self, name: str) -> ReadableSpan:
        """The one span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def attributes(self, name: str) -> dict[str, Any]:
        """The attributes of the one span of this name."""
        return dict(self.named(name).attributes or {})

    def above(self, name: str) -> str | None:
        """The name of the span that a span is below; its id if it is not kept, None if it is below none."""
        parent = self.named(name).parent
        if parent is None:
            return None
        kept: dict[int, str] = {span.context.span_id: span.name for span in self.spans if span.context is not None}
        return kept.get(parent.span_id, f"{parent.span_id:016x}")


def traceparent_of(span: ReadableSpan) -> str:
    """The traceparent of a span that has ended."""
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"
