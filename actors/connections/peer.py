"""The peer of a connection: the ways to it and from it, and how they end. Shared by the connection and its reader."""

from __future__ import annotations

import attrs

from actors.connections.ending import Ending
from actors.connections.pings import Pings
from actors.delivery.announcements import Announcements
from actors.kernel.task_set import TaskSet
from actors.wire.transport import Transport
from actors.wire.websocket import WebSocket


@attrs.frozen(kw_only=True)
class Peer:
    """One device's end of a connection."""

    transport: Transport
    """To it."""
    websocket: WebSocket
    """From it."""
    pings: Pings
    announcements: Announcements
    ending: Ending
    tasks: TaskSet
    """The tasks of what has to wait; none while the connection is idle."""
