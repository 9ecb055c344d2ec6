"""A bounded memory of the newest entries, at constant cost.

Two generations: the young one fills, then it becomes the old one and what was
old is forgotten. So between half and all of the capacity is remembered.
Evicting single entries from one dictionary costs a walk over the graves of
those evicted before, and an ordered dictionary twice the memory.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The newest entries by key: at least ``capacity // 2`` of them, at most ``capacity`` (which is two or more)."""

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
        """The newest entry of a key, unless it was forgotten."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def __len__(self) -> int:
        return len(self._young) + len(self._old.keys() - self._young.keys())
