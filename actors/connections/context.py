"""The neighbours of a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import attrs

from actors.context import Context
from actors.delivery.announcements import Item
from actors.kernel.mailbox import Mailbox
from actors.protocol.client_messages import Request
from actors.users.presence import Presence, UserMessage
from actors.wire.readiness import Readiness
from actors.wire.traffic import Traffic

if TYPE_CHECKING:  # because it works with these
    from actors.connections.actor import Connection


@attrs.frozen(kw_only=True)
class ConnectionContext(Context):
    """The neighbours of a connection, shared by all of them."""

    follow: Callable[[str], Awaitable[Mailbox[UserMessage]]]
    """Follows a user's log; returns the address of the user's actor."""
    answer: Callable[[Request, str, str], Awaitable[bytes]]
    """Carries out a request of a user and a session; returns the reply."""
    readiness: Readiness
    """Tells when a socket can be read."""
    mark: Callable[[Presence], None]
    """Asks the flusher to write to a user's devices in this tick."""
    hear: Callable[[Connection, float], None]
    """Notes a sign of life, at a time."""
    forget: Callable[[Connection], None]
    """Forgets a connection that listens no more."""
    traffic: Traffic
    """Counts what is written to sockets."""
    heard_at: Callable[[Connection], float | None] = lambda connection: None
    """Returns the time of a connection's last sign of life, if it is listened for."""
    pinged_at: Callable[[Connection], float | None] = lambda connection: None
    """Returns the time from which on an answer to a ping is waited for, if one is."""
    pending: Callable[[str, str | None], list[Item]]
    """Lists the active runs and the open questions in a user's threads, or in one of them."""

    def note_resume(self, path: str, verdict: str) -> None:
        """Tell the instruments where a device was told to begin."""
        if self.instruments.resumed is not None:
            self.instruments.resumed(path, verdict)
