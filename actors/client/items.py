"""What comes out of a session, and what its requests return."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from actors.events.delivered import Event


@attrs.frozen
class Cursor:
    """A place in a user's log: the last event that was taken, in an epoch of the log."""

    epoch: str
    offset: int
    """0 before the first event."""


@attrs.frozen
class Gap:
    """Events that left the log before they came here: the client was away for too long, or too slow."""

    first: int
    """Offset of the first one."""
    last: int
    cause: str


@attrs.frozen
class Reset:
    """The log is another one. Forget what is shown: everything that is there comes, from ``low``."""

    epoch: str
    low: int
    cause: str = ""
    """Empty when the server said so; else what it did against the protocol, so that this client began anew."""


@attrs.frozen
class CaughtUp:
    """Everything that was in the log when a connection began has come.

    Follows every reconnect, and a gap or reset in the middle of a connection.
    """

    offset: int


@attrs.frozen(kw_only=True)
class Active:
    """A run is active that this session has not seen begin; ``session.cancel(run_id)`` stops it.

    It comes once, and is not in the log. That the run has ended is said by its
    last event, or by :class:`Inactive`.
    """

    run_id: str
    thread_id: str
    payload: dict[str, Any]
    """That of its ``agent_started``: ``agent_name``, ``message_id`` or ``parent_run_id``."""
    event_id: str | None
    timestamp: float | None
    """When it began, seconds since 1970, for display; ``None`` while it waits."""
    waiting: bool
    """It has not begun: its message waits for its turn. ``agent_started`` follows, or an Active that does not wait."""


@attrs.frozen
class Inactive:
    """A run that was active, as far as this session was told, is so no more, and its last event was not seen here."""

    run_id: str
    reason: str
    """``withdrawn`` when its thread is another user's now; ``gone`` when it ended unseen: in a gap, for example."""


@attrs.frozen(kw_only=True)
class Ask:
    """A question of a run; ``session.answer(ask.id, payload)`` answers it. It comes once, and is not in the log."""

    id: str
    type: str
    payload: dict[str, Any]
    thread_id: str
    run_id: str | None
    timestamp: float
    """Seconds since 1970, for display."""
    timeout_s: float | None
    """How long it will be open, from when it was sent here; ``None``, until it is answered or withdrawn."""


@attrs.frozen
class AskClosed:
    """A question is open no more."""

    id: str
    reason: str
    """``answered``, ``expired``, ``withdrawn``; ``gone`` when it was closed while this client was away."""


Item = Event | Gap | Reset | CaughtUp | Active | Inactive | Ask | AskClosed
"""What a session is iterated over for."""


@attrs.frozen(kw_only=True)
class Sent:
    """A message that was placed."""

    thread_id: str
    event_id: str
    run_id: str | None
    """The run that answers it."""
    epoch: str
    seq: int
    offset: int


@attrs.frozen(kw_only=True)
class Cancellation:
    """What became of a run that was to end, and of those below it."""

    run_id: str
    stopped: tuple[str, ...]
    running: tuple[str, ...]
    """Those whose code had not stopped after 5 seconds; they are closed all the same, and say nothing more."""


@attrs.frozen(kw_only=True)
class State:
    """How a session stands."""

    name: Literal["connecting", "open", "waiting", "paused", "ended"]
    """``waiting`` for the next attempt; ``paused``, without a connection until the application takes what has come."""
    text: str = ""
    """Why: what ended the last connection."""
    code: int | None = None
    """The close code of that."""
    failures: int = 0
    """Connections in a row that came to nothing."""
    seconds: float = 0.0
    """With ``waiting``: how long."""
