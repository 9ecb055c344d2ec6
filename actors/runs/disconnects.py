"""Disconnects: the runs whose user was connected, and has had no device for longer than the grace."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from actors.runs.run import Run
from actors.users.presence import Subscriber


class Disconnects:
    """The times since which owners of active runs have had no device, in seconds of one monotonic clock."""

    def __init__(
        self,
        grace_seconds: float,
        *,
        owner_of: Callable[[str], str | None],
        devices_of: Callable[[str], Collection[Subscriber]],
    ) -> None:
        self._grace_seconds = grace_seconds
        self._owner_of = owner_of
        self._devices_of = devices_of
        self._absent_since: dict[str, float] = {}

    def overdue(self, runs: Iterable[Run], now: float) -> list[Run]:
        """Return those of all active runs whose owner has had no device for the grace, or longer.

        A run whose owner has had none since it began is not among them.
        """
        owned = self._by_owner(runs)
        self._absent_since = {
            user_id: self._absent_since.get(user_id, now) for user_id in owned if not self._devices_of(user_id)
        }
        overdue: list[Run] = []
        for user_id, theirs in owned.items():
            since = self._absent_since.get(user_id)
            for run in theirs:
                run.attended = run.attended or since is None
                if since is not None and run.attended and now - since >= self._grace_seconds:
                    overdue.append(run)
        return overdue

    def _by_owner(self, runs: Iterable[Run]) -> dict[str, list[Run]]:
        owned: dict[str, list[Run]] = {}
        for run in runs:
            owner = self._owner_of(run.thread_id)
            if owner is not None and run.parent is None:
                owned.setdefault(owner, []).append(run)
        return owned
