"""Bytes as each server writes them, for a connection of the load client that has no server."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import attrs

from benchmarks.framing import mqtt, nats
from benchmarks.framing.rfc6455 import BINARY, UPGRADE_RESPONSE, server_frame
from benchmarks.load.connection import Connection, inbox_for_all
from benchmarks.load.mqtt import Mqtt
from benchmarks.load.nats import Nats
from benchmarks.load.socketio import SocketIO
from benchmarks.load.totals import Totals
from benchmarks.load.websocket import Actors, Plain

INBOX = inbox_for_all()


def event(n: int, due: float = 0.5) -> bytes:
    """An event as a server encodes it."""
    payload = {"n": n, "due": due, "text": "x" * 130}
    words = {"type": "agent_delta", "payload": payload, "thread_id": "t", "seq": n, "offset": n}
    return json.dumps(words, separators=(",", ":")).encode()


def binary(payload: bytes) -> bytes:
    """A server's binary frame."""
    return bytes([BINARY]) + server_frame(payload)[1:]


def delivery(n: int) -> bytes:
    """An event as JetStream pushes it."""
    body = event(n)
    return b"MSG deliver.d 1 $JS.ACK.events.d.1.%d.%d.0.0 %d\r\n%s\r\n" % (n, n, len(body), body)


@attrs.frozen
class Stream:
    """One protocol: what the server says before the first event, and how it writes an event."""

    kind: type[Connection]
    opening: bytes
    event: Callable[[int], bytes]


STREAMS = [
    Stream(Plain, UPGRADE_RESPONSE, lambda n: server_frame(event(n))),
    Stream(
        Actors,
        UPGRADE_RESPONSE
        + server_frame(b'{"op":"welcome","session":"s","epoch":"e","head":0}')
        + server_frame(b'{"op":"caught_up","offset":0}'),
        lambda n: server_frame(event(n)),
    ),
    Stream(
        SocketIO,
        UPGRADE_RESPONSE + server_frame(b'0{"sid":"a"}') + server_frame(b'40{"sid":"b"}'),
        lambda n: server_frame(b'42["event",' + event(n) + b',"offset"]'),
    ),
    Stream(
        Mqtt,
        b"\x20\x02\x00\x00" + b"\x90\x03\x00\x01\x01",
        lambda n: mqtt.publish("user-0", mqtt.packet_id_of(n), event(n)),
    ),
    Stream(
        Nats,
        UPGRADE_RESPONSE + binary(b'INFO {}\r\nMSG _INBOX.d 2 20\r\n{"stream_name":"events"}\r\n'),
        lambda n: binary(delivery(n)),
    ),
]


@attrs.define
class Wire:
    """A connection on a socket that records what it sent, fed in pieces of any size."""

    connection: Connection
    sent: list[bytes] = attrs.field(factory=list)

    def feed(self, piece: bytes) -> None:
        """Receive a piece."""
        connection = self.connection
        held = connection.rest
        INBOX[: len(held)] = held
        end = len(held) + len(piece)
        INBOX[len(held) : end] = piece
        at = connection.read(INBOX, end, 1.0)
        connection.rest = bytes(INBOX[at:end])


@attrs.frozen
class RecordedSocket:
    """The part of a socket that a connection writes to."""

    sent: list[bytes]

    def send(self, data: bytes) -> int:
        """Keep the data."""
        self.sent.append(data)
        return len(data)


def wire(kind: type[Connection]) -> Wire:
    """Make a connection without a server."""
    found = Wire(kind(port=1, number=0, user=0, totals=Totals(mark=0.0)))
    found.connection.socket = RecordedSocket(found.sent)  # type: ignore[assignment]
    return found


def packet_id(n: int) -> bytes:
    """The bytes of the id with which an event of MQTT was sent."""
    return struct.pack("!H", mqtt.packet_id_of(n))


def ack_subject(n: int) -> bytes:
    """The subject to which JetStream wants the ack of an event."""
    found = delivery(n).split(b" ")[3]
    assert found.startswith(nats.ACK_PREFIX)
    return found
