"""Limits on a peer's unfinished messages, enforced from the headers of its frames.

The protocol engine limits the characters of a message. So empty fragments pass
its limit, and use memory without end; a message that comes byte by byte is as
many objects; and text with one wide character in each piece takes four bytes of
memory for each byte. Each frame costs it 20 µs, control frames included.
Therefore this module reads the headers first, and stops a peer that would cost
too much. How the network cuts a frame, and a peer its message, is no offence:
pieces beyond those that the engine should hold are kept here, as plain bytes,
until the message is whole.
"""

from __future__ import annotations

from actors.kernel.bounded import TokenBucket

PIECE_BYTES = 64
"""The engine's overhead for a piece of a message: an object, and an entry in a list."""

_SERVED_PIECE_BYTES = 4_096
"""The least size of fragments that servers, and proxies in front of them, make."""

GATHERED_BYTES = 1_024
"""The bytes of a frame that trickles in that are gathered before the engine gets them."""

_FREE_PIECES = 64
"""Frames of one message, and reads, that the engine gets as they come, so that it finds bad text at once."""

_FREE_SHARE = 2
"""The engine gets at most one half of the largest message as it comes, because that may take four times its size in
memory, which with the other half's bytes is less than three times the message."""

_FEWEST_PIECES = 64
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_CONTROL = _CLOSE
"""The first opcode of a control frame."""
_ABSURD_BYTES = 1 << 63
"""Lengths from here on are invalid (RFC 6455, section 5.2), and left to the engine to refuse."""


class FrameLimits:
    """A filter of one peer's bytes, which follows its frames and stops at the first exceeded limit.

    A message may have ``most_bytes``, in as many fragments as cost as much
    again. Pongs and continuations, which begin no message and get no answer,
    are limited by ``burst`` and ``per_second``, with a whole message's
    fragments beyond that.

    For a server that was ``dialled`` pings are limited as well, because nothing
    else bounds our answers; and large messages come in large fragments.
    """

    __slots__ = (
        "_buckets",
        "_bytes",
        "_ends",
        "_gathered",
        "_header",
        "_is_data",
        "_keeps",
        "_kept",
        "_left",
        "_mask",
        "_most_bytes",
        "_most_pieces",
        "_passed",
        "_pieces",
        "_reads",
        "closing",
        "excess",
    )

    def __init__(self, most_bytes: int, *, burst: int, per_second: float, now: float, dialled: bool = False) -> None:
        self.excess: tuple[str, str] | None = None
        """The row of the closing table for the exceeded limit, and the reason in words; later bytes are dropped."""
        self.closing: bool = False
        """True once the header of a Close has come."""
        self._most_bytes = most_bytes
        self._mask = 0 if dialled else _MASKED
        self._most_pieces = max(_FEWEST_PIECES, most_bytes // (_SERVED_PIECE_BYTES if dialled else PIECE_BYTES))
        bucket = TokenBucket(burst + self._most_pieces, per_second, now=now)
        self._buckets = {_CONTINUATION: bucket, _PONG: bucket}
        if dialled:
            self._buckets[_PING] = self._buckets[_PONG] = TokenBucket(burst, per_second, now=now)
        self._header = bytearray()
        self._left = 0
        """Missing bytes of the current frame's payload."""
        self._is_data = self._ends = False
        """True for a frame of a message, and for its last one."""
        self._bytes = self._pieces = self._reads = 0
        """Bytes of the current message, its frames, and the reads that ended within one."""
        self._keeps = False
        """True once the rest of the current message is kept here."""
        self._kept = bytearray()
        self._gathered = b""
        """Bytes of a frame that is not kept and trickles in, too few yet for the engine."""
        self._passed: list[bytes] = []

    @property
    def at_boundary(self) -> bool:
        """True if the next byte begins a message: no frame is unfinished, no message, and nothing was exceeded."""
        return not (self._left or self._pieces or self._header or self.closing or self.excess)

    def admit(self, data: bytes, now: float) -> bytes:
        """Return the bytes for the engine: none beyond an exceeded limit, and none yet of a message that is kept."""
        at = 0
        while at < len(data) and self.excess is None:
            end = at + (self._left or self._wanted())
            part = data[at:end]
            at += len(part)
            if self._left:
                self._left -= len(part)
                self._take(part)
            else:
                self._header += part
                if not self._wanted():
                    self._begin(now)
        passed, self._passed = self._passed, []
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def _take(self, part: bytes) -> None:
        """Pass on a part of the current frame, or keep it."""
        if self._keeps and self._is_data:
            self._kept += part
        elif self._left and self._is_data:
            self._reads += 1
            self._gathered += part
            if self._reads <= _FREE_PIECES or len(self._gathered) >= GATHERED_BYTES:
                self._pass_gathered()
        else:
            self._pass_gathered()
            self._passed.append(part)
        if self._ends and not self._left:
            self._release()

    def _pass_gathered(self) -> None:
        if self._gathered:
            self._passed.append(self._gathered)
            self._gathered = b""

    def _release(self) -> None:
        """Pass the kept part of a message to the engine, and begin the next message."""
        if self._kept:
            self._passed.append(bytes(self._kept))
            self._kept = bytearray()
        self._keeps = False
        self._bytes = self._pieces = self._reads = 0

    def _wanted(self) -> int:
        """Return the number of missing bytes of the header, as far as it is known."""
        header = self._header
        if len(header) < 2:
            return 2 - len(header)
        extended = {126: 2, 127: 8}.get(header[1] & _LENGTH, 0)
        return 2 + extended + (4 if header[1] & _MASKED else 0) - len(header)

    def _begin(self, now: float) -> None:
        """Begin a frame, whose header is complete."""
        first, second = self._header[0], self._header[1]
        short = second & _LENGTH
        length = short if short < 126 else int.from_bytes(self._header[2 : 4 if short == 126 else 10])
        header = bytes(self._header)
        self._header.clear()
        opcode = first & _OPCODE
        is_frame = length < _ABSURD_BYTES and not first & _RESERVED and second & _MASKED == self._mask
        self._is_data = opcode <= _BINARY and is_frame
        self._ends = self._is_data and bool(first & _FIN)
        self.closing = self.closing or opcode == _CLOSE
        if opcode != _CONTINUATION and opcode < _CONTROL:  # within an unfinished message the engine refuses it
            self._release()
        bucket = self._buckets.get(opcode)
        if bucket is not None and not bucket.take(now):
            frames = "pongs and fragments" if self._mask else "pings, pongs and fragments"
            self.excess = "flooding", f"expected fewer {frames} in a time, got more"
        elif self._is_data:
            self._count(length)
        if self.excess is not None:
            self._kept = bytearray()
            self._passed.append(header)
        else:
            self._left = length
            self._pass_header(header)

    def _pass_header(self, header: bytes) -> None:
        if self._keeps and self._is_data:
            self._kept += header
        else:
            self._passed.append(header)
        if self._ends and not self._left:
            self._release()

    def _count(self, length: int) -> None:
        self._pieces += 1
        self._bytes += length
        if self._bytes > self._most_bytes or self._pieces > self._most_pieces:
            most = f"{self._most_bytes} bytes in {self._most_pieces} fragments"
            self.excess = "too_big", f"expected a message of at most {most}, got more"
        elif self._bytes > self._most_bytes // _FREE_SHARE or self._pieces > _FREE_PIECES:
            self._keeps = True
