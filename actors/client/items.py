"""The state of a session, and the results of its requests; its items are those of every device."""

from __future__ import annotations

from typing import Literal

import attrs


@attrs.frozen(kw_only=True)
class Cancellation:
    """The result of cancelling a run and those below it."""

    run_id: str
    stopped: tuple[str, ...]
    running: tuple[str, ...]
    """Runs whose code had not stopped after 5 seconds; they are closed all the same, and emit nothing more."""


@attrs.frozen(kw_only=True)
class State:
    """The state of a session."""

    name: Literal["connecting", "open", "waiting", "paused", "ended"]
    """``waiting`` for the next attempt; ``paused``, without a connection, until the application takes its items."""
    text: str = ""
    """The reason: what ended the last connection."""
    code: int | None = None
    """The close code of the last connection."""
    failures: int = 0
    """Failed connections in a row: those that brought nothing new."""
    seconds: float = 0.0
    """Seconds until the next attempt, with ``waiting``."""
