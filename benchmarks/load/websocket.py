"""Devices on WebSockets: plain ones, and those of ``actors.v1``."""

from __future__ import annotations

import json
import re
from typing import ClassVar

import attrs

from benchmarks.framing.rfc6455 import CLOSE, PING, PONG, TEXT, UPGRADED, client_frame, extent, upgrade_request
from benchmarks.load.connection import ACK_EVENTS, Connection

DIGITS = re.compile(rb"\d+")


@attrs.define(eq=False)
class Plain(Connection):
    """A plain WebSocket, which names its user in the path and acks nothing."""

    upgraded: bool = False

    name: ClassVar[str] = "plain"
    data_frame: ClassVar[int] = TEXT

    def greeting(self) -> bytes:
        """Return the handshake's request."""
        return upgrade_request(self.port, f"/{self.user_id}")

    def on_upgraded(self) -> None:
        """Begin to speak, where the protocol has more to say than the handshake."""
        self.become_ready()

    def read(self, inbox: bytearray, end: int, now: float) -> int:
        """Read the whole frames before ``end``."""
        at = 0 if self.upgraded else self._read_head(inbox, end)
        while self.upgraded:
            start, stop = extent(inbox, at)
            if stop > end:
                break
            if inbox[at] == self.data_frame:
                self.message(inbox, start, stop, now)
            else:
                self.control(inbox[at], bytes(inbox[start:stop]))
            at = stop
        return at

    def _read_head(self, inbox: bytearray, end: int) -> int:
        found = inbox.find(b"\r\n\r\n", 0, end)
        if found < 0:
            return 0
        if not inbox.startswith(UPGRADED):
            self.lose(f"expected 101, got {bytes(inbox[:60])!r}")
            return found + 4
        self.upgraded = True
        self.on_upgraded()
        return found + 4

    def message(self, inbox: bytearray, start: int, stop: int, now: float) -> None:
        """Handle one data frame."""
        if not self.count(inbox, start, stop, now):
            self.totals.note(f"{self.device}: got {bytes(inbox[start:stop])!r}")

    def control(self, first: int, payload: bytes) -> None:
        """Handle a control frame of RFC 6455."""
        if first == PING:
            self.send(client_frame(PONG, payload))
        elif first == CLOSE:
            self.lose(f"closed by the server: {payload!r}")
        elif first != PONG:
            self.lose(f"a frame that starts with {first:#04x}")


@attrs.define(eq=False)
class Actors(Plain):
    """A device of ``actors.v1``: it says hello, acks what it received, and resumes where it was."""

    offset: int = 0
    epoch: str = ""
    session: str = ""

    name: ClassVar[str] = "actors.v1"
    acks: ClassVar[bool] = True

    def greeting(self) -> bytes:
        """Return the handshake's request."""
        return upgrade_request(self.port, "/ws", self.name)

    def on_upgraded(self) -> None:
        """Say hello, with the place reached in an earlier connection."""
        hello: dict[str, object] = {"op": "hello", "v": 1, "token": self.user_id}
        if self.epoch:
            hello |= {"session": self.session, "resume": {"epoch": self.epoch, "offset": self.offset}}
        self.say(json.dumps(hello).encode())

    def say(self, text: bytes) -> None:
        """Send a short message."""
        self.send(client_frame(TEXT, text))

    def read(self, inbox: bytearray, end: int, now: float) -> int:
        """Read the whole frames before ``end``, and ack when enough events wait for it."""
        at = Plain.read(self, inbox, end, now)
        found = inbox.rfind(b'"offset":', 0, at)
        if found >= 0 and self.unacked and (digits := DIGITS.match(inbox, found + 9)):
            self.offset = int(digits[0])
        if self.unacked >= ACK_EVENTS:
            self.ack()
        return at

    def ack(self) -> None:
        """Ack all that was received."""
        self.unacked = 0
        self.say(b'{"op":"ack","offset":%d}' % self.offset)

    def message(self, inbox: bytearray, start: int, stop: int, now: float) -> None:
        """Count events, and handle what the protocol itself says, which is rare."""
        if not self.count(inbox, start, stop, now):
            self.operation(bytes(inbox[start:stop]))

    def operation(self, text: bytes) -> None:
        """Handle a message of the protocol."""
        message = json.loads(text)
        match message.get("op"):
            case "welcome":
                self.epoch, self.session = message["epoch"], message["session"]
            case "caught_up":
                self.become_ready()
            case "ping":
                self.say(b'{"op":"pong"}')
            case "gap" | "reset":
                self.totals.note(f"{self.device} was told {text.decode()}")
