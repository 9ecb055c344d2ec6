"""The frames that the server sends itself, built without an engine.

A server does not mask, so an event's frame is a header of two to ten bytes and
the event's own text: the same bytes for every device. Going through the
protocol engine would cost 6 µs per event and device for the same result
(tests compare the two). Everything else about WebSockets is the engine's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from wsproto.frame_protocol import FrameProtocol

_SHORT = tuple(struct.pack("!BB", 0x81, size) for size in range(126))
_MEDIUM = struct.Struct("!BBH")
_LONG = struct.Struct("!BBQ")

PING = bytes(FrameProtocol(client=False, extensions=[]).ping())
"""A ping without a payload."""

_CLOSE_OPCODE = 0x88


def header(size_bytes: int) -> bytes:
    """The header of a whole, unmasked text message of a size (RFC 6455, section 5.2)."""
    if size_bytes < 126:
        return _SHORT[size_bytes]
    if size_bytes < 65_536:
        return _MEDIUM.pack(0x81, 126, size_bytes)
    return _LONG.pack(0x81, 127, size_bytes)


def text_frame(text: bytes) -> bytes:
    """One text message as a frame."""
    return header(len(text)) + text


def text_frames(texts: Iterable[bytes]) -> bytes:
    """Several text messages, joined for one write."""
    return b"".join([part for text in texts for part in (header(len(text)), text)])


def close_frame(code: int, reason: str) -> bytes:
    """A Close; a reason that is too long for one is cut."""
    return bytes(FrameProtocol(client=False, extensions=[]).close(code, reason))


def is_close(frame: bytes) -> bool:
    """Whether a frame is a Close, after which nothing may be sent."""
    return frame[0] == _CLOSE_OPCODE
