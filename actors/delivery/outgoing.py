"""A range of a log on its way to one device."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from actors.delivery.frames import text_frames, texts_of


class Outgoing(msgspec.Struct, gc=False):
    """A contiguous range of offsets to send: protocol messages, and after them the events."""

    first: int
    last: int
    """``first - 1`` when there are no events in it."""
    frames: bytes = b""
    """The events, as the frames in which the log keeps them; empty where a batch in ``before`` stands for them."""
    before: tuple[bytes, ...] = ()

    @property
    def count(self) -> int:
        """The number of frames that :meth:`as_frames` joins."""
        return len(self.before) + (self.last - self.first + 1 if self.frames else 0)

    def as_frames(self) -> bytes:
        """Join everything as unmasked WebSocket text frames, for one write."""
        return text_frames(self.before) + self.frames if self.before else self.frames

    def as_texts(self) -> Iterator[bytes]:
        """Yield everything as JSON texts, for a host that frames them itself."""
        yield from self.before
        yield from texts_of(self.frames)
