"""Events as devices receive them; a module of its own because both roles of the protocol need no more of events."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An event as devices receive it."""

    type: str
    payload: dict[str, Any]
    thread_id: str
    run_id: str | None = None
    event_id: str | None = None
    timestamp: float = 0.0
    traceparent: str | None = None
    seq: int
    seq0: int | None = None
    offset: int


@attrs.frozen
class Position:
    """The log and the offset at which the store placed an event, once and for ever."""

    user_id: str
    epoch: str
    offset: int


@attrs.frozen(kw_only=True)
class History:
    """Events of one thread, oldest first, and the ranges that are not among them."""

    thread_id: str
    events: tuple[Event, ...]
    gone: tuple[tuple[int, int], ...]
    """Ranges of ``seq`` within the request that are no longer retained, or were placed for a former owner."""
    head_seq: int
    """The thread's newest ``seq``; 0 when it has none."""
    more: bool
    """True if there are later events, beyond the limit."""
