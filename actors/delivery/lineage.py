"""The lineage of a log: its former epochs, and the offset up to which each is still true.

A log that may have lost its newest events goes on in another epoch. The new
one says what it continues: *E2 continues E1 up to offset f* is a fork. A device
in E1 at or below f has seen nothing that is gone, and goes on; one beyond f is
told to begin again. The idea is Kafka's vector of leader epochs (KIP-101).
"""

from __future__ import annotations

import attrs

MOST_FORKS = 64
"""Former epochs remembered of a log. A device that slept through more unclean stops than that begins again."""


@attrs.frozen
class Fork:
    """A former epoch, and the last offset that the present log shares with it; 0 where it shares none."""

    epoch: str
    offset: int


Lineage = tuple[Fork, ...]
"""The former epochs of a log, oldest first."""


def fork(lineage: Lineage, epoch: str, offset: int) -> Lineage:
    """End an epoch at an offset: what its log lost beyond that, the epochs before it have lost as well."""
    before = (Fork(one.epoch, min(one.offset, offset)) for one in lineage)
    return (*before, Fork(epoch, offset))[-MOST_FORKS:]


def shared(lineage: Lineage, epoch: str) -> int | None:
    """Return the last offset that the present log shares with a former epoch, ``None`` for an unknown one."""
    return next((one.offset for one in reversed(lineage) if one.epoch == epoch), None)
