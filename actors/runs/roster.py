"""The roster: which runs are active, as the devices of their threads' owners are told.

The log says when a run begins and when it ends. A device that comes in between
is told here, as it is of open questions: what it reads of the log may begin
after the run did, and a run that waits for its turn is not in it at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from actors.delivery.announcements import Item
from actors.protocol.server_messages import Inactive, RunLoss, encode
from actors.runs.run import Run
from actors.runs.thread_index import ThreadIndex
from actors.users.presence import Subscriber


class Roster:
    """The active runs of one runtime, by their threads and owners."""

    def __init__(
        self, owner_of: Callable[[str], str | None], devices_of: Callable[[str], Iterable[Subscriber]]
    ) -> None:
        self._runs: ThreadIndex[Run] = ThreadIndex(owner_of)
        self._devices_of = devices_of
        self._homes: dict[Run, str | None] = {}
        """The users to whom runs went with their threads."""

    def __len__(self) -> int:
        """How many threads have an active run."""
        return len(self._runs)

    def add(self, run: Run) -> None:
        """A run is active, or waits for its turn."""
        self._runs.add(run.thread_id, run)

    def part(self, run: Run, user_id: str | None) -> None:
        """A run's last event is in a user's log, or in none; whoever knows of the run and will not read it is told."""
        home = self._remove(run)
        if home != user_id:
            self._tell(home, _inactive(run.run_id, "gone" if user_id is None else "withdrawn"))

    def lose(self, run: Run) -> None:
        """A run has ended without a last event."""
        home = self._remove(run)
        if run.standing is not None:
            self._tell(home, _inactive(run.run_id, "gone"))

    def pending(self, user_id: str) -> list[Item]:
        """What a device that has come has to be told, oldest first."""
        return [partial(self._told, run, user_id) for run in self._runs.of(user_id)]

    def announce(self, run: Run, user_id: str | None) -> None:
        """A run waits for its turn, of which the log says nothing: the devices that are here are told."""
        told = run.standing
        if told is not None:
            self._tell(user_id, told)

    def change_owner(self, thread_id: str, user_id: str | None) -> None:
        """A thread belongs to somebody else: its runs are taken from the one's screens, and shown on the other's."""
        former = self._runs.owner(thread_id)
        homes = {run: self._home(run) for run in self._runs.in_thread(thread_id)}
        self._runs.move(thread_id, user_id)
        for run, home in homes.items():
            self._homes[run] = user_id
            if home != user_id:
                self._tell(home, _inactive(run.run_id, "withdrawn"))
            if former != user_id:
                self.announce(run, user_id)

    def _home(self, run: Run) -> str | None:
        """The user whose devices know of a run: what it began with may have been taken for a former owner."""
        return self._homes[run] if run in self._homes else run.first_owner or self._runs.owner(run.thread_id)

    def _remove(self, run: Run) -> str | None:
        home = self._home(run)
        self._homes.pop(run, None)
        self._runs.remove(run.thread_id, run)
        return home

    def _told(self, run: Run, user_id: str) -> bytes | None:
        """A run as it is told, if it still is this user's and active."""
        return run.standing if self._runs.belongs(run.thread_id, run, user_id) else None

    def _tell(self, user_id: str | None, text: bytes) -> None:
        """Tell the devices of a user; those that are still catching up ask for :meth:`pending` themselves."""
        for device in () if user_id is None else self._devices_of(user_id):
            if device.caught_up:
                device.tell(text)


def _inactive(run_id: str, reason: RunLoss) -> bytes:
    return encode(Inactive(run_id, reason))
