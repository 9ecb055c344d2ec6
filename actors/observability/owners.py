"""Owners: who had a thread before, and the threads that were named for a user who does not have them, of late.

A thread that is bound to the wrong user delivers without a fault, to the
wrong devices. What shows it is that some program or device names the thread for
another user, and is refused; or that the user had the thread before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from actors.kernel.bounded import RecentMap
from actors.observability.instrument import Instrument, OwnerChange


@attrs.frozen(kw_only=True)
class Ownership:
    """The owner that a thread has now."""

    thread_id: str
    user_id: str | None
    former: str | None
    """The one before; ``None`` where there was none, or none that is known."""
    at: float
    """Wall clock, seconds: when this owner was noted."""


@attrs.frozen(kw_only=True)
class Dispute:
    """A thread that was named for a user, and was another user's."""

    thread_id: str
    user_id: str
    at: float
    """The last time; wall clock, seconds."""
    count: int = 1


class OwnerHistory(Instrument):
    """The owners that were noted lately, each with the one before, and the newest disputes: ``most`` of each."""

    def __init__(
        self, owner_of: Callable[[str], str | None], wall_clock: Callable[[], float], *, most: int = 1_000
    ) -> None:
        self._owner_of = owner_of
        self._wall_clock = wall_clock
        self._kept: RecentMap[str, Ownership] = RecentMap(most)
        self._lost: RecentMap[tuple[str, str], Ownership] = RecentMap(most)
        """The changes by which a user lost a thread."""
        self._formers: dict[str, str | None] = {}
        """The owners before the changes that are under way, by thread."""
        self._disputes: RecentMap[tuple[str, str], Dispute] = RecentMap(most)

    def __repr__(self) -> str:
        return f"<OwnerHistory {len(self._kept)} threads, {len(self._disputes)} disputes>"

    def owner_changing(self, change: OwnerChange) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self._formers.setdefault(change.thread_id, self._owner_of(change.thread_id))

    def owner_changed(self, change: OwnerChange, error: BaseException | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self._formers.pop(change.thread_id, None)

    def note(self, thread_id: str, user_id: str | None) -> None:
        """Note a thread's owner, who may be the same as before."""
        before = self._kept.get(thread_id)
        if before is None:
            former = self._formers.get(thread_id)
        elif before.user_id == user_id:
            return
        else:
            former = before.user_id or before.former
        ownership = Ownership(
            thread_id=thread_id, user_id=user_id, former=None if former == user_id else former, at=self._wall_clock()
        )
        self._kept.put(thread_id, ownership)
        if ownership.former is not None:
            key = ownership.former, thread_id
            self._lost.pop(key)
            self._lost.put(key, ownership)

    def disputed(self, thread_id: str, user_id: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        known = self._disputes.pop((user_id, thread_id))
        count = 1 if known is None else known.count + 1
        at = self._wall_clock()
        self._disputes.put((user_id, thread_id), Dispute(thread_id=thread_id, user_id=user_id, at=at, count=count))

    def of(self, thread_id: str) -> Ownership | None:
        """Return what is known of a thread."""
        return self._kept.get(thread_id)

    def lost_by(self, user_id: str) -> Iterator[Ownership]:
        """Yield the changes by which a user lost a thread that it does not have again, newest first."""
        for ownership in self._lost.newest():
            if ownership.former == user_id and self._owner_of(ownership.thread_id) != user_id:
                yield ownership

    def disputes(self, *, user_id: str | None = None, thread_id: str | None = None) -> Iterator[Dispute]:
        """Yield the disputes of a user, or about a thread, that are not settled by now; newest first."""
        for dispute in self._disputes.newest():
            is_asked_for = user_id in (None, dispute.user_id) and thread_id in (None, dispute.thread_id)
            if is_asked_for and self._owner_of(dispute.thread_id) not in (None, dispute.user_id):
                yield dispute
