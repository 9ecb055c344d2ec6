"""Idempotency: the first appends of ids that emitters chose, with which a later append of the same id is compared."""

from __future__ import annotations

from collections import OrderedDict

from actors.stores.records import FirstAppend


class IdempotencyWindow:
    """First appends by (thread, event id), for a time and up to a number; the oldest are forgotten first."""

    __slots__ = ("_capacity", "_first_appends", "_seconds")

    def __init__(self, capacity: int, seconds: float) -> None:
        self._capacity = capacity
        self._seconds = seconds
        self._first_appends: OrderedDict[tuple[str, str], FirstAppend] = OrderedDict()

    def get(self, thread_id: str, event_id: str, now: float) -> FirstAppend | None:
        """Return the first append of an id, unless it was longer ago than the window."""
        first = self._first_appends.get((thread_id, event_id))
        return None if first is None or first.at < now - self._seconds else first

    def put(self, thread_id: str, event_id: str, first: FirstAppend) -> None:
        """Remember an append; forget the oldest when there are too many."""
        key = (thread_id, event_id)
        self._first_appends[key] = first
        self._first_appends.move_to_end(key)
        if len(self._first_appends) > self._capacity:
            self._first_appends.popitem(last=False)

    def expire(self, now: float) -> bool:
        """Forget appends older than the window; true if there were any."""
        count = len(self)
        while self._first_appends and next(iter(self._first_appends.values())).at < now - self._seconds:
            self._first_appends.popitem(last=False)
        return len(self) < count

    def __len__(self) -> int:
        return len(self._first_appends)

    def __repr__(self) -> str:
        return f"<IdempotencyWindow ids={len(self)} of {self._capacity}>"
