"""The flusher: one write per connection and tick, whatever number of events came.

Whoever makes a log grow marks the connections concerned; one task then writes
to each of them once. An emitter that places eight events in one step costs
each device one system call and not eight.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors.mailbox import Doorbell
from actors.presence import Device


class Flusher:
    """Writes to marked connections. Their own failures stay their own: ``on_failed`` is told."""

    def __init__(self, on_failed: Callable[[Device, Exception], None]) -> None:
        self._on_failed = on_failed
        self._marked: list[Device] = []
        self._bell = Doorbell()

    def mark(self, device: Device) -> None:
        """Have a connection written to in this tick; must not be marked already."""
        device.marked = True
        if not self._marked:
            self._bell.ring()
        self._marked.append(device)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Flush until cancelled; what is marked meanwhile is flushed in the next round."""
        task_status.started()
        while True:
            await self._bell.wait()
            self.flush()

    def flush(self) -> None:
        """One round: write to everything that is marked now."""
        marked, self._marked = self._marked, []
        for device in marked:
            device.marked = False
            try:
                device.flush()
            except Exception as error:
                self._on_failed(device, error)
