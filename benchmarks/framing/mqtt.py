"""MQTT 3.1.1 packets: a session that stays, one subscription, publishing and its acks at quality of service 1."""

from __future__ import annotations

import struct

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 0x20, 0x30, 0x40, 0x90, 0xD0
"""The types of packets, as the first byte has them in its upper half."""

PERSISTENT_SESSION = 0x00
"""The flags of a CONNECT without a clean session, a will, a user or a password."""

QOS_1 = 0x02
PUBACK_BYTES = 4
FIRST_ID, LAST_ID = 1, 0xFFFF


def _text(words: str) -> bytes:
    return struct.pack("!H", len(words)) + words.encode()


def _packet(first: int, body: bytes) -> bytes:
    length, size = bytearray(), len(body)
    while True:
        size, seven = divmod(size, 128)
        length.append(seven | (0x80 if size else 0))
        if not size:
            return bytes([first]) + bytes(length) + body


def connect(client_id: str) -> bytes:
    """Build a CONNECT to a session that outlives its connection, without a keepalive."""
    return _packet(0x10, _text("MQTT") + bytes([4, PERSISTENT_SESSION]) + struct.pack("!H", 0) + _text(client_id))


def subscribe(topic: str) -> bytes:
    """Build a SUBSCRIBE to one topic at quality of service 1."""
    return _packet(0x82, struct.pack("!H", FIRST_ID) + _text(topic) + b"\x01")


def publish(topic: str, packet_id: int, payload: bytes) -> bytes:
    """Build a PUBLISH at quality of service 1."""
    return _packet(PUBLISH | QOS_1, _text(topic) + struct.pack("!H", packet_id) + payload)


def puback(packet_id: bytes) -> bytes:
    """Build the ack of a PUBLISH, of which the two bytes of its id are given."""
    return b"\x40\x02" + packet_id


def packet_id_of(number: int) -> int:
    """Return the id of the publisher's packet of such a number; ids come round again."""
    return number % LAST_ID + FIRST_ID


def extent(inbox: bytearray, at: int) -> tuple[int, int]:
    """Return the start and the stop of what follows the length of the packet at ``at``.

    For an incomplete header the length is meaningless, but its start is behind the end of the data; the buffer is
    padded as for a WebSocket's header.
    """
    length, shift, start = 0, 0, at + 1
    while True:
        byte = inbox[start]
        start += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80 or shift == 21:
            return start, start + length
        shift += 7


def packet_id_at(inbox: bytearray, start: int) -> bytes:
    """Return the two bytes of the id of the PUBLISH packet with its body at ``start``."""
    topic_bytes = inbox[start] << 8 | inbox[start + 1]
    after = start + 2 + topic_bytes
    return bytes(inbox[after : after + 2])
