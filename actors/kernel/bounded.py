"""Bounded structures: a map of the newest entries, a token bucket, a throttle for repeated messages.

All three are pure: time comes as an argument, and none grows with what is put
into it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class RecentMap(Generic[K, V]):
    """The newest entries by key: at least ``capacity // 2`` of them, at most ``capacity`` (two or more).

    Two generations at constant cost: the young one fills, then it becomes the
    old one and the former old one is forgotten. Evicting single entries from
    one dictionary would cost a walk over the slots of those evicted before,
    and an ordered dictionary twice the memory.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, capacity: int) -> None:
        self._half = max(capacity // 2, 1)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def put(self, key: K, value: V) -> None:
        """Remember an entry, in place of an older one of the same key."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def get(self, key: K) -> V | None:
        """Return the newest entry of a key, unless it was forgotten."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def pop(self, key: K) -> V | None:
        """Remove an entry; returns its value, unless it was forgotten."""
        value, older = self._young.pop(key, None), self._old.pop(key, None)
        return older if value is None else value

    def __len__(self) -> int:
        return len(self._young) + len(self._old.keys() - self._young.keys())

    def __repr__(self) -> str:
        return f"<RecentMap {len(self)} of {2 * self._half}>"


class TokenBucket:
    """A rate limit: ``burst`` at once and ``per_second`` sustained."""

    __slots__ = ("_at", "_burst", "_per_second", "_tokens")

    def __init__(self, burst: int, per_second: float, *, now: float) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._tokens = self._burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token; false, and nothing taken, when there is none."""
        gained = (now - self._at) * self._per_second
        self._tokens = min(self._burst, self._tokens + gained)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class LogThrottle:
    """A throttle for repeated log messages: one per key and period, at most ``max_keys`` keys per period.

    Suppressed messages of further keys are counted, so that the next message
    can say how many there were.
    """

    __slots__ = ("_logged", "_max_keys", "_period_seconds", "_suppressed")

    def __init__(self, max_keys: int, period_seconds: float) -> None:
        self._max_keys = max_keys
        self._period_seconds = period_seconds
        self._logged: dict[Hashable, float] = {}
        """The time of each key's last message, oldest first; none is older than a period."""
        self._suppressed = 0

    def take(self, key: Hashable, now: float) -> int | None:
        """Ask to log a message: ``None`` when it is suppressed, else the number of other keys suppressed before it."""
        self._expire(now - self._period_seconds)
        if key in self._logged:
            return None
        if len(self._logged) >= self._max_keys:
            self._suppressed += 1
            return None
        self._logged[key] = now
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed

    def _expire(self, before: float) -> None:
        while self._logged:
            oldest = next(iter(self._logged))
            if self._logged[oldest] > before:
                return
            del self._logged[oldest]
