"""Ownership: the newest change of each thread's owner, for ``explain``."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.kernel.bounded import RecentMap


@attrs.frozen(kw_only=True)
class Ownership:
    """The owner that a thread has now."""

    user_id: str | None
    former: str | None
    """The one before; ``None`` where there was none, or none that is known."""
    at: float
    """Wall clock, in seconds: when this owner was noted."""


class Ownerships:
    """The owners of the threads of which one was noted lately, each with the one before."""

    __slots__ = ("_kept", "_wall_clock")

    def __init__(self, most: int, *, wall_clock: Callable[[], float]) -> None:
        self._kept: RecentMap[str, Ownership] = RecentMap(most)
        self._wall_clock = wall_clock

    def __repr__(self) -> str:
        return f"<Ownerships {len(self._kept)}>"

    def note(self, thread_id: str, user_id: str | None) -> None:
        """Note a thread's owner, who may be the same as before."""
        before = self._kept.get(thread_id)
        if before is None or before.user_id != user_id:
            former = None if before is None else before.user_id or before.former
            self._kept.put(thread_id, Ownership(user_id=user_id, former=former, at=self._wall_clock()))

    def of(self, thread_id: str) -> Ownership | None:
        """Return what is known of a thread."""
        return self._kept.get(thread_id)
