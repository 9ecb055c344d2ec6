"""The seam for tracing: a tracer begins spans, and says what events carry of them.

An instrument is told facts, and changes nothing. A tracer is asked: for the
``traceparent`` that goes into an event, and for the context in which an agent's
code runs. There is at most one, and without it every span is an :class:`Untraced`.
:mod:`actors.otel` has the one for OpenTelemetry; nothing below it knows of that.

No method of a tracer or a span raises, or waits.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

from actors.receipts import Receipt

Outcome = Literal["completed", "failed", "cancelled", "refused"]
"""The ways in which what a span is about ends; refused: it did not begin."""


class Span(Protocol):
    """One span: of a run, of a tool's call, or of an event that the application emits."""

    @property
    def traceparent(self) -> str | None:
        """The span in an event, so that others continue the trace; ``None``: the event carries none."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Make it the current span of the code in the block, in whichever thread and event loop."""
        ...

    def begin_tool(self, name: str, call_id: str) -> Span:
        """Begin the span of a tool's call in this run."""
        ...

    def emitted(self, receipt: Receipt) -> None:
        """Take note that the event of this span was accepted."""

    def fail(self, type_: str, text: str, error: BaseException | None = None) -> None:
        """Note the error with which it will end, by the words of the event that tells of it."""

    def end(self, outcome: Outcome) -> None:
        """End it. Idempotent."""


class Tracer(Protocol):
    """Begins the spans of one runtime."""

    def here(self) -> str | None:
        """Return the ``traceparent`` of the calling code, to be given to calls in another loop."""
        ...

    def begin_emit(self, thread_id: str, type_: str, event_id: str | None, traceparent: str | None) -> Span:
        """Begin the span of an event, below ``traceparent``, or else the span that is current here."""
        ...

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
        """Begin the span of a run, below ``traceparent``, ``parent``, or the span that is current here.

        With ``is_answer`` the run answers a message, and what is current here
        is that of some other code.
        """
        ...


class Untraced:
    """The span of what is not traced: of no effect, but that an event may carry the trace that its emitter named."""

    def __init__(self, traceparent: str | None = None) -> None:
        self.traceparent: str | None = traceparent

    def current(self) -> AbstractContextManager[None]:
        return nullcontext()

    def begin_tool(self, name: str, call_id: str) -> Span:
        return self

    def emitted(self, receipt: Receipt) -> None:
        pass

    def fail(self, type_: str, text: str, error: BaseException | None = None) -> None:
        pass

    def end(self, outcome: Outcome) -> None:
        pass


NO_SPAN: Span = Untraced()
