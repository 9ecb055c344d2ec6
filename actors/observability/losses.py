"""Losses: what leaves a log before the devices that are there have acked it, and what it sheds for who is away.

Events of users who are away leave their logs all the time, and the application
is told so by ``on_undelivered``. A device that is here and too slow is another
thing: what is emitted is more than it takes, and the emitter could wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from actors.context import Context
from actors.delivery.dead_letters import DeadLetter
from actors.observability.lines import RETENTION, RETENTION_AWAY
from actors.stages import Cause


class Losses:
    """Counts what logs lose, and says it once per user and period; of very many users, of some."""

    def __init__(self, context: Context, *, devices: Callable[[str], int]) -> None:
        self._devices = devices
        self._lines = context.lines
        self._lost: Counter[str] = Counter()
        self._counted: dict[tuple[str, int], int] = {}
        """The events of a dead letter that were counted, by user and first offset: what follows it is joined to it."""
        self._looked_at = 0.0
        """The time of the newest dead letter that was counted: wall clock, in seconds."""

    def __repr__(self) -> str:
        return f"<Losses of {len(self._lost)} users to warn of>"

    def note(self, user_id: str, count: int) -> None:
        """Note that so many events left a user's log that sockets had taken, and no device acked."""
        if count and self._devices(user_id):
            self._lost[user_id] += count

    def look(self, letters: Sequence[DeadLetter]) -> None:
        """Say what was lost; ``letters`` are the newest drops.

        Those are looked at here, and not when they come, because for a user who
        is away each event that comes drops another one.
        """
        self._count(letters)
        for user_id, count in tuple(self._lost.items()):
            if self._lines.grants(RETENTION, user_id):
                del self._lost[user_id]
                self._lines.say(RETENTION, user_id, user_id=user_id, count=count)
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
                self._note_dropped(letter.user_id, letter.count - before.get(key, 0))

    def _note_dropped(self, user_id: str, count: int) -> None:
        if self._devices(user_id):
            self.note(user_id, count)
        elif count:
            self._lines.say(RETENTION_AWAY, user_id, user_id=user_id, count=count)
