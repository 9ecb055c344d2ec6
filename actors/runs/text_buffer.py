"""The text of a run that was not emitted yet, and the half of a character at its end.

Pure: it decides what goes into the next ``agent_delta``, and neither emits nor
waits.
"""

from __future__ import annotations

from typing import NamedTuple

from actors.errors import Unencodable
from actors.events.event import check_string, check_text
from actors.events.surrogates import REPLACEMENT, join


class Piece(NamedTuple):
    """A text as it would continue the buffer: behind the half that is held there, without the half that it ends in."""

    text: str
    half: str
    size: int
    """Bytes of ``text`` in UTF-8."""


class TextBuffer:
    """Text in the order it was added, at most ``most_bytes`` of it in UTF-8.

    Invariant: what it holds is whole characters; of a surrogate pair that was
    cut, the first half waits beside them for the second.
    """

    __slots__ = ("_half", "_most_bytes", "_size", "_texts", "batch")

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._texts: list[str] = []
        self._size = 0
        self._half = ""
        self.batch = 0
        """Counts how often the buffer was emptied, so that a window that is over knows if its text is still here."""

    def __len__(self) -> int:
        """The number of texts that were added since the buffer was empty."""
        return len(self._texts)

    def __repr__(self) -> str:
        half = " and half a character" if self._half else ""
        return f"<TextBuffer {self._size} of {self._most_bytes} B{half}>"

    @property
    def text(self) -> str:
        """All of it, in one string."""
        return "".join(self._texts)

    def piece(self, text: str) -> Piece:
        """Complete the half that is held with ``text``; the buffer does not change.

        Raises :class:`~actors.errors.Unencodable` for what is not text, for
        half of a surrogate pair anywhere but at the end, and for more than
        ``most_bytes`` at once.
        """
        check_string("text", text)
        whole, half = join(self._half, text)
        check_text("text", whole)
        size = len(whole.encode())
        if size > self._most_bytes:
            raise Unencodable("text", f"at most {self._most_bytes} bytes in one delta", f"{size}")
        return Piece(whole, half, size)

    def has_room(self, piece: Piece) -> bool:
        """True if a piece can be added before the buffer is emptied."""
        return self._size + piece.size <= self._most_bytes

    def add(self, piece: Piece) -> None:
        """Add a piece for which there is room; of one without text, only the half is kept."""
        self._half = piece.half
        if piece.text:
            self._texts.append(piece.text)
            self._size += piece.size

    def give_up_half(self) -> None:
        """Put U+FFFD for the half that is held, because nothing will complete it."""
        if self._half:
            self._half = ""
            self._texts.append(REPLACEMENT)
            self._size += len(REPLACEMENT.encode())

    def clear(self) -> None:
        """Empty the buffer; the half stays."""
        self._texts.clear()
        self._size = 0
        self.batch += 1
