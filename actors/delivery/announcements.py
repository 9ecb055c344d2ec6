"""What a device is told beside the log: what is active and open, in bounded writes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

Item = Callable[[], bytes | None]
"""What is to be said, as it is when it is said; ``None`` when there is nothing to say any more."""


class Announcements:
    """What one device has yet to be told, and the answers to its pings that must not come before.

    A list of things, and not of texts: what they say is composed when the
    socket has room for it, so that a device that reads slowly costs no memory,
    and is never told of what was over meanwhile.
    """

    __slots__ = ("_items", "_pongs")

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._pongs = 0

    @property
    def is_over(self) -> bool:
        """True if nothing is left to be told."""
        return not self._items

    def begin(self, items: Iterable[Item]) -> None:
        """Tell these."""
        assert self.is_over, "what was begun is told to its end"
        self._items.extend(items)

    def postpone_pong(self) -> bool:
        """A ping has come; true if its answer has to wait, and will be among what is taken."""
        self._pongs += not self.is_over
        return not self.is_over

    def take(self, most_bytes: int, pong: bytes) -> list[bytes]:
        """The next texts: so many bytes, and at most one text more; after the last one, the answers that waited."""
        texts: list[bytes] = []
        size = 0
        while self._items and size < most_bytes:
            text = self._items.popleft()()
            if text is not None:
                texts.append(text)
                size += len(text)
        if self.is_over:
            texts += [pong] * self._pongs
            self._pongs = 0
        return texts
