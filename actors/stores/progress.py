"""Progress: how far devices are in each log, and what has left it, for a journal that keeps that once a second."""

from __future__ import annotations

from collections.abc import Collection

from actors.delivery.bounds import Spans
from actors.delivery.log import Log
from actors.stores.journal import Marks


class Progress:
    """The marks of the logs of one store."""

    __slots__ = ("_acked", "_lows", "_marks", "_trimmed")

    def __init__(self) -> None:
        self._acked: dict[str, tuple[Spans, int]] = {}
        """The acked spans, and the last offset up to which sockets took everything, by user."""
        self._lows: dict[str, int] = {}
        """The lows that were marked, by user."""
        self._trimmed: set[str] = set()
        """Users whose logs have lost something since then."""
        self._marks: dict[str, Marks] = {}
        """Marks that the journal does not have yet, by user."""

    def __repr__(self) -> str:
        return f"<Progress of {len(self._lows)} logs, {len(self._marks)} marks wait>"

    def restore(self, user_id: str, low: int, acked: Spans, written: int) -> None:
        """Take over what an earlier life has marked."""
        self._acked[user_id] = acked, written
        self._lows[user_id] = low

    def of(self, user_id: str) -> tuple[Spans, int]:
        """Return the spans that devices acked, and up to where sockets took everything."""
        return self._acked.get(user_id, ((), 0))

    def confirm(self, user_id: str, log: Log, acked: Spans, written: int) -> None:
        """Take note of what devices acked, and up to where sockets took everything."""
        if self.of(user_id) != (acked, written):
            self._acked[user_id] = acked, written
            self.mark(user_id, log)

    def look(self, user_id: str, log: Log) -> None:
        """Take note of what a log may have lost; it is marked with the next :meth:`trimmed`."""
        if log.low > self._lows.get(user_id, 0):
            self._trimmed.add(user_id)

    def trimmed(self) -> Collection[str]:
        """Return the users whose logs have lost something since the last call, for :meth:`mark`."""
        trimmed, self._trimmed = self._trimmed, set()
        return trimmed

    def mark(self, user_id: str, log: Log) -> None:
        """Mark a log as it stands."""
        acked, written = self.of(user_id)
        self._lows[user_id] = log.low
        self._marks[user_id] = Marks(user_id, min(log.low, log.shown + 1), acked, written)

    @property
    def waits(self) -> bool:
        """True if there are marks that the journal does not have."""
        return bool(self._marks)

    def marks(self, but: Collection[str] = ()) -> list[Marks]:
        """Return the marks that the journal does not have, but for some users."""
        return [marks for user_id, marks in self._marks.items() if user_id not in but]

    def note_written(self, written: list[Marks]) -> None:
        """Forget marks that the journal has, or that are in a batch."""
        for marks in written:
            if self._marks.get(marks.user_id) is marks:
                del self._marks[marks.user_id]
