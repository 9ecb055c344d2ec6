"""Control frames that the server sends beside the protocol engine, made by the engine's own framing."""

from __future__ import annotations

from wsproto.frame_protocol import FrameProtocol

PING = bytes(FrameProtocol(client=False, extensions=[]).ping())
"""A ping without a payload."""

_CLOSE_OPCODE = 0x88


def close_frame(code: int, reason: str) -> bytes:
    """Build a Close; a reason that is too long for one is cut."""
    return bytes(FrameProtocol(client=False, extensions=[]).close(code, reason))


def is_close(frame: bytes) -> bool:
    """Return true if a frame is a Close, after which nothing may be sent."""
    return frame[0] == _CLOSE_OPCODE
