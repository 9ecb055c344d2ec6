"""WebSocket frames as a device sees them: made of bytes, strict, and no line of the runtime's own code.

What the runtime writes is judged by this reader, so it shares nothing with
:mod:`actors.delivery.frames` or the protocol engine.
"""

from __future__ import annotations

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_KNOWN = frozenset({TEXT, CLOSE, PING, PONG})


class TornFrame(Exception):
    """These bytes are not whole frames of a server."""


def masked(opcode: int, payload: bytes) -> bytes:
    """Build a whole frame from a client. Its mask is zero: legal, and readable in a trace."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8)
    return head + bytes(4) + payload


class FrameReader:
    """Takes bytes as they come, and gives the frames that are whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._closed = False

    @property
    def midway(self) -> bool:
        """True if a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return opcodes and payloads. Raises :class:`TornFrame` for what no server may send."""
        buffer, start = self._buffer, 0
        buffer += data
        frames = []
        while len(buffer) - start >= 2:
            body = self._check(buffer[start], buffer[start + 1])
            width = {126: 2, 127: 8}.get(body, 0)
            begin = start + 2 + width
            if len(buffer) < begin:
                break
            size = int.from_bytes(buffer[start + 2 : begin]) if width else body
            if len(buffer) < begin + size:
                break
            frames.append((buffer[start] & 0x0F, bytes(buffer[begin : begin + size])))
            self._closed = buffer[start] & 0x0F == CLOSE
            start = begin + size
        del buffer[:start]
        return frames

    def _check(self, first: int, second: int) -> int:
        opcode = first & 0x0F
        if self._closed:
            raise TornFrame(f"expected nothing after a Close, got a frame ({opcode})")
        if first & 0xF0 != 0x80 or opcode not in _KNOWN or second & 0x80:
            raise TornFrame(f"expected the head of a server's frame, got {first:#04x} {second:#04x}")
        return second
