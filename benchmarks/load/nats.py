"""Devices of NATS JetStream, over its WebSocket, with a durable consumer each."""

from __future__ import annotations

from typing import ClassVar

import attrs

from benchmarks.framing import nats
from benchmarks.framing.rfc6455 import BINARY, client_frame, upgrade_request
from benchmarks.load.connection import ACK_EVENTS
from benchmarks.load.websocket import Plain


@attrs.define(eq=False)
class Nats(Plain):
    """A client that creates its consumer, or takes it up again, and acks cumulatively."""

    reply: bytes = b""
    carry: bytes = b""

    name: ClassVar[str] = "nats"
    data_frame: ClassVar[int] = BINARY
    acks: ClassVar[bool] = True

    def greeting(self) -> bytes:
        """Return the handshake's request."""
        return upgrade_request(self.port, "/")

    def on_upgraded(self) -> None:
        """Subscribe to what the consumer is pushed to, and create the consumer."""
        deliver, answers = f"deliver.{self.device}", f"_INBOX.{self.device}"
        self.say(
            nats.CONNECT
            + nats.subscribe(deliver, 1)
            + nats.subscribe(answers, 2)
            + nats.create_consumer(self.device, self.user, deliver, answers)
        )

    def say(self, lines: bytes) -> None:
        """Send some lines of the protocol."""
        self.send(client_frame(BINARY, lines))

    def ack(self) -> None:
        """Ack the last event received, and with it all before."""
        if self.reply:
            self.unacked = 0
            self.say(nats.ack(self.reply))

    def message(self, inbox: bytearray, start: int, stop: int, now: float) -> None:
        """Handle a frame, which is a piece of the stream of lines, and usually ends with one."""
        if self.carry or inbox[stop - 2 : stop] != b"\r\n":
            self._join(inbox, start, stop, now)
        else:
            self._lines(inbox, start, stop, now)

    def _join(self, inbox: bytearray, start: int, stop: int, now: float) -> None:
        """Handle a frame that does not begin or end where a line does."""
        joined = bytearray(self.carry + inbox[start:stop])
        end = joined.rfind(b"\r\n") + 2 if b"\r\n" in joined else 0
        self.carry = bytes(joined[end:])
        self._lines(joined, 0, end, now)

    def _lines(self, inbox: bytearray, start: int, stop: int, now: float) -> None:
        found = inbox.rfind(nats.ACK_PREFIX, start, stop)
        if found >= 0:
            self.reply = bytes(inbox[found : inbox.find(b" ", found, stop)])
        if self.count(inbox, start, stop, now):
            if self.unacked >= ACK_EVENTS:
                self.ack()
            return
        self.operation(bytes(inbox[start:stop]))

    def operation(self, lines: bytes) -> None:
        """Handle lines that carry no event."""
        if nats.PING in lines:
            self.say(nats.PONG)
        if b"-ERR" in lines or b'"error":' in lines:
            self.lose(f"got {lines[:200]!r}")
        elif nats.CREATED in lines:
            self.become_ready()
