"""The clock of a store: the wall clock, made monotone, so that ages mean the same in the next life."""

from __future__ import annotations

from actors.environment import Environment


class StoreClock:
    """Seconds since 1970 that never go back.

    Set back, it goes on at the pace of the monotonic clock until the wall clock
    is ahead again; asleep, or set forward, it goes along with the wall clock.
    """

    __slots__ = ("_latest", "_monotonic", "_paced_from", "_wall_clock")

    def __init__(self, environment: Environment, latest: float = 0.0) -> None:
        self._wall_clock = environment.wall_clock
        self._monotonic = environment.clock
        self._latest = latest
        """The latest time told; at first, the latest of the life before."""
        self._paced_from: tuple[float, float] | None = None
        """A time and the monotonic one at which it was told, while the wall clock is behind."""

    def at(self, reading: float | None) -> float:
        """Return the time, by the reading of the wall clock that the caller has, if it has one, and no later time was
        told since."""
        if reading is not None and self._paced_from is None and reading >= self._latest:
            self._latest = reading
            return reading
        return self.now()

    def now(self) -> float:
        """Return the time; never less than before."""
        wall = self._wall_clock()
        if self._paced_from is None and wall >= self._latest:  # almost always, and then at the cost of one clock
            self._latest = wall
            return wall
        monotonic = self._monotonic()
        if self._paced_from is None:
            self._paced_from = self._latest, monotonic
        at, then = self._paced_from
        self._latest = at + monotonic - then
        if wall >= self._latest:
            self._latest, self._paced_from = wall, None
        return self._latest

    def __repr__(self) -> str:
        return f"<StoreClock {self._latest:.3f}{'' if self._paced_from is None else ' ahead of the wall clock'}>"
