"""The owner of threads for which no line names a user, without ``--tokens``: the first user that connects.

So a developer can watch a feed that names no users, as most chat products'
feeds, by connecting to it. Where tokens are checked there is no default owner.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from actors.errors import NotTheOwner, Quarantined
from actors.runtime import Runtime
from actors.tools.serving import connections

_LOOK_SECONDS = 0.05
_WAITING_THREADS = 10_000
"""The most threads that wait for the owner; beyond it the oldest stay without one."""


class DefaultOwner:
    """The first user that connects, who gets the threads that wait and those that come later."""

    def __init__(self, runtime: Runtime) -> None:
        self.user_id: str | None = None
        self._runtime = runtime
        self._waiting: dict[str, None] = {}

    def expect(self, thread_id: str) -> None:
        """Note a thread that waits for an owner."""
        self._waiting[thread_id] = None
        if len(self._waiting) > _WAITING_THREADS:
            del self._waiting[next(iter(self._waiting))]

    async def run(self) -> None:
        """Wait until the first user's device has a subscription, and bind the waiting threads to that user."""
        while (user_id := self._first_user()) is None:  # noqa: ASYNC110 - no event says that a user came
            await trio.sleep(_LOOK_SECONDS)
        self.user_id = user_id
        for thread_id in self._waiting:
            with suppress(NotTheOwner, Quarantined):
                await self._runtime.bind(thread_id, user_id)
        self._waiting.clear()

    def _first_user(self) -> str | None:
        users = (device.user_id for device in connections(self._runtime) if device.subscription is not None)
        return next(users, None)
