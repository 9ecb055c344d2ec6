"""Chance: everything that is random in a simulation, from one integer.

Each part draws from a stream of its own, made from the seed and the part's
name: an action that is taken out of a plan changes the luck of no other one,
which is what makes a plan shrink.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from actors.environment import Environment, Random

T = TypeVar("T")


class Chance:
    """A stream of random numbers that follows from its name alone, on every machine and for every hash seed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.random: Random = Environment().random
        self.random.seed(name)

    def of(self, part: object) -> Chance:
        """Return the stream of a part."""
        return Chance(f"{self.name}/{part}")

    def bytes(self, count: int) -> bytes:
        """Return random bytes, in the place of ``os.urandom``."""
        return self.random.randbytes(count)

    def happens(self, probability: float) -> bool:
        """True with a probability."""
        return self.random.random() < probability

    def between(self, least: float, most: float) -> float:
        """Draw a time or a share."""
        return self.random.uniform(least, most)

    def count(self, least: int, most: int) -> int:
        """Draw a number of things, both bounds included."""
        return self.random.randint(least, most)

    def one(self, among: Sequence[T]) -> T:
        """Draw one of several."""
        return self.random.choice(among)

    def weighted(self, among: Sequence[T], weights: Sequence[float], count: int) -> list[T]:
        """Draw so many of several, some of them more often than others."""
        return self.random.choices(among, weights, k=count)
