"""The joiner: emits what runs have gathered, when its window is over.

One task for all runs. A task or a timer for each would wake up 30 times a
second for every agent that is speaking, at 25 to 45 µs a time; here windows
that end close together are one wake-up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from actors.kernel.signals import Doorbell
from actors.runs.run import Run

_RETRY_MS = 10.0
"""Between two tries of a run whose thread has no room, where there is no window."""


class DeltaCoalescer:
    """Calls :meth:`Run.flush` once for each window, in the order in which the windows began."""

    def __init__(self, window_ms: float, clock: Callable[[], float]) -> None:
        self._window_seconds = (window_ms or _RETRY_MS) / 1000
        self._clock = clock
        self._due: deque[tuple[float, Run, int]] = deque()
        self._bell = Doorbell()

    def gather(self, run: Run) -> None:
        """A run has text; its window begins now."""
        if not self._due:
            self._bell.ring()
        self._due.append((self._clock() + self._window_seconds, run, run.batch))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Flush until cancelled."""
        task_status.started()
        while True:
            if not self._due:
                await self._bell.wait()
            # An eighth of a window late at most, so that many runs are few wake-ups.
            pause = self._due[0][0] - self._clock() if self._due else 0.0
            await trio.sleep(max(pause, self._window_seconds / 8))
            self.flush()

    def flush(self) -> None:
        """Emit what is due; what found no room is tried again a window later."""
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            _, run, batch = self._due.popleft()
            if run.batch == batch and run.gathering:
                run.flush()
                if run.gathering:
                    self.gather(run)
