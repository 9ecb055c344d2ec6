"""The flusher: one write per connection and tick, whatever number of events came.

Whoever makes a log grow marks its user; one task then writes to each of the
user's devices once. An emitter that places eight events in one step costs each
device one system call and not eight. A deployment that would rather have fewer
writes than early ones lets it wait for a window (``flush_ms``) first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from actors.kernel.failures import Barrier
from actors.kernel.signals import Doorbell
from actors.users.presence import Presence, Subscriber


class Flusher:
    """Writes to the devices of marked users. A device's failure stays its own: ``on_failed`` is told."""

    def __init__(self, on_failed: Callable[[Subscriber, BaseException], None], window_ms: float = 0.0) -> None:
        self._on_failed = on_failed
        self._window_seconds = window_ms / 1000
        self._marked: dict[Presence, None] = {}
        self._bell = Doorbell()

    def mark(self, presence: Presence) -> None:
        """Have a user's devices written to in this tick."""
        if not self._marked:
            self._bell.ring()
        self._marked[presence] = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Flush until cancelled; what is marked meanwhile is flushed in the next round."""
        task_status.started()
        while True:
            await self._bell.wait()
            if self._window_seconds:
                await trio.sleep(self._window_seconds)
            self.flush()

    @property
    def idle(self) -> bool:
        """Whether nobody is marked."""
        return not self._marked

    def flush(self) -> None:
        """One round: write to everybody who is marked now."""
        marked, self._marked = self._marked, {}
        for presence in marked:
            presence.rung = False
            for device in presence.devices:
                with Barrier(partial(self._on_failed, device)):
                    device.flush()
