"""The fields of an event in the order in which they are encoded."""

from __future__ import annotations

import math
from typing import Any

import msgspec


class Envelope(msgspec.Struct, omit_defaults=True, gc=False):
    """An event as its emitter encodes it, before it has numbers."""

    type: str
    payload: Any
    thread_id: str
    run_id: str | None = None
    event_id: str = ""
    timestamp: float = math.nan
    traceparent: str | None = None
    """Behind the time, because it is no part of what an event says: one of the same id is the same under another
    span."""
