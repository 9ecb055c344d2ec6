"""WebSocket frames (RFC 6455): a client's short ones out, a server's in; and a server's text frames."""

from __future__ import annotations

import struct

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
"""First bytes of the expected frames, all with FIN, because no server here has a reason to fragment."""

HEADER_BYTES = 16
"""Padding after a buffer, so that a header that its end cuts off can be read without a check."""

UPGRADED = b"HTTP/1.1 101 "


def client_frame(first: int, payload: bytes) -> bytes:
    """Build a client frame of up to 65,535 bytes. Its mask is zero, which is legal and costs this process nothing."""
    if len(payload) < 126:
        return struct.pack("!BBI", first, 0x80 | len(payload), 0) + payload
    return struct.pack("!BBHI", first, 0x80 | 126, len(payload), 0) + payload


def server_frame(payload: bytes) -> bytes:
    """Build a server's text frame of up to 65,535 bytes."""
    if len(payload) < 126:
        return struct.pack("!BB", TEXT, len(payload)) + payload
    return struct.pack("!BBH", TEXT, 126, len(payload)) + payload


def extent(inbox: bytearray, at: int) -> tuple[int, int]:
    """Return the start and the stop of the payload of the server frame at ``at``.

    For an incomplete header the length is meaningless, but its start is already
    behind the end of the data, and so is its stop.
    """
    length = inbox[at + 1]
    start = at + 2
    if length == 126:
        start += 2
        length = int.from_bytes(inbox[start - 2 : start])
    elif length == 127:
        start += 8
        length = int.from_bytes(inbox[start - 8 : start])
    return start, start + length


def upgrade_request(port: int, path: str, protocol: str | None = None) -> bytes:
    """Build the request of a handshake, with the key of RFC 6455's example."""
    offer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    ).encode()


UPGRADE_RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
"""The answer to a request with the key of RFC 6455's example."""
