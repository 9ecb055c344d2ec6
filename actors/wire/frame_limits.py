"""Limits on a peer's unfinished messages, enforced from the headers of its frames.

The protocol engine counts the characters of a message that have come. So
fragments of nothing cost it nothing, and its memory without end; one byte after
the other is kept as so many objects; and text with one wide character in each
piece takes four bytes for every one that came. Each frame costs it 20 µs, also
those that are no message. Here the headers are read once more, before the engine
gets them, and what would cost too much ends there. How the network cuts a frame,
and a peer its message, is no offence: pieces beyond what the engine should hold
are kept here, as the bytes that came, until the message is whole.
"""

from __future__ import annotations

from actors.kernel.bounded import TokenBucket

PIECE_BYTES = 64
"""The cost of a piece of a message to the engine beside its bytes: an object, and a place in a list."""

_SERVED_PIECE_BYTES = 4_096
"""The least size of fragments that servers, and proxies in front of them, make."""

GATHERED_BYTES = 1_024
"""The bytes that are gathered of a frame that trickles in."""

_FREE_PIECES = 64
"""Frames of one message, and reads, that the engine gets as they come: it finds bad text at once."""

_FREE_SHARE = 2
"""And of the largest message only one half: it may take four times as much of the engine's memory, and with the other
half's bytes that is less than three times the message."""

_FEWEST_PIECES = 64
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_CONTROL = _CLOSE
"""The first opcode of a control frame."""
_ABSURD_BYTES = 1 << 63
"""Lengths from here on are no lengths (RFC 6455, section 5.2): the engine says so."""


class FrameLimits:
    """Follows the frames of one peer, and says where they exceed a limit.

    A message may have ``most_bytes``, in as many fragments as cost as much
    again. Frames that are neither the first of a message nor answered, pongs and
    continuations, may come as fast as ``burst`` and ``per_second`` say, a whole
    message's fragments beyond that.

    Of a server that was ``dialled`` pings count as well, since nothing else
    bounds what it is answered; and large messages come in large fragments.
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
        """The limit that was exceeded, as a row of the closing table, and how; nothing after it is of use."""
        self.closing = False
        """The header of a Close has come."""
        self._most_bytes = most_bytes
        self._mask = 0 if dialled else _MASKED
        self._most_pieces = max(_FEWEST_PIECES, most_bytes // (_SERVED_PIECE_BYTES if dialled else PIECE_BYTES))
        bucket = TokenBucket(burst + self._most_pieces, per_second, now=now)
        self._buckets = {_CONTINUATION: bucket, _PONG: bucket}
        if dialled:
            self._buckets[_PING] = self._buckets[_PONG] = TokenBucket(burst, per_second, now=now)
        self._header = bytearray()
        self._left = 0
        """Bytes of the present frame's payload that have not come."""
        self._is_data = self._ends = False
        """The present frame is one of a message, and its last."""
        self._bytes = self._pieces = self._reads = 0
        """Of the present message: its bytes, its frames, and the reads that ended within one."""
        self._keeps = False
        """The present frame is kept, and every one of its message that follows."""
        self._kept = bytearray()
        self._gathered = b""
        """Of a frame that is not kept and trickles in: less than the engine is bothered with."""
        self._passed: list[bytes] = []

    def admit(self, data: bytes, now: float) -> bytes:
        """Return the part of the next bytes that the engine gets: nothing beyond an exceeded limit, and nothing yet
        of a message that is kept."""
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
        """Pass on a part of the present frame, or keep it."""
        if self._keeps and self._is_data:
            self._kept += part
        elif self._left and self._is_data:
            self._reads += 1
            self._gathered += part
            if self._reads <= _FREE_PIECES or len(self._gathered) >= GATHERED_BYTES:
                self._let_go()
        else:
            self._let_go()
            self._passed.append(part)
        if self._ends and not self._left:
            self._release()

    def _let_go(self) -> None:
        if self._gathered:
            self._passed.append(self._gathered)
            self._gathered = b""

    def _release(self) -> None:
        """Begin anew: what was kept of a message goes to the engine."""
        if self._kept:
            self._passed.append(bytes(self._kept))
            self._kept = bytearray()
        self._keeps = False
        self._bytes = self._pieces = self._reads = 0

    def _wanted(self) -> int:
        """Return how many bytes of the header are missing, as far as can be known."""
        header = self._header
        if len(header) < 2:
            return 2 - len(header)
        extended = {126: 2, 127: 8}.get(header[1] & _LENGTH, 0)
        return 2 + extended + (4 if header[1] & _MASKED else 0) - len(header)

    def _begin(self, now: float) -> None:
        """Begin a frame: its header is complete, and its payload follows."""
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
        if opcode != _CONTINUATION and opcode < _CONTROL:  # with a message unfinished that is wrong: the engine says so
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
