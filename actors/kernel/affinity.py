"""Where a runtime or a session may be called from: its own thread, and Trio's event loop in it.

Nothing in this package is guarded by locks. A call from another thread would
find what it touches half changed, and a task that waits in another event loop
is never woken. So each public call asks here first, before it takes anything.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from threading import get_ident

import sniffio
import trio

from actors.errors import ForeignLoop, ForeignThread

IN_A_RUNTIME = "use Runtime.emit_from_thread, or trio.from_thread.run with the runtime's Trio token"
IN_A_SESSION = "use trio.from_thread.run with the Trio token of the session's thread"
"""What another thread may do instead."""

_TO_BEGIN = "call trio.run(main); from asyncio code, in a thread of its own"


class Affinity:
    """The thread that something lives in, which is the one that makes this."""

    __slots__ = ("_instead", "over", "thread")

    def __init__(self, instead: str) -> None:
        self.thread = get_ident()
        self.over = False
        """It lives no more: looking at what is left does no harm from anywhere."""
        self._instead = instead

    def check(self) -> None:
        """Raise :class:`~actors.errors.ForeignThread` in any other thread."""
        if get_ident() != self.thread and not self.over:
            raise ForeignThread(f"expected a call in the thread it was opened in, got one in another; {self._instead}")

    def check_task(self, what: str) -> None:
        """Raise as :meth:`check` does, and :class:`~actors.errors.ForeignLoop` outside of a Trio task."""
        self.check()
        check_trio(what, self._instead)


def check_trio(what: str, instead: str = _TO_BEGIN) -> None:
    """Raise :class:`~actors.errors.ForeignLoop` outside of a Trio task, saying what is there and what to do instead."""
    if not trio.lowlevel.in_trio_task():
        raise ForeignLoop(f"{what}: expected a task of Trio's, got {_found()}; {instead}")


def _found() -> str:
    """The event loop that runs here."""
    asyncio = sys.modules.get("asyncio")  # where it was not imported it does not run, and importing it takes 50 ms
    with suppress(RuntimeError):
        if asyncio is not None and asyncio.get_running_loop() is not None:
            return "asyncio"
    with suppress(sniffio.AsyncLibraryNotFoundError):
        library = sniffio.current_async_library()
        return "Trio outside of any task" if library == "trio" else library
    return "no event loop"
