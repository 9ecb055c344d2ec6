"""Losses: a warning where events leave a log before the devices that are there have acked them.

Events of users who are away leave their logs all the time, and the application
is told so by ``on_undelivered``. A device that is here and too slow is another
thing: what is emitted is more than it takes, and the emitter could wait.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from actors.context import Context
from actors.kernel.bounded import LogThrottle
from actors.kernel.failures import log, printable

_WARNING = (
    "user %s: %d events left the log before a device acked them (retention); emit with ahead= to wait for devices"
)


class Losses:
    """Counts what the logs of connected users lose, and warns once per user and period; of very many users, of some."""

    def __init__(self, context: Context, *, devices: Callable[[str], int]) -> None:
        self._devices = devices
        self._lost: Counter[str] = Counter()
        self._warnings = LogThrottle(context.limits.warnings, context.limits.warning_seconds)

    def __repr__(self) -> str:
        return f"<Losses of {len(self._lost)} users to warn of>"

    def note(self, user_id: str, count: int) -> None:
        """Note that so many events left a user's log that no device acked."""
        if self._devices(user_id):
            self._lost[user_id] += count

    def look(self, now: float) -> None:
        """Warn of what was lost, at a time of the monotonic clock in seconds."""
        for user_id, count in tuple(self._lost.items()):
            if self._warnings.take(user_id, now) is not None:
                del self._lost[user_id]
                log(logging.WARNING, _WARNING, printable(user_id), count)
            elif not self._devices(user_id):
                del self._lost[user_id]
