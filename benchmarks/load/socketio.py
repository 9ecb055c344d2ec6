"""Devices of Socket.IO, over its WebSocket transport."""

from __future__ import annotations

from typing import ClassVar

import attrs

from benchmarks.framing import socketio
from benchmarks.framing.rfc6455 import TEXT, client_frame, upgrade_request
from benchmarks.load.websocket import Plain


@attrs.define(eq=False)
class SocketIO(Plain):
    """A client in the main namespace, which acks nothing because recovery goes by the offsets of its events."""

    name: ClassVar[str] = "socket.io"

    def greeting(self) -> bytes:
        """Return the handshake's request."""
        return upgrade_request(self.port, socketio.PATH)

    def on_upgraded(self) -> None:
        """Wait, because the server speaks first."""

    def message(self, inbox: bytearray, start: int, stop: int, now: float) -> None:
        """Count events, and handle what the protocol itself says, which is rare."""
        if self.count(inbox, start, stop, now):
            return
        text = bytes(inbox[start:stop])
        if text.startswith(socketio.CONNECT):
            self.become_ready()
        elif text.startswith(socketio.OPEN):
            self.send(client_frame(TEXT, socketio.connect(self.user_id)))
        elif text == socketio.PING:
            self.send(client_frame(TEXT, socketio.PONG))
        else:
            self.lose(f"got {text!r}")
