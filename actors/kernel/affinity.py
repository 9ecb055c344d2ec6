"""Thread affinity: a runtime or a session is called in its own thread, and in Trio's event loop there.

No lock guards anything in this package. A call from another thread would find
the state that it touches half changed, and a task that waits in another event
loop is never woken. So each public call checks here first, before it takes
anything.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from threading import get_ident

import sniffio
import trio

from actors.errors import ForeignLoop, ForeignThread

IN_A_RUNTIME = "use Runtime.emit_from_thread, trio.from_thread.run with its Trio token, or for asyncio actors.aio"
IN_A_SESSION = "use trio.from_thread.run with the Trio token of the session's thread"
"""The ways in from another thread."""

_TO_BEGIN = "call trio.run(main); from asyncio code, in a thread of its own"


class Affinity:
    """The thread that a runtime or a session lives in, which is the one that makes this."""

    __slots__ = ("_instead", "over", "thread")

    def __init__(self, instead: str) -> None:
        self.thread: int = get_ident()
        self.over: bool = False
        """True once it has ended: to look at the rest does no harm from any thread."""
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
    """Raise :class:`~actors.errors.ForeignLoop` outside of a Trio task, with the loop found and the way to do it."""
    if not trio.lowlevel.in_trio_task():
        raise ForeignLoop(f"{what}: expected a task of Trio's, got {_found()}; {instead}")


def check_no_asyncio(what: str) -> None:
    """Raise :class:`~actors.errors.ForeignLoop` where asyncio runs in this thread, because the call would block it."""
    if _runs_asyncio():
        instead = "use actors.aio, or await asyncio.to_thread"
        raise ForeignLoop(f"{what}: expected a thread that may wait, got one in which asyncio runs; {instead}")


def _runs_asyncio() -> bool:
    asyncio = sys.modules.get("asyncio")  # where it was not imported it does not run, and importing it takes 50 ms
    with suppress(RuntimeError):
        return asyncio is not None and asyncio.get_running_loop() is not None
    return False


def _found() -> str:
    if _runs_asyncio():
        return "asyncio"
    with suppress(sniffio.AsyncLibraryNotFoundError):
        library = sniffio.current_async_library()
        return "Trio outside of any task" if library == "trio" else library
    return "no event loop"
