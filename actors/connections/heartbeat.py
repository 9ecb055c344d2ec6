"""Who has been silent for too long, at constant cost however many there are.

Peers stand in the order in which they were last heard (a dictionary keeps the
order of insertion), so looking for the silent ones stops at the first that is
not. Source of the idea: the timer rings of network stacks; with one period for
everybody a queue is enough.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")


class Heartbeat(Generic[K]):
    """Peers by last sign of life: silent for ``ping_seconds`` → ask; silent ``pong_seconds`` more → dead."""

    __slots__ = ("_heard", "_ping_seconds", "_pinged", "_pong_seconds")

    def __init__(self, ping_seconds: float, pong_seconds: float) -> None:
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        self._heard: dict[K, float] = {}
        self._pinged: dict[K, float] = {}

    def hear(self, peer: K, now: float) -> None:
        """A sign of life, the first one included."""
        self._heard.pop(peer, None)
        self._pinged.pop(peer, None)
        self._heard[peer] = now

    def wait(self, peer: K, now: float) -> None:
        """The question has not reached the peer yet: it has as long again."""
        self._pinged[peer] = now

    def forget(self, peer: K) -> None:
        """The peer is gone."""
        self._heard.pop(peer, None)
        self._pinged.pop(peer, None)

    def silent(self, now: float) -> tuple[list[K], list[K]]:
        """Whom to ask now, and who did not answer in time; the second are forgotten."""
        dead = _older(self._pinged, now - self._pong_seconds)
        for peer in dead:
            del self._pinged[peer]
        ask = _older(self._heard, now - self._ping_seconds)
        for peer in ask:
            del self._heard[peer]
            self._pinged[peer] = now
        return ask, dead


def _older(times: dict[K, float], limit: float) -> list[K]:
    older = []
    for peer, at in times.items():
        if at > limit:
            break
        older.append(peer)
    return older
