"""What goes wrong again and again is said once in a while, and of many things alike some."""

from __future__ import annotations

from collections.abc import Hashable


class Reminders:
    """Says something of a key once in a period, and of at most ``most`` keys; what goes unsaid is counted."""

    __slots__ = ("_most", "_period_seconds", "_said", "_unsaid")

    def __init__(self, most: int, period_seconds: float) -> None:
        self._most = most
        self._period_seconds = period_seconds
        self._said: dict[Hashable, float] = {}
        """When something was said of a key, the oldest first; none is older than a period."""
        self._unsaid = 0

    def take(self, key: Hashable, now: float) -> int | None:
        """Whether to say something now: how often it was not said since the last time, of other keys; or ``None``."""
        self._expire(now - self._period_seconds)
        if key in self._said:
            return None
        if len(self._said) >= self._most:
            self._unsaid += 1
            return None
        self._said[key] = now
        unsaid, self._unsaid = self._unsaid, 0
        return unsaid

    def _expire(self, before: float) -> None:
        while self._said:
            oldest = next(iter(self._said))
            if self._said[oldest] > before:
                return
            del self._said[oldest]
