"""The items that wait for the application, in a bounded queue that can take back what the application has not seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Reversible

import attrs

from actors.events.items import Cursor, Item, Reset


@attrs.frozen(kw_only=True)
class Entry:
    """An item, and its place in the log."""

    item: Item
    first: int
    cursor: Cursor | None
    """The place of its last offset; ``None`` for what stands outside of the log."""
    size: int

    def renamed(self, before: str, after: str) -> Entry:
        """Return this item with its place in the epoch that continues its own."""
        return attrs.evolve(self, cursor=renamed(self.cursor, before, after))


class ItemQueue:
    """A queue that is full at so many items or bytes, and takes what it is given all the same."""

    def __init__(self, most_items: int, most_bytes: int) -> None:
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._most_items = most_items
        self._most_bytes = most_bytes

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<ItemQueue items={len(self._entries)} bytes={self._bytes}>"

    @property
    def is_full(self) -> bool:
        """True if a bound is reached."""
        return len(self._entries) >= self._most_items or self._bytes >= self._most_bytes

    def keep(self, entry: Entry) -> None:
        """Put an item at the end."""
        self._entries.append(entry)
        self._bytes += entry.size

    def pop(self) -> Entry:
        """Take the item at the front."""
        entry = self._entries.popleft()
        self._bytes -= entry.size
        return entry

    def take_back(self, after: Cursor, given: Cursor | None) -> bool:
        """Forget the events after an offset, because they come again as one; false if that cannot be done.

        It cannot where the application was ``given`` one of them, or where one
        of them came joined with an event before. What stands outside of the log
        stays.
        """
        entries = list(self._entries)
        beside = []
        while entries and (entries[-1].cursor is None or entries[-1].cursor.offset > after.offset):
            entry = entries.pop()
            if entry.cursor is None:
                beside.append(entry)
            elif entry.first <= after.offset:
                return False
        if (_last_cursor(entries) or given) != after:
            return False
        self._keep_only([*entries, *reversed(beside)])
        return True

    def forget_reset(self) -> Cursor | None:
        """Forget a reset, if one waits, and what followed it in the log; returns the place of the last item left."""
        entries = list(self._entries)
        resets = [number for number, entry in enumerate(entries) if isinstance(entry.item, Reset)]
        if resets:
            behind = [entry for entry in entries[resets[0] :] if entry.cursor is None]
            self._keep_only([*entries[: resets[0]], *behind])
        return _last_cursor(self._entries)

    def rename(self, before: str, after: str, last: int) -> Cursor | None:
        """Forget what is beyond an offset of an epoch, and place the rest in the epoch that continues it; returns the
        place of the last item left."""
        kept = [one for one in self._entries if not _is_beyond(one.cursor, before, last)]
        self._keep_only([entry.renamed(before, after) for entry in kept])
        return _last_cursor(self._entries)

    def _keep_only(self, entries: list[Entry]) -> None:
        self._entries = deque(entries)
        self._bytes = sum(entry.size for entry in entries)


def _last_cursor(entries: Reversible[Entry]) -> Cursor | None:
    return next((entry.cursor for entry in reversed(entries) if entry.cursor is not None), None)


def renamed(cursor: Cursor | None, before: str, after: str) -> Cursor | None:
    """Return a cursor of an epoch in the one that continues it; any other stays as it is."""
    return Cursor(after, cursor.offset) if cursor is not None and cursor.epoch == before else cursor


def _is_beyond(cursor: Cursor | None, epoch: str, offset: int) -> bool:
    return cursor is not None and cursor.epoch == epoch and cursor.offset > offset
