"""Pressure: things that were waited for at every look for so long that it is no mere moment any more. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Pressure(Generic[K]):
    """Waits by key, each with the time since which there was one at every look."""

    __slots__ = ("_seconds", "_since")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        """The time from which on it is told."""
        self._since: dict[K, float] = {}

    def __repr__(self) -> str:
        return f"<Pressure on {len(self._since)}>"

    def look(self, waiting: Mapping[K, int], now: float) -> Iterator[tuple[K, int, float]]:
        """Look at how many wait for each key; yields those that were waited for long enough, with the seconds."""
        self._since = {key: self._since.get(key, now) for key in waiting}
        for key, count in waiting.items():
            seconds = now - self._since[key]
            if seconds >= self._seconds:
                yield key, count, seconds
