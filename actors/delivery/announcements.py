"""Announcements: messages to a device beside the log, about active runs and open questions, in bounded writes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

Item = Callable[[], bytes | None]
"""Composes a message when it is sent; ``None`` when its subject is over by then."""


class Announcements:
    """The messages that one device has yet to be sent, and the pongs that must not come before them.

    A list of things, and not of texts. A text is composed when the socket has
    room for it, so that a device that reads slowly costs no memory, and is
    never told of a thing that is over.
    """

    __slots__ = ("_items", "_pongs", "is_over")

    def __init__(self) -> None:
        self._items: deque[Item] | None = None
        self._pongs = 0
        self.is_over: bool = True
        """True if no message is left to send. An attribute, because each write to the device asks."""

    def begin(self, items: Iterable[Item]) -> None:
        """Send these from now on; the last ones must be over."""
        assert self.is_over, "what was begun is told to its end"
        self._items = deque(items)
        self.is_over = not self._items

    def postpone_pong(self) -> bool:
        """Note a ping; true if its pong has to wait, and comes with a later :meth:`take`."""
        self._pongs += not self.is_over
        return not self.is_over

    def take(self, most_bytes: int, pong: bytes) -> list[bytes]:
        """Take the next texts: so many bytes, and at most one text more; after the last one, the pongs that waited."""
        texts: list[bytes] = []
        size = 0
        while self._items and size < most_bytes:
            text = self._items.popleft()()
            if text is not None:
                texts.append(text)
                size += len(text)
        self.is_over = not self._items
        if self.is_over:
            self._items = None  # empty, a deque still takes 760 bytes
            texts += [pong] * self._pongs
            self._pongs = 0
        return texts

    def __repr__(self) -> str:
        return f"<Announcements left={len(self._items or ())} pongs={self._pongs}>"
