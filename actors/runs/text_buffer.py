"""The text of a run that was not emitted yet, and the half of a character at its end.

Pure: it decides what goes into the next ``agent_delta``, and neither emits nor
waits.
"""

from __future__ import annotations

from actors.errors import Unencodable
from actors.events.event import check_string, check_text
from actors.events.surrogates import REPLACEMENT, join


class TextBuffer:
    """Text in the order it was added, at most ``most_bytes`` of it in UTF-8.

    Invariant: what it holds is whole characters; of a surrogate pair that was
    cut, the first half waits beside them for the second.
    """

    __slots__ = ("_half", "_most_bytes", "_texts", "batch", "size")

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._texts: list[str] = []
        self._half = ""
        self.size: int = 0
        """Bytes of its text; 0 exactly if there is none."""
        self.batch: int = 0
        """Counts how often the buffer was emptied, so that a window that is over knows if its text is still here."""

    def __repr__(self) -> str:
        half = " and half a character" if self._half else ""
        return f"<TextBuffer {self.size} of {self._most_bytes} B{half}>"

    @property
    def text(self) -> str:
        """The buffered text, in one string."""
        return "".join(self._texts)

    def add(self, text: str) -> bool:
        """Add text, which completes the half that is held; True if there was room, False if nothing has changed.

        An empty buffer has room for every text that is valid. Raises
        :class:`~actors.errors.Unencodable`, without effect, for anything that
        is not text, for half of a surrogate pair anywhere but at the end, and
        for more than ``most_bytes`` at once.
        """
        check_string("text", text)
        whole, half = join(self._half, text)
        check_text("text", whole)
        size = len(whole.encode())
        if size > self._most_bytes:
            raise Unencodable("text", f"at most {self._most_bytes} bytes in one delta", came=f"{size}")
        if self.size + size > self._most_bytes:
            return False
        self._half = half
        if whole:
            self._texts.append(whole)
            self.size += size
        return True

    def give_up_half(self) -> None:
        """Replace the half that is held by U+FFFD, because nothing will complete it."""
        if self._half:
            self._half = ""
            self._texts.append(REPLACEMENT)
            self.size += len(REPLACEMENT.encode())

    def clear(self) -> None:
        """Empty the buffer; the half stays."""
        self._texts.clear()
        self.size = 0
        self.batch += 1
