"""What a peer's unfinished message costs, known from the headers of its frames.

The protocol engine counts the characters of a message that have come. So
fragments of nothing cost it nothing, and its memory without end; and one byte
after the other is kept as so many objects. Each frame costs it 20 µs, also those
that are no message. Here the headers are read once more, before the engine gets
them, and what would cost too much ends there. How the network cuts a frame is
nobody's fault: what trickles in is gathered before the engine gets it.
"""

from __future__ import annotations

from actors.delivery.rate import TokenBucket

PIECE_BYTES = 64
"""What a piece of a message costs the engine beside its bytes: an object, and a place in a list."""

_SERVED_PIECE_BYTES = 4_096
"""What servers, and proxies in front of them, fragment a message into is larger than this."""

GATHERED_BYTES = 1_024
"""What of a frame that trickles in is gathered."""

_FREE_READS = 64
"""Reads of one message that the engine gets as they come: it finds bad text at once."""

_FEWEST_PIECES = 64
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_ABSURD_BYTES = 1 << 63
"""Lengths from here on are no lengths (RFC 6455, section 5.2): the engine says so."""


class Fragments:
    """Follows the frames of one peer, and says where they become too much.

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
        "_gathered",
        "_header",
        "_is_data",
        "_left",
        "_mask",
        "_most_bytes",
        "_most_pieces",
        "_pieces",
        "_reads",
        "closing",
        "excess",
    )

    def __init__(self, most_bytes: int, burst: int, per_second: float, now: float, *, dialled: bool = False) -> None:
        self.excess: tuple[str, str] | None = None
        """What was too much, as a row of the closing table, and how: nothing after it is of use."""
        self.closing = False
        """The header of a Close has come."""
        self._most_bytes = most_bytes
        self._mask = 0 if dialled else _MASKED
        self._most_pieces = max(_FEWEST_PIECES, most_bytes // (_SERVED_PIECE_BYTES if dialled else PIECE_BYTES))
        bucket = TokenBucket(burst + self._most_pieces, per_second, now)
        self._buckets = {_CONTINUATION: bucket, _PONG: bucket}
        if dialled:
            self._buckets[_PING] = self._buckets[_PONG] = TokenBucket(burst, per_second, now)
        self._header = bytearray()
        self._left = 0
        """Bytes of the present frame's payload that have not come."""
        self._is_data = False
        self._bytes = 0
        self._pieces = 0
        self._reads = 0
        """Of the present message, those that ended within a frame."""
        self._gathered = b""

    def admit(self, data: bytes, now: float) -> bytes:
        """What the engine gets of the next bytes: nothing beyond where it became too much, and nothing yet of what
        trickles in."""
        at = begun = 0
        while at < len(data) and self.excess is None:
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
            else:
                taken = min(self._wanted(), len(data) - at)
                begun = at + taken
                self._header += data[at:begun]
                if self._wanted() == 0:
                    self._begin(now)
            at += taken
        return self._gather(data if at == len(data) else data[:at], begun)

    def _gather(self, admitted: bytes, begun: int) -> bytes:
        """Keep back what ``begun`` the rest of a frame, if it is little of one that has come in many pieces."""
        if self._gathered:
            begun += len(self._gathered) if begun else 0
            admitted, self._gathered = self._gathered + admitted, b""
        if not self._left or not self._is_data:
            return admitted
        self._reads += 1
        if self._reads <= _FREE_READS or len(admitted) - begun >= GATHERED_BYTES:
            return admitted
        self._gathered = admitted[begun:]
        return admitted[:begun]

    def _wanted(self) -> int:
        """How many bytes of the header are missing, as far as can be known."""
        header = self._header
        if len(header) < 2:
            return 2 - len(header)
        extended = {126: 2, 127: 8}.get(header[1] & _LENGTH, 0)
        return 2 + extended + (4 if header[1] & _MASKED else 0) - len(header)

    def _begin(self, now: float) -> None:
        """A header is complete: its payload follows."""
        first, second = self._header[0], self._header[1]
        short = second & _LENGTH
        length = short if short < 126 else int.from_bytes(self._header[2 : 4 if short == 126 else 10])
        self._header.clear()
        self._left = length
        opcode = first & _OPCODE
        self._is_data = opcode <= _BINARY and not first & _RESERVED and second & _MASKED == self._mask
        if opcode != _CONTINUATION and self._is_data:
            self._bytes = self._pieces = self._reads = 0
        self.closing = self.closing or opcode == _CLOSE
        bucket = self._buckets.get(opcode)
        if bucket is not None and not bucket.take(now):
            frames = "pongs and fragments" if self._mask else "pings, pongs and fragments"
            self.excess = "flooding", f"expected fewer {frames} in a time, got more"
        elif length < _ABSURD_BYTES:
            self._count(length)

    def _count(self, length: int) -> None:
        if self._is_data:
            self._pieces += 1
            self._bytes += length
            if self._bytes > self._most_bytes or self._pieces > self._most_pieces:
                most = f"{self._most_bytes} bytes in {self._most_pieces} fragments"
                self.excess = "too_big", f"expected a message of at most {most}, got more"
