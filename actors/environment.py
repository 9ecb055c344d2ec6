"""The one door through which clock, randomness and ids come in.

Deadlines use Trio's clock, which a test replaces by ``MockClock``. The wall
clock, random numbers and ids are taken from an :class:`Environment`, so that a
whole runtime can run under one seed; nothing else in the package reads them.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable

import attrs
import trio


def check_seconds(name: str, seconds: object, most: float = math.inf) -> None:
    """Raise TypeError for a value that is no number, ValueError for one that is no length of time, or over ``most``.

    Infinity is always a length of time.
    """
    bound = "" if most == math.inf else f", at most {most:,.0f}, or math.inf"
    expected = f"{name}: expected seconds, 0 or more{bound}"
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"{expected}, got {type(seconds).__name__}")
    if not (0 <= seconds <= most or seconds == math.inf):  # a NaN is neither
        raise ValueError(f"{expected}, got {seconds!r}")


Random = random.Random
"""A source of random numbers, by the name under which modules that take one from here know its type."""


@attrs.frozen(kw_only=True)
class Environment:
    """The sources of time, randomness and ids of one runtime."""

    clock: Callable[[], float] = trio.current_time
    """Monotonic seconds, for deadlines, and for what lasts no longer than the process."""

    wall_clock: Callable[[], float] = time.time
    """Seconds since 1970, for people to read, and for the ages of what a store keeps."""

    entropy: Callable[[int], bytes] = os.urandom
    """Secret random bytes: session ids, epochs, event ids."""

    random: random.Random = attrs.field(factory=random.Random)
    """Randomness that need not be secret: jitter."""

    def new_id(self, prefix: str) -> str:
        """Make an id of 96 random bits, readable in a log: ``e_`` and 24 hexadecimal digits."""
        return f"{prefix}_{self.entropy(12).hex()}"
