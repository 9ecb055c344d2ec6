"""The items that a device is given, wherever it is: at the end of a session, or in the process of the server."""

from __future__ import annotations

from typing import Any

import attrs

from actors.events.delivered import Event


@attrs.frozen
class Cursor:
    """A position in a user's log: the offset of the last event that was taken, in an epoch of the log.

    The log may go on in another epoch, in which the same event has the same offset.
    """

    epoch: str
    offset: int
    """0 before the first event."""


@attrs.frozen
class Gap:
    """Events that left the log before the server could send them: the client was away for too long, or too slow."""

    first: int
    """Offset of the first one."""
    last: int
    cause: str


@attrs.frozen
class Reset:
    """The log began anew, in another epoch. Forget what is shown: all its events follow, from ``low`` on."""

    epoch: str
    low: int
    cause: str = ""
    """Empty when the server sent a reset; else its violation of the protocol, or its loss of an event that was given
    out, after which this client began anew."""


@attrs.frozen
class CaughtUp:
    """The end of the replay: everything that was in the log when a connection began has been delivered.

    Follows every reconnect, and a gap, a reset or another epoch in the middle of a connection.
    """

    offset: int


@attrs.frozen(kw_only=True)
class Active:
    """An active run that this device has not seen begin; ``cancel(run_id)`` of a session or runtime stops it.

    It comes once, and is not in the log. The run's last event ends it, or an
    :class:`Inactive`.
    """

    run_id: str
    thread_id: str
    payload: dict[str, Any]
    """The payload of its ``agent_started``: ``agent_name``, ``message_id`` or ``parent_run_id``."""
    event_id: str | None
    timestamp: float | None
    """The time at which it began, in seconds since 1970, for display; ``None`` while it waits."""
    waiting: bool
    """True if it has not begun, because its message waits for its turn. ``agent_started`` follows, or an Active that
    does not wait."""


@attrs.frozen
class Inactive:
    """A run that this device knew as active and that is active no longer; its last event was not seen here."""

    run_id: str
    reason: str
    """``withdrawn`` when its thread now belongs to another user; ``gone`` when it ended unseen, as in a gap."""


@attrs.frozen(kw_only=True)
class Ask:
    """A question of a run; a session answers it with ``session.answer(ask.id, payload)``. It is not in the log."""

    id: str
    type: str
    payload: dict[str, Any]
    thread_id: str
    run_id: str | None
    timestamp: float
    """Seconds since 1970, for display."""
    timeout_s: float | None
    """Seconds for which it stays open, from when the server sent it; ``None``: until it is answered or withdrawn."""


@attrs.frozen
class AskClosed:
    """A question that is open no longer."""

    id: str
    reason: str
    """``answered``, ``expired``, ``withdrawn``; ``gone`` when it was closed while this client was away."""


Item = Event | Gap | Reset | CaughtUp | Active | Inactive | Ask | AskClosed
"""An item that a device is given."""


@attrs.frozen(kw_only=True)
class Sent:
    """A message that the server has placed in a thread."""

    thread_id: str
    event_id: str
    run_id: str | None
    """The run that answers it."""
    epoch: str
    seq: int
    offset: int
