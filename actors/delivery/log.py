"""One user's ordered log: offsets 1, 2, 3 … of which the newest are retained.

The collector does not walk what is retained: a record is a structure of
integers and bytes that Python's cyclic collector never sees, because it can
take part in no cycle. As ordinary objects, a million of them stop the world
for 100 ms at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Record(msgspec.Struct, gc=False, frozen=True):
    """One event as it is retained: its JSON text, ready for the wire, and its age."""

    text: bytes
    stored_at: float


class Log:
    """The retained records of one log, in order.

    Invariant: ``_records[_start]`` has offset ``low`` and the last one
    ``head``; what stands before ``_start`` is already gone, and is cut off
    when it is half of the list, so that trimming costs O(1) per record.
    """

    __slots__ = ("_records", "_start", "epoch", "head", "size_bytes")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.head = 0
        self.size_bytes = 0
        self._records: list[Record | None] = []
        self._start = 0

    @property
    def low(self) -> int:
        """The first offset still here; ``head + 1`` when nothing is."""
        return self.head - len(self) + 1

    def __len__(self) -> int:
        return len(self._records) - self._start

    @property
    def oldest(self) -> Record | None:
        """The record at ``low``."""
        return self._records[self._start] if len(self) else None

    def append(self, record: Record) -> int:
        """Place a record; returns its offset."""
        self._records.append(record)
        self.size_bytes += len(record.text)
        self.head += 1
        return self.head

    def trim(self, keep_events: int, keep_bytes: int) -> None:
        """Let the oldest go until both bounds hold; the newest record always stays."""
        while len(self) > keep_events or (self.size_bytes > keep_bytes and len(self) > 1):
            self._drop_oldest()
        self._compact()

    def expire(self, stored_before: float) -> None:
        """Let go what was stored before a time."""
        while (oldest := self.oldest) is not None and oldest.stored_at < stored_before:
            self._drop_oldest()
        self._compact()

    def read(self, first: int, most_events: int, most_bytes: int) -> tuple[int, Sequence[Record]]:
        """Records from offset ``first`` on, or from ``low`` if that is later, with the offset of the first.

        At least one if there is one, and no more than both bounds allow.
        """
        first = max(first, self.low)
        start = self._start + first - self.low
        chosen: list[Record] = self._records[start : start + most_events]  # type: ignore[assignment] # no None here
        if len(chosen) > 1:
            room = most_bytes
            for index, record in enumerate(chosen):
                room -= len(record.text)
                if room < 0:
                    return first, chosen[: max(index, 1)]
        return first, chosen

    def _drop_oldest(self) -> None:
        oldest = self._records[self._start]
        assert oldest is not None
        self.size_bytes -= len(oldest.text)
        self._records[self._start] = None
        self._start += 1

    def _compact(self) -> None:
        if self._start > 32 and self._start * 2 > len(self._records):
            del self._records[: self._start]
            self._start = 0
