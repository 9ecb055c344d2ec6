"""Losses: a warning where events leave a log before the devices that are there have acked them.

Events of users who are away leave their logs all the time, and the application
is told so by ``on_undelivered``. A device that is here and too slow is another
thing: what is emitted is more than it takes, and the emitter could wait.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from actors.context import Context
from actors.delivery.dead_letters import DeadLetter
from actors.kernel.bounded import LogThrottle
from actors.kernel.failures import log, printable
from actors.stages import Cause

_WARNING = (
    "user %s: %d events left the log before a device acked them (retention); emit with ahead= to wait for devices"
)


class Losses:
    """Counts what the logs of connected users lose, and warns once per user and period; of very many users, of some."""

    def __init__(self, context: Context, *, devices: Callable[[str], int]) -> None:
        self._devices = devices
        self._lost: Counter[str] = Counter()
        self._counted: dict[tuple[str, int], int] = {}
        """The events of a dead letter that were counted, by user and first offset: what follows it is joined to it."""
        self._looked_at = 0.0
        """The time of the newest dead letter that was counted: wall clock, in seconds."""
        self._warnings = LogThrottle(context.limits.warnings, context.limits.warning_seconds)

    def __repr__(self) -> str:
        return f"<Losses of {len(self._lost)} users to warn of>"

    def note(self, user_id: str, count: int) -> None:
        """Note that so many events left a user's log that sockets had taken, and no device acked."""
        if count and self._devices(user_id):
            self._lost[user_id] += count

    def look(self, now: float, letters: Sequence[DeadLetter]) -> None:
        """Warn of what was lost, at a time of the monotonic clock in seconds; ``letters`` are the newest drops.

        Those are looked at here, and not when they come, because for a user who
        is away each event that comes drops another one.
        """
        self._count(letters)
        for user_id, count in tuple(self._lost.items()):
            if self._warnings.take(user_id, now) is not None:
                del self._lost[user_id]
                log(logging.WARNING, _WARNING, printable(user_id), count)
            elif not self._devices(user_id):
                del self._lost[user_id]

    def _count(self, letters: Sequence[DeadLetter]) -> None:
        """Count what was dropped since the last look."""
        if not letters or letters[-1].at < self._looked_at:
            return
        before, self._counted, since = self._counted, {}, self._looked_at
        self._looked_at = letters[-1].at
        for letter in reversed(letters):
            if letter.at < since:
                return
            if letter.cause is Cause.RETENTION and letter.user_id is not None and letter.first is not None:
                key = letter.user_id, letter.first
                self._counted[key] = letter.count
                self.note(letter.user_id, letter.count - before.get(key, 0))
