"""What a peer's unfinished message costs, known from the headers of its frames.

The protocol engine counts the characters of a message that have come. So
fragments of nothing cost it nothing, and its memory without end; and one byte
after the other is kept as so many objects. Here the headers are read once more,
before the engine gets them, and a message that would cost too much ends there.
"""

from __future__ import annotations

PIECE_BYTES = 64
"""What a piece of a message costs the engine beside its bytes: an object, and a place in a list."""

_FEWEST_PIECES = 64
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_CONTINUATION, _BINARY = 0x0, 0x2
_ABSURD_BYTES = 1 << 63
"""Lengths from here on are no lengths (RFC 6455, section 5.2): the engine says so."""


class Fragments:
    """Follows the frames of one peer, and says where they become too much.

    A message may have ``most_bytes``, in as many pieces as cost three times as
    much again: a piece is a fragment, or what of one came at once.
    """

    __slots__ = ("_bytes", "_header", "_is_data", "_left", "_pieces", "exceeded", "most_bytes", "most_pieces")

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.most_pieces = max(_FEWEST_PIECES, 3 * most_bytes // PIECE_BYTES)
        self.exceeded = False
        """A message was too much: nothing after it is of use."""
        self._header = bytearray()
        self._left = 0
        """Bytes of the present frame's payload that have not come."""
        self._is_data = False
        self._bytes = 0
        self._pieces = 0

    def admit(self, data: bytes) -> bytes:
        """What of the next bytes is acceptable: all of them, or those up to where it became too much."""
        at = 0
        while at < len(data) and not self.exceeded:
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                self._count(pieces=1)
            else:
                taken = min(self._wanted(), len(data) - at)
                self._header += data[at : at + taken]
                if self._wanted() == 0:
                    self._begin()
            at += taken
        return data if at == len(data) else data[:at]

    def _wanted(self) -> int:
        """How many bytes of the header are missing, as far as can be known."""
        header = self._header
        if len(header) < 2:
            return 2 - len(header)
        extended = {126: 2, 127: 8}.get(header[1] & _LENGTH, 0)
        return 2 + extended + (4 if header[1] & _MASKED else 0) - len(header)

    def _begin(self) -> None:
        """A header is complete: its payload follows."""
        first, second = self._header[0], self._header[1]
        short = second & _LENGTH
        length = short if short < 126 else int.from_bytes(self._header[2 : 4 if short == 126 else 10])
        self._header.clear()
        self._left = length
        opcode = first & _OPCODE
        self._is_data = opcode <= _BINARY and not first & _RESERVED and bool(second & _MASKED)
        if opcode != _CONTINUATION and self._is_data:
            self._bytes = self._pieces = 0
        if length < _ABSURD_BYTES:
            self._count(pieces=0 if length else 1, length=length)

    def _count(self, pieces: int, length: int = 0) -> None:
        if self._is_data:
            self._pieces += pieces
            self._bytes += length
            self.exceeded = self._bytes > self.most_bytes or self._pieces > self.most_pieces
