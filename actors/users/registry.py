"""The registry: from a user's id to the user's devices, and the bell that says that their log has grown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, KeysView

from actors.context import Context
from actors.kernel.bounded import LogThrottle
from actors.kernel.failures import log, printable
from actors.stores.store import Store, View
from actors.users.presence import Presence, Subscriber


class Registry:
    """Every user's presence, by id; has the flusher write to the users that are rung."""

    def __init__(self, context: Context, mark: Callable[[Presence], None]) -> None:
        self._limits = limits = context.limits
        self._clock = context.environment.clock
        self._mark = mark
        """Asks the flusher to write to a user's devices in this tick."""
        self._presences: dict[str, Presence] = {}
        self._warnings = LogThrottle(limits.warnings, limits.warning_seconds)

    def __repr__(self) -> str:
        devices = sum(len(presence.devices) for presence in self._presences.values())
        return f"<Registry users={len(self._presences)} devices={devices}>"

    def presence(self, user_id: str) -> Presence:
        """Return a user's presence, begun if there is none."""
        presence = self._presences.get(user_id)
        if presence is None:
            presence = self._presences[user_id] = Presence(self._limits.departures)
        return presence

    def known(self, user_id: str | None) -> Presence | None:
        """Return a user's presence, if there is one."""
        return None if user_id is None else self._presences.get(user_id)

    @property
    def users(self) -> KeysView[str]:
        """The users with a presence."""
        return self._presences.keys()

    def devices(self, user_id: str) -> int:
        """Return the number of a user's connections."""
        presence = self._presences.get(user_id)
        return 0 if presence is None else len(presence.devices)

    def retire(self, forget: Callable[[str], bool]) -> None:
        """Forget the users that have had no device for long, if ``forget`` agrees; called once in a retire period.

        Their sessions go, because only a device could ask for them. ``forget``
        drops their log, their books and their actor, and returns true if it could.
        """
        most = self._limits.session_seconds / self._limits.retire_seconds + 1
        for user_id, presence in tuple(self._presences.items()):
            presence.absences = 0 if presence.devices or presence.held else presence.absences + 1
            if presence.absences > most and forget(user_id):
                del self._presences[user_id]
                if presence.view is not None:
                    presence.view.close()

    async def follow(self, user_id: str, store: Store) -> None:
        """Follow a user's log, unless it is followed. A checkpoint where it is not; raises as the store does.

        The user's presence stays for a while, so that a device may be attached.
        """
        presence = self.presence(user_id)
        while presence.view is None:
            view = await store.follow(user_id)
            presence = self.presence(user_id)
            if presence.view is None:
                presence.view = view
            else:
                view.close()
        presence.absences = 0

    def unconfirmed(self) -> Iterator[tuple[str, View]]:
        """Yield the users of whose acks and writes the store has yet to be told; they count as told from now on."""
        for user_id, presence in self._presences.items():
            if presence.unconfirmed and presence.view is not None:
                presence.unconfirmed = False
                yield user_id, presence.view

    def devices_of(self, user_id: str) -> tuple[Subscriber, ...]:
        """Return a user's connections."""
        presence = self._presences.get(user_id)
        return () if presence is None else tuple(presence.devices)

    def ring(self, user_id: str | None, thread_id: str) -> Presence | None:
        """Ring a thread's owner, because the log has grown; warn where no device is there to receive it.

        Returns the owner's presence, if a device is there. The thread may keep
        it, and have it marked itself as long as there are devices: a presence
        that was forgotten has none, nor will it have one.
        """
        presence = None if user_id is None else self._presences.get(user_id)
        if presence is None or not presence.devices:
            self._warn(thread_id, user_id)
            return None
        self._mark(presence)
        return presence

    def _warn(self, thread_id: str, user_id: str | None) -> None:
        """Warn once per thread and period that its events reach no device; of very many threads, of some."""
        unsaid = self._warnings.take(thread_id, self._clock())
        if unsaid is None:
            return
        if unsaid:
            log(logging.WARNING, "%d more events, of other threads, reached nobody either", unsaid)
        thread_id = printable(thread_id)
        if user_id is None:
            log(logging.WARNING, "thread %s has no owner: its events are held until it is bound to a user", thread_id)
        else:
            text = "thread %s: its owner %s has no device connected; events wait in the log"
            log(logging.WARNING, text, thread_id, printable(user_id))
