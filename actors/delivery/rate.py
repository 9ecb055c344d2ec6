"""A token bucket: so many at once, so many a second."""

from __future__ import annotations


class TokenBucket:
    """Allows ``burst`` at once and ``per_second`` sustained; time comes as an argument."""

    __slots__ = ("_at", "_burst", "_per_second", "_tokens")

    def __init__(self, burst: int, per_second: float, now: float) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._tokens = self._burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token; false when there is none, and then nothing was taken."""
        gained = (now - self._at) * self._per_second
        self._tokens = min(self._burst, self._tokens + gained)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
