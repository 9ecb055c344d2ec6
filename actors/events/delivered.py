"""An event as devices receive it; a module of its own because both roles of the protocol need no more of events."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An event as devices receive it."""

    type: str
    payload: dict[str, Any]
    thread_id: str
    run_id: str | None = None
    event_id: str | None = None
    timestamp: float = 0.0
    seq: int
    seq0: int | None = None
    offset: int
