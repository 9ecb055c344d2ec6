"""Parts of a log, in numbers: its bounds, a chunk of it, and the offset at which a device starts."""

from __future__ import annotations

import attrs

from actors.delivery.lineage import Lineage, shared
from actors.protocol.server_messages import Resume
from actors.stages import Promise

Spans = tuple[tuple[int, int], ...]
"""Ranges of offsets, first and last, ascending and disjoint."""


@attrs.frozen
class Bounds:
    """Epoch, first and last offset of a log, read together; an empty log has ``low == head + 1``."""

    epoch: str
    low: int
    head: int
    lineage: Lineage = ()
    """The former epochs that this one continues."""

    def shared(self, epoch: str) -> int | None:
        """Return the last offset that this log shares with an epoch, ``None`` for one that it does not continue."""
        if epoch == self.epoch:
            return self.head
        fork = shared(self.lineage, epoch)
        return None if fork is None else min(fork, self.head)


@attrs.frozen
class Start:
    """The start of a connection, as the welcome says it."""

    kind: Resume
    offset: int
    """The first offset that it will be sent."""
    gap: tuple[int, int] | None = None
    """The offsets that it missed and that are no longer retained."""
    fork: int | None = None
    """The last offset that the log shares with the epoch of the device's cursor, where that is a former one."""


@attrs.frozen
class Chunk:
    """Consecutive events of a log: their frames and their offsets."""

    first: int
    last: int
    """The last offset; ``first - 1`` when there are no events."""
    frames: bytes
    epoch: str
    """The epoch of the log, to which these offsets belong."""


@attrs.frozen(kw_only=True)
class RestoredBounds:
    """A log as it was when this life of its store began."""

    epoch: str
    low: int
    head: int
    acked: Spans
    written: int
    """The last offset up to which everything was written to a socket."""
    promise: Promise
    """The worst that these events survive."""
    until: float = 0.0
    """The latest time of the life before, in seconds since 1970."""
