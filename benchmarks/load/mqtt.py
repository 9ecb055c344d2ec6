"""Devices of an MQTT broker, over TCP, with quality of service 1 and a session that stays."""

from __future__ import annotations

from typing import ClassVar

import attrs

from benchmarks.framing import mqtt
from benchmarks.load.connection import Connection


@attrs.define(eq=False)
class Mqtt(Connection):
    """A client with a session of its own, which acks each event, because the protocol has no cumulative ack."""

    name: ClassVar[str] = "mqtt"

    def greeting(self) -> bytes:
        """Return the CONNECT."""
        return mqtt.connect(self.device)

    def read(self, inbox: bytearray, end: int, now: float) -> int:
        """Read the whole packets before ``end``, and ack the events among them in one write."""
        at, acks = 0, b""
        while at < end:
            start, stop = mqtt.extent(inbox, at)
            if stop > end:
                break
            kind = inbox[at] & 0xF0
            if kind == mqtt.PUBLISH:
                self.count(inbox, start, stop, now)
                acks += mqtt.puback(mqtt.packet_id_at(inbox, start))
            else:
                self.operation(kind, bytes(inbox[start:stop]))
            at = stop
        if acks:
            self.send(acks)
        return at

    def operation(self, kind: int, body: bytes) -> None:
        """Handle a packet that carries no event."""
        if kind == mqtt.CONNACK and body[1] == 0:
            self.send(mqtt.subscribe(self.user_id))
        elif kind == mqtt.SUBACK:
            self.become_ready()
        elif kind != mqtt.PINGRESP:
            self.lose(f"expected CONNACK or SUBACK, got {kind:#04x} {body!r}")
