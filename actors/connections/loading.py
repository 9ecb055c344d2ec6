"""Loading: events that are in the store alone, brought to hand for a device that has come as far as them."""

from __future__ import annotations

from collections.abc import Callable

from actors.kernel.failures import Barrier
from actors.kernel.task_set import Starter
from actors.stores.store import View


class Loading:
    """At most one task that loads, for one connection; until it is done the device lags."""

    __slots__ = ("_on_failed", "_on_loaded", "_tasks", "busy")

    def __init__(
        self, tasks: Starter, *, on_loaded: Callable[[], object], on_failed: Callable[[BaseException], object]
    ) -> None:
        self.busy: bool = False
        """True while it loads."""
        self._tasks = tasks
        self._on_loaded = on_loaded
        self._on_failed = on_failed

    def begin(self, view: View, first: int) -> None:
        """Load a log from an offset on, unless something is being loaded."""
        if not self.busy:
            self.busy = True
            self._tasks.start_soon(self._load, view, first)

    async def _load(self, view: View, first: int) -> None:
        with Barrier(self._on_failed):
            await view.fill(first)
        self.busy = False
        self._on_loaded()

    def __repr__(self) -> str:
        return f"<Loading {'busy' if self.busy else 'idle'}>"
