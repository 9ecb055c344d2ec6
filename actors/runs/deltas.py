"""The coalescer: emits the text that runs have gathered, once for each window.

One task serves all runs. A task or a timer for each would wake up 30 times a
second for every agent that streams text, at 25 to 45 µs a time; here windows
that end close together share one wake-up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from actors.kernel.signals import Doorbell

_RETRY_MS = 10.0
"""The pause between two tries to emit into a full thread, where there is no window."""


class Gathering(Protocol):
    """A run's output, as the coalescer knows it."""

    @property
    def gathering(self) -> bool:
        """True if there is text that was not emitted yet."""
        ...

    @property
    def batch(self) -> int:
        """The number of the batch that gathers; it changes when the batch is emitted, or dropped."""
        ...

    def flush(self) -> None:
        """Emit the gathered text if there is room."""


class DeltaCoalescer:
    """Flushes each output once for each window, in the order in which the windows began.

    ``window_ms`` is in milliseconds, ``clock`` monotonic and in seconds.
    """

    def __init__(self, window_ms: float, clock: Callable[[], float]) -> None:
        self._window_seconds = (window_ms or _RETRY_MS) / 1000
        self._clock = clock
        self._due: deque[tuple[float, Gathering, int]] = deque()
        self._bell = Doorbell()

    def __repr__(self) -> str:
        return f"<DeltaCoalescer {len(self._due)} windows>"

    def gather(self, output: Gathering) -> None:
        """Begin the window of an output that has text."""
        if not self._due:
            self._bell.ring()
        self._due.append((self._clock() + self._window_seconds, output, output.batch))

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
        """Emit the text of each window that is over; an output without room gets another window."""
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            _, output, batch = self._due.popleft()
            if output.batch == batch and output.gathering:
                output.flush()
                if output.gathering:
                    self.gather(output)
