"""Settlements: a span for the ack of an event, linked to the event's own, for one event of many.

A link and not a child, because the ack comes when a device does, perhaps days
later. One of many, because a device acks hundreds of events at once.
"""

from __future__ import annotations

from collections import deque

import attrs
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, Tracer

from actors.kernel.bounded import RecentMap
from actors.observability.instrument import Instrument
from actors.otel import conventions
from actors.receipts import Receipt

_USERS = 256
"""Users of whose events some wait for an ack; beyond them the oldest are forgotten."""
_EVENTS = 8
"""Events that wait, of one user, and of threads whose owner is not known yet: each ack looks at these."""


@attrs.frozen(kw_only=True)
class _Waiting:
    """An event that waits for its ack."""

    receipt: Receipt
    type: str
    span: SpanContext


class Settlements(Instrument):
    """Watches one of ``every`` events that it is given, beginning with the first."""

    def __init__(self, tracer: Tracer, every: int) -> None:
        self._tracer = tracer
        self._every = every
        self._count = 0
        self._unplaced: deque[_Waiting] = deque(maxlen=_EVENTS)
        self._of_users: RecentMap[str, deque[_Waiting]] = RecentMap(_USERS)

    def __repr__(self) -> str:
        return f"<Settlements one of {self._every}, of {self._count} events>"

    def watch(self, receipt: Receipt, type_: str, span: SpanContext) -> None:
        """Take an event that was accepted, and its span."""
        self._count += 1
        if (self._count - 1) % self._every == 0:
            self._unplaced.append(_Waiting(receipt=receipt, type=type_, span=span))

    def acked(self, user_id: str, epoch: str, first: int, last: int, fresh: int) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        if self._unplaced:
            self._file()
        waiting = self._of_users.get(user_id) if fresh else None
        for one in tuple(waiting or ()):
            position = one.receipt.position
            if position is None or position.epoch != epoch or position.offset > last:
                continue
            assert waiting is not None, "there is one"
            waiting.remove(one)
            if position.offset >= first:
                self._tell(one)

    def _file(self) -> None:
        """Put events under their owners, once they have any; forget those that are lost."""
        unplaced, self._unplaced = self._unplaced, deque(maxlen=_EVENTS)
        for one in unplaced:
            position = one.receipt.position
            if position is None:
                if not one.receipt.stage.final:
                    self._unplaced.append(one)
                continue
            waiting = self._of_users.get(position.user_id) or deque(maxlen=_EVENTS)
            waiting.append(one)
            self._of_users.put(position.user_id, waiting)

    def _tell(self, one: _Waiting) -> None:
        name, attributes = conventions.settle(one.receipt.thread_id, one.type, one.receipt.event_id)
        links = [Link(one.span)]
        self._tracer.start_span(name, Context(), SpanKind.CLIENT, attributes, links).end()
