"""Faults of one connection of a :func:`~actors.testing.fault_proxy`, and the shape that they give to its bytes.

Pure: no clock, no sockets, and chance is handed in.
"""

from __future__ import annotations

import math
from typing import Literal

import attrs

from actors.testing.chance import Chance

CHUNK_BYTES = 4_096
"""The most that a link takes at once."""

_PIECES_PER_SECOND = 20
"""With a bandwidth: as finely as that a chunk is spread over its time."""

Direction = Literal["up", "down"]
"""From the client to the server, or back."""

Harm = Literal["none", "close", "reset", "vanish"]
"""The end of a connection: as when a process closes it, with a RST, or half-open; ``none``: it goes on."""


@attrs.frozen(kw_only=True)
class Way:
    """The treatment of the bytes of one direction. Raises :class:`ValueError` for one that would let none pass,
    ever."""

    latency_seconds: float = 0.0
    jitter_seconds: float = 0.0
    """By how much the latency varies, at most. What was said later does not come earlier."""
    bytes_per_second: float = math.inf
    slice_bytes: tuple[int, int] | None = None
    """Pass on pieces of so many bytes, the least and the most; ``None``: as they come."""
    limit_bytes: float = math.inf
    """The number of bytes after which the connection's harm is done."""

    def __attrs_post_init__(self) -> None:
        least, most = self.slice_bytes or (1, 1)
        if not 1 <= least <= most or not self.bytes_per_second > 0:
            raise ValueError(f"expected slices of at least one byte and a bandwidth above 0, got {self}")
        if self.limit_bytes != math.inf and not (self.limit_bytes >= 0 and float(self.limit_bytes).is_integer()):
            raise ValueError(f"expected a limit of whole bytes, or none, got {self}")


@attrs.frozen(kw_only=True)
class Faults:
    """The faults of one connection; without arguments, none."""

    up: Way = Way()
    """From the client to the server."""
    down: Way = Way()
    harm: Harm = "close"
    """The harm that is done when the ``limit_bytes`` of either direction have passed."""
    stall_seconds: float = 0.0
    """Before that harm, nothing passes for so long; ``math.inf`` has no end."""
    refuse: bool = False
    """Reset it as soon as it is made."""
    idle_seconds: float = math.inf
    """After so long a silence, ``idle_harm`` is done."""
    idle_harm: Harm = "vanish"
    linger_seconds: float = 0.0
    """By how much later one end hears that the other has closed."""


Mark = Literal["harm", "end", "reset"]
"""Marks between the bytes: the harm of the connection, the end of one side's stream, a side that is reset."""

Step = tuple[float, bytes | Mark]
"""The time at which something is due at the other end, and the thing."""


class Shaper:
    """Shapes the bytes of one direction: in what pieces they arrive, and when."""

    def __init__(self, way: Way, chance: Chance) -> None:
        self._way = way
        self._chance = chance
        self._left_bytes = way.limit_bytes
        self._free_at = -math.inf
        """The time at which the line has sent everything it was given."""
        self._due = -math.inf
        """The time at which the last piece arrives; none overtakes it."""

    def take(self, data: bytes, now: float) -> list[Step]:
        """Shape bytes that come ``now``, in order: none is left out, and none is added."""
        steps: list[Step] = []
        self._due = max(self._due, now)
        begin = 0
        while True:
            if self._left_bytes <= 0:
                self._left_bytes = math.inf
                steps.append((self._due, "harm"))
            if begin == len(data):
                return steps
            piece = data[begin : begin + self._size()]
            begin += len(piece)
            self._left_bytes -= len(piece)
            steps.append((self._arrival(len(piece), now), piece))

    def _size(self) -> int:
        least, most = self._way.slice_bytes or (CHUNK_BYTES, CHUNK_BYTES)
        spread = max(1.0, self._way.bytes_per_second / _PIECES_PER_SECOND)
        return int(min(self._chance.count(least, most), spread, self._left_bytes))

    def _arrival(self, nbytes: int, now: float) -> float:
        way = self._way
        self._free_at = max(self._free_at, now) + nbytes / way.bytes_per_second
        late = way.latency_seconds + self._chance.between(-way.jitter_seconds, way.jitter_seconds)
        self._due = max(self._due, self._free_at + late)
        return self._due
