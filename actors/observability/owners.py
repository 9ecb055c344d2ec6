"""Owners: the changes of owner, and the threads that were named for a user who does not have them, of late.

A thread that is bound to the wrong user delivers without a fault, to the
wrong devices. What shows it is that some program or device names the thread for
another user, and is refused; or that the user had the thread before.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

import attrs

from actors.observability.instrument import Instrument, OwnerChange


@attrs.frozen(kw_only=True)
class OwnerChanged:
    """A change of owner that was carried out."""

    thread_id: str
    former: str | None
    user_id: str | None
    at: float
    """Wall clock, seconds."""


@attrs.frozen(kw_only=True)
class Dispute:
    """A thread that was named for a user, and was another user's."""

    thread_id: str
    user_id: str
    at: float
    """The last time; wall clock, seconds."""
    count: int = 1


class OwnerHistory(Instrument):
    """The newest changes of owner by the application, and the newest disputes."""

    def __init__(
        self, owner_of: Callable[[str], str | None], wall_clock: Callable[[], float], *, most: int = 1_000
    ) -> None:
        self._owner_of = owner_of
        self._wall_clock = wall_clock
        self._most = most
        self._changes: deque[OwnerChanged] = deque(maxlen=most)
        self._formers: dict[OwnerChange, str | None] = {}
        """The owners before the changes that are under way."""
        self._disputes: OrderedDict[tuple[str, str], Dispute] = OrderedDict()

    def __repr__(self) -> str:
        return f"<OwnerHistory {len(self._changes)} changes, {len(self._disputes)} disputes>"

    def owner_changing(self, change: OwnerChange) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        self._formers[change] = self._owner_of(change.thread_id)

    def owner_changed(self, change: OwnerChange, error: BaseException | None) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        former = self._formers.pop(change, None)
        if error is None and former != change.user_id:
            self._changes.append(
                OwnerChanged(
                    thread_id=change.thread_id, former=former, user_id=change.user_id, at=self._wall_clock()
                )
            )  # fmt: skip

    def disputed(self, thread_id: str, user_id: str) -> None:
        """See :class:`~actors.observability.instrument.Instrument`."""
        key = user_id, thread_id
        known = self._disputes.pop(key, None)
        self._disputes[key] = Dispute(
            thread_id=thread_id, user_id=user_id, at=self._wall_clock(), count=1 if known is None else known.count + 1
        )
        if len(self._disputes) > self._most:
            self._disputes.popitem(last=False)

    def lost_by(self, user_id: str) -> Iterator[OwnerChanged]:
        """Yield the changes by which a user lost a thread that is still another user's, or has no owner; newest
        first."""
        seen = set()
        for change in reversed(self._changes):
            if change.former == user_id and change.thread_id not in seen:
                seen.add(change.thread_id)
                if self._owner_of(change.thread_id) != user_id:
                    yield change

    def last_of(self, thread_id: str) -> OwnerChanged | None:
        """Return the newest change of a thread's owner that is remembered."""
        return next((one for one in reversed(self._changes) if one.thread_id == thread_id), None)

    def disputes(self, *, user_id: str | None = None, thread_id: str | None = None) -> Iterator[Dispute]:
        """Yield the disputes of a user, or about a thread, that are not settled by now; newest first."""
        for dispute in reversed(self._disputes.values()):
            is_asked_for = user_id in (None, dispute.user_id) and thread_id in (None, dispute.thread_id)
            if is_asked_for and self._owner_of(dispute.thread_id) not in (None, dispute.user_id):
                yield dispute
