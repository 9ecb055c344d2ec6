"""The owner of what nobody is named for, where tokens are not checked: the first user who connects.

A feed that names no users, as most chat products' feeds do, can then be
watched by connecting to it. Where tokens are checked nobody inherits anything.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from actors.errors import NotTheOwner, Quarantined
from actors.runtime import Runtime
from actors.tools.serving import connections

_LOOK_SECONDS = 0.05
_WAITING_THREADS = 10_000
"""More threads without an owner than this are not waited for; the oldest are left as they are."""


class DefaultOwner:
    """Waits for the first user, who gets the threads that are waiting, and those that come."""

    def __init__(self, runtime: Runtime) -> None:
        self.user_id: str | None = None
        self._runtime = runtime
        self._waiting: dict[str, None] = {}

    def expect(self, thread_id: str) -> None:
        """A thread waits for an owner."""
        self._waiting[thread_id] = None
        if len(self._waiting) > _WAITING_THREADS:
            del self._waiting[next(iter(self._waiting))]

    async def run(self) -> None:
        """Wait for the first user to have a place in his log, and give him what waits."""
        while (user_id := self._first_user()) is None:  # noqa: ASYNC110 - no event says that somebody came
            await trio.sleep(_LOOK_SECONDS)
        self.user_id = user_id
        for thread_id in self._waiting:
            with suppress(NotTheOwner, Quarantined):
                await self._runtime.bind(thread_id, user_id)
        self._waiting.clear()

    def _first_user(self) -> str | None:
        here = (device.user_id for device in connections(self._runtime) if device.subscription is not None)
        return next(here, None)
