"""The roster: the active runs, announced to the devices of their threads' owners.

The log says when a run begins and when it ends. A device that connects in
between learns of the run from here, as it does of open questions, because the
part of the log that it reads may begin after the run did, and has nothing of a
run that waits for its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from actors.delivery.announcements import Item
from actors.events.delivered import Position
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
        self._owner_of = owner_of
        self._devices_of = devices_of
        self._homes: dict[Run, str | None] = {}
        """The new owners of runs whose threads changed owner."""

    def __len__(self) -> int:
        """The number of threads that have an active run."""
        return len(self._runs)

    def __repr__(self) -> str:
        return f"<Roster of runs in {len(self)} threads>"

    def add(self, run: Run) -> None:
        """Add a run that is active, or waits for its turn."""
        self._runs.add(run.thread_id, run)

    def end(self, run: Run, last: Position | None) -> None:
        """Remove a run, with the position of its last event if that is in a log; tell devices that will not read it.

        A store that is waited for may show an event before its answer is noted
        here. A device that read it so may have been told since then that the
        run is active.
        """
        home = self._remove(run)
        if last is None or home != last.user_id:
            self._tell(home, _inactive(run.run_id, "gone" if last is None else "withdrawn"))
            return
        for device in self._devices_of(last.user_id):
            if device.subscription is not None and device.subscription.has_sent(last.epoch, last.offset):
                device.tell(_inactive(run.run_id, "gone"))

    def lose(self, run: Run) -> None:
        """Remove a run that has ended without a last event."""
        home = self._remove(run)
        if run.beginning.standing is not None:
            self._tell(home, _inactive(run.run_id, "gone"))

    def pending(self, user_id: str, thread_id: str | None = None) -> list[Item]:
        """Return the messages for a new device, oldest run first; of all threads, or of one."""
        runs = self._runs.of(user_id)
        return [partial(self._message, run, user_id) for run in runs if thread_id in (None, run.thread_id)]

    def announce(self, run: Run) -> None:
        """Tell the connected devices of a run that waits for its turn, because the log has nothing of it."""
        self._announce(run, self._owner_of(run.thread_id))

    def change_owner(self, thread_id: str, user_id: str | None) -> None:
        """Withdraw a thread's runs from its former owner's devices, and show them on the new owner's."""
        former = self._runs.owner(thread_id)
        homes = {run: self._home(run) for run in self._runs.in_thread(thread_id)}
        self._runs.move(thread_id, user_id)
        for run, home in homes.items():
            self._homes[run] = user_id
            if home != user_id:
                self._tell(home, _inactive(run.run_id, "withdrawn"))
            if former != user_id:
                self._announce(run, user_id)

    def _announce(self, run: Run, user_id: str | None) -> None:
        text = run.beginning.standing
        if text is not None:
            self._tell(user_id, text)

    def _home(self, run: Run) -> str | None:
        """Return the user whose devices know of a run: its first event may be in the log of a former owner."""
        if run in self._homes:
            return self._homes[run]
        return run.beginning.first_owner or self._runs.owner(run.thread_id)

    def _remove(self, run: Run) -> str | None:
        home = self._home(run)
        self._homes.pop(run, None)
        self._runs.remove(run.thread_id, run)
        return home

    def _message(self, run: Run, user_id: str) -> bytes | None:
        """Return the message ``active`` for a run, if it still is, and in a thread of this user."""
        return run.beginning.standing if self._runs.belongs(run.thread_id, run, user_id) else None

    def _tell(self, user_id: str | None, text: bytes) -> None:
        """Tell the devices of a user; those that are still catching up ask for :meth:`pending` themselves."""
        for device in () if user_id is None else self._devices_of(user_id):
            if device.caught_up:
                device.tell(text)


def _inactive(run_id: str, reason: RunLoss) -> bytes:
    return encode(Inactive(run_id, reason))
