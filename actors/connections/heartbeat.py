"""The heartbeat: finds the peers that have been silent for too long, at constant cost for any number of them.

Peers stand in the order in which they were last heard (a dictionary keeps the
order of insertion), so that the search for silent ones stops at the first that
is not. Source of the idea: the timer rings of network stacks; a queue is enough
because all peers have the same period.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")


class Heartbeat(Generic[K]):
    """Peers by last sign of life: silent for ``ping_seconds`` → ping; silent ``pong_seconds`` more → dead."""

    __slots__ = ("_before", "_heard", "_ping_seconds", "_pinged", "_pong_seconds")

    def __init__(self, ping_seconds: float, pong_seconds: float) -> None:
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        self._heard: dict[K, float] = {}
        self._pinged: dict[K, float] = {}
        self._before: dict[K, float] = {}
        """The last sign of life of peers that were pinged since; kept apart, because a ping may be waited for anew."""

    def hear(self, peer: K, now: float) -> None:
        """Note a sign of life, the first one included."""
        self._heard.pop(peer, None)
        if self._pinged.pop(peer, None) is not None:
            self._before.pop(peer, None)
        self._heard[peer] = now

    def wait(self, peer: K, now: float) -> None:
        """Give a peer as long again, because the ping has not reached it yet."""
        self._pinged[peer] = now

    def forget(self, peer: K) -> None:
        """Forget a peer that is gone, or not to be asked until it is heard again."""
        self._heard.pop(peer, None)
        self._pinged.pop(peer, None)
        self._before.pop(peer, None)

    def heard_at(self, peer: K) -> float | None:
        """Return the time of the last sign of life of a peer, ``None`` for one that is not listened for."""
        heard = self._heard.get(peer)
        return self._before.get(peer) if heard is None else heard

    def pinged_at(self, peer: K) -> float | None:
        """Return the time from which on an answer to the last ping is waited for, ``None`` while none is."""
        return self._pinged.get(peer)

    def silent(self, now: float) -> tuple[list[K], list[K]]:
        """Return the peers to ping now, and those that did not answer in time; forget the second."""
        dead = _older(self._pinged, now - self._pong_seconds)
        for peer in dead:
            del self._pinged[peer]
        silent = _older(self._heard, now - self._ping_seconds)
        for peer in silent:
            self._before[peer] = self._heard.pop(peer)
            self._pinged[peer] = now
        return silent, dead

    def __repr__(self) -> str:
        return f"<Heartbeat heard={len(self._heard)} pinged={len(self._pinged)}>"


def _older(times: dict[K, float], limit: float) -> list[K]:
    older = []
    for peer, at in times.items():
        if at > limit:
            break
        older.append(peer)
    return older
