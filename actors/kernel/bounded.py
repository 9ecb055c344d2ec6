"""Bounded structures: a map of the newest entries, a token bucket, a ration of repeated messages.

All three are pure: time comes as an argument, and none grows with what is put
into it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
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

    def newest(self) -> Iterator[V]:
        """Yield the entries, those first that were put last where no older one of their key was in place."""
        yield from reversed(self._young.values())
        for key in reversed(self._old):
            if key not in self._young:
                yield self._old[key]

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


class Ration:
    """A bound on repeated messages: one for each key in a period, ``most`` in all; it counts what it refuses."""

    __slots__ = ("_granted", "_left_out", "_left_out_since", "_most", "_period_seconds")

    def __init__(self, most: int, period_seconds: float) -> None:
        self._most = most
        self._period_seconds = period_seconds
        self._granted: dict[Hashable, float] = {}
        """The time of each key's last message, oldest first; none is older than a period."""
        self._left_out = 0
        self._left_out_since = 0.0

    def __repr__(self) -> str:
        return f"<Ration {len(self._granted)} of {self._most}, {self._left_out} left out>"

    def grants(self, key: Hashable, now: float) -> bool:
        """True if a message of this key may be said now; neither answer changes anything."""
        self._expire(now)
        return key not in self._granted and len(self._granted) < self._most

    def take(self, key: Hashable, now: float) -> bool:
        """Take leave to say a message; false, and the message counted as left out, where there is none."""
        at = self._granted.get(key)
        # First, because of a user who is away each event asks, and the answer is the same one.
        if (at is None or at <= now - self._period_seconds) and self.grants(key, now):
            self._granted[key] = now
            return True
        if not self._left_out:
            self._left_out_since = now
        self._left_out += 1
        return False

    def left_out(self, now: float) -> tuple[int, float]:
        """Return how many messages were left out, and in how many seconds, and count anew.

        Nothing before a period is over since the first of them.
        """
        seconds = now - self._left_out_since
        if not self._left_out or seconds < self._period_seconds:
            return 0, 0.0
        count, self._left_out = self._left_out, 0
        return count, seconds

    def _expire(self, now: float) -> None:
        before = now - self._period_seconds
        while self._granted:
            oldest = next(iter(self._granted))
            if self._granted[oldest] > before:
                return
            del self._granted[oldest]
