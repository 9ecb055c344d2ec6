"""The memory of event ids that were given: what a second append of one id is compared with."""

from __future__ import annotations

from collections import OrderedDict

import msgspec


class Given(msgspec.Struct, gc=False):
    """The first append of an event id: what it was, and where it was put (offset 0 while held)."""

    fingerprint: bytes
    seq: int
    at: float
    user_id: str | None = None
    epoch: str = ""
    offset: int = 0


class Window:
    """Given ids by (thread, event id), for a time and up to a number; the oldest are forgotten first."""

    __slots__ = ("_capacity", "_given", "_seconds")

    def __init__(self, capacity: int, seconds: float) -> None:
        self._capacity = capacity
        self._seconds = seconds
        self._given: OrderedDict[tuple[str, str], Given] = OrderedDict()

    def get(self, thread_id: str, event_id: str, now: float) -> Given | None:
        """The first append of an id, unless it was longer ago than the window."""
        given = self._given.get((thread_id, event_id))
        return None if given is None or given.at < now - self._seconds else given

    def put(self, thread_id: str, event_id: str, given: Given) -> None:
        """Remember an append; the oldest goes when there are too many."""
        key = (thread_id, event_id)
        self._given[key] = given
        self._given.move_to_end(key)
        if len(self._given) > self._capacity:
            self._given.popitem(last=False)

    def expire(self, now: float) -> None:
        """Forget what is older than the window."""
        while self._given and next(iter(self._given.values())).at < now - self._seconds:
            self._given.popitem(last=False)

    def __len__(self) -> int:
        return len(self._given)
