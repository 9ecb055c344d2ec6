"""Dead letters: the newest drops, each for a range of events and with a cause."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

import attrs

from actors.stages import Cause


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A run of events that were dropped for one cause: sequence numbers of a thread, or offsets of a log.

    ``first`` and ``last`` are ``None`` for an event that was dropped before it had a number.
    """

    cause: Cause
    count: int
    at: float
    """The time at which the last of them was dropped: wall clock, seconds since 1970."""
    user_id: str | None = None
    thread_id: str | None = None
    event_id: str | None = None
    first: int | None = None
    last: int | None = None

    def continues(self, before: DeadLetter) -> bool:
        """True if this one is about what follows another one's range, for the same cause."""
        same = (before.cause, before.user_id, before.thread_id) == (self.cause, self.user_id, self.thread_id)
        return same and before.last is not None and self.first == before.last + 1

    def joined_to(self, before: DeadLetter) -> DeadLetter:
        """Return one dead letter for both ranges."""
        # Not attrs.evolve, which is slow: for a user without a device each event that comes drops another one.
        return DeadLetter(
            cause=self.cause,
            count=before.count + self.count,
            at=self.at,
            user_id=self.user_id,
            thread_id=self.thread_id,
            event_id=before.event_id,
            first=before.first,
            last=self.last,
        )


class DeadLetters:
    """The newest dead letters; one that continues the newest is joined to it."""

    __slots__ = ("_on_dropped", "counts", "newest")

    def __init__(self, most: int, *, on_dropped: Callable[[DeadLetter], None]) -> None:
        self.newest: deque[DeadLetter] = deque(maxlen=most)
        self.counts: Counter[Cause] = Counter()
        """All events that were dropped, by cause."""
        self._on_dropped = on_dropped

    def __repr__(self) -> str:
        return f"<DeadLetters {len(self.newest)} of {self.newest.maxlen}>"

    def bury(
        self,
        cause: Cause,
        count: int,
        now: float,
        *,
        user_id: str | None = None,
        thread_id: str | None = None,
        event_id: str | None = None,
        first: int | None = None,
        last: int | None = None,
    ) -> None:
        """Tell of a drop, and keep it; ``now`` is wall clock, in seconds."""
        letter = DeadLetter(
            cause=cause,
            count=count,
            at=now,
            user_id=user_id,
            thread_id=thread_id,
            event_id=event_id,
            first=first,
            last=last,
        )
        self.counts[cause] += count
        self._on_dropped(letter)
        newest = self.newest
        newest.append(letter.joined_to(newest.pop()) if newest and letter.continues(newest[-1]) else letter)
