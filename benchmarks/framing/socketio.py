"""Socket.IO 5 packets on Engine.IO 4, over its WebSocket transport."""

from __future__ import annotations

import json

PATH = "/socket.io/?EIO=4&transport=websocket"
OPEN, PING, PONG, CONNECT, EVENT = b"0", b"2", b"3", b"40", b"42"
"""What a message begins with: Engine.IO's type, and for a message of its own Socket.IO's."""


def connect(user: str) -> bytes:
    """Build the request for the main namespace, as a user."""
    return CONNECT + json.dumps({"user": user}).encode()
