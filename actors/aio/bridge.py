"""The bridge between two event loops: asyncio's, which is the host's, and Trio's, in a thread of its own.

    soon(f)          f runs over there, and nothing waits for it
    await ask(f)     f runs over there, and its result comes back: no task there
    await call(af)   a task over there; cancelled here, it is cancelled there, and has ended when that goes on
    host(f)          from over there: f runs here
    await visit(af)  from over there: a task here; cancelled there, it is cancelled here, and waited for

What is handed over runs in the order in which it was handed over. An exception
never escapes into the loop that runs it: one that has no caller is reported,
because Trio ends its whole run for an exception of a callback.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import Any, TypeVar

import trio

from actors.aio.line import Line
from actors.aio.passage import Passage
from actors.aio.visit import Visit
from actors.errors import ForeignLoop, ForeignThread, RuntimeClosed
from actors.kernel.failures import Barrier, complain, is_cancellation
from actors.observability.instrument import Instruments
from actors.observability.tracer import Tracer

T = TypeVar("T")

Report = Callable[[BaseException], object]
"""The function that takes an exception without a caller."""


def _complain(error: BaseException) -> None:
    complain("a call from asyncio", error)


class Bridge:
    """The ways between the asyncio loop that made it and one run of Trio."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        """The host's loop."""
        self.report: Report = _complain
        """Takes exceptions that have no caller."""
        self.leave: trio.Event = trio.Event()
        """Set, over there, when the host leaves or its loop is gone."""
        self.over = False
        """True once Trio has ended."""
        self.instruments: Instruments | None = None
        """The observers of the runtime over there, once it is open."""
        self.thread: int = get_ident()
        """The host's thread."""
        self._inside: Counter[asyncio.Task[Any]] = Counter()
        """The tasks of the host that are inside of what a drain ends, runs above all; in how many."""
        self._context = contextvars.copy_context()
        """The context of the code that opened the runtime; each visit begins in a copy of it."""
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._shields: set[trio.CancelScope] = set()
        self._until = float("inf")

    def __repr__(self) -> str:
        state = "over" if self.over else "not open" if self._nursery is None else "open"
        return f"<Bridge {state}>"

    # --- from asyncio into the runtime's loop -----------------------------------

    def soon(self, function: Callable[..., object], *args: Any) -> None:
        """Run a function in the runtime's loop; from any thread. Raises RuntimeClosed when that has ended."""
        if self._token is None:
            raise _closed()
        try:
            self._token.run_sync_soon(self._run, function, args)
        except trio.RunFinishedError:
            raise _closed() from None

    async def ask(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in the runtime's loop, and return its result. Raises what it raises, and RuntimeClosed.

        Cancelled before it began, it does not run; cancelled later, it has
        run or runs, and its result is lost.
        """
        passage: Passage[T] = self.passage()
        self.soon(self._answer, passage, function, args)
        try:
            return await passage.wait()
        except asyncio.CancelledError:
            passage.withdrawn = True
            raise

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await a coroutine function in the runtime's loop, and return its result. Raises what it raises.

        Cancelled, it is cancelled there, and has ended when CancelledError
        comes out; its result is lost if it had one. Raises RuntimeClosed when
        the runtime has ended, or ends meanwhile.
        """
        passage: Passage[T] = self.passage()
        scope = trio.CancelScope()
        self.soon(self.begin, passage, scope, function, args)
        return await self.finish(passage, scope)

    async def attempt(
        self, now: Callable[[], T], later: Callable[[], Awaitable[T]], line: Line, *, passing: bool = False
    ) -> T:
        """Run ``now`` in the runtime's loop, or await ``later`` there in line where that raises WouldBlock.

        Saves the task while there is room, and waits behind those that wait.
        Raises and is cancelled as :meth:`call`.
        """
        passage: Passage[T] = self.passage()
        scope = trio.CancelScope()
        join = line.join_passing if passing else line.join
        self.soon(self._attempt, passage, scope, now, lambda: join(later), line)
        return await self.finish(passage, scope)

    def passage(self) -> Passage[Any]:
        """Make the end of a call from here. Raises ForeignThread or ForeignLoop anywhere but in the host's loop."""
        if get_ident() != self.thread:
            instead = "asyncio.run_coroutine_threadsafe(coroutine, loop)"
            raise ForeignThread(f"expected a call in the thread that opened the runtime, got one in another; {instead}")
        if host_loop("a call", "use the Trio runtime there") is not self.loop:
            raise ForeignLoop("expected a call in the loop that opened the runtime, got one in another")
        return Passage(self.loop)

    async def finish(self, passage: Passage[T], scope: trio.CancelScope) -> T:
        """Wait for a call that has a scope over there; cancelled, cancel that, and wait until it has ended."""
        try:
            return await passage.wait()
        except asyncio.CancelledError:
            if not passage.settled:
                passage.withdrawn = True
                with suppress(RuntimeClosed):
                    self.soon(scope.cancel)
                await passage.wait_out()
            raise

    # --- tasks of the host ------------------------------------------------------

    def go_inside(self, task: asyncio.Task[Any]) -> None:
        """Note that a task is inside of something that a drain ends and waits for."""
        self._inside[task] += 1

    def go_outside(self, task: asyncio.Task[Any]) -> None:
        """Note that a task has left it."""
        self._inside[task] -= 1
        if not self._inside[task]:
            del self._inside[task]

    @property
    def is_inside(self) -> bool:
        """True if the current task is inside of something that a drain ends."""
        return asyncio.current_task() in self._inside

    # --- in the runtime's loop --------------------------------------------------

    def open(self, nursery: trio.Nursery) -> None:
        """Take the nursery in which calls are tasks."""
        self._token = trio.lowlevel.current_trio_token()
        self._nursery = nursery

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery in which calls are tasks. Raises RuntimeClosed before and after its time."""
        if self._nursery is None:
            raise _closed()
        return self._nursery

    def close(self) -> None:
        """Take no new calls."""
        self._nursery = None

    def hurry(self, patience_seconds: float) -> None:
        """Give code of the host that was, or will be, cancelled so many seconds from now on to unwind."""
        self._until = trio.current_time() + patience_seconds
        for scope in self._shields:
            scope.deadline = self._until

    def begin(
        self, passage: Passage[T], scope: trio.CancelScope, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]
    ) -> None:
        """Start the task of a call, unless it was withdrawn."""
        if passage.withdrawn:
            self.host(passage.settle, None)
        elif self._nursery is None:
            self.host(passage.settle, None, _closed())
        else:
            self._nursery.start_soon(self._perform, passage, scope, function, args)

    def host(self, function: Callable[..., object], *args: Any) -> bool:
        """Run a function in the host's loop; False, and the runtime ends, if that was closed and left this behind."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            self.leave.set()
            return False
        return True

    async def visit(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await a coroutine function in the host's loop, from a task of the runtime's. A checkpoint.

        Raises what it raises. Cancelled, it is cancelled there, and its end is
        waited for: a result or an error that comes all the same counts. It
        sees the context variables of the code that opened the runtime.
        """
        visit: Visit[T] = Visit(self.loop, self._context.copy(), function=function, args=args)
        if not self.host(visit.begin, trio.lowlevel.current_trio_token()):
            raise RuntimeClosed("expected a host, its event loop was closed")
        try:
            await visit.over.wait()
        except trio.Cancelled:
            if self.host(visit.cancel):
                with self.patience():
                    await visit.over.wait()
            if not visit.has_result:
                raise
        return visit.result()

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Shield a wait for code of the host to unwind; at the end of the runtime, for as long as that has."""
        with trio.CancelScope(shield=True, deadline=self._until) as scope:
            self._shields.add(scope)
            try:
                yield
            finally:
                self._shields.discard(scope)

    def _run(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            function(*args)
        except BaseException as error:  # noqa: BLE001 - one that escaped would end the whole run of Trio
            with Barrier(_complain):
                self.report(error)

    def _answer(self, passage: Passage[T], function: Callable[..., T], args: tuple[Any, ...]) -> None:
        if passage.withdrawn:
            return
        try:
            value = function(*args)
        except BaseException as error:  # noqa: BLE001 - it is its caller's, over there
            self.host(passage.settle, None, error)
        else:
            self.host(passage.settle, value)

    def _attempt(
        self,
        passage: Passage[T],
        scope: trio.CancelScope,
        now: Callable[[], T],
        joined: Callable[[], Callable[[], Awaitable[T]]],
        line: Line,
    ) -> None:
        if passage.withdrawn:
            self.host(passage.settle, None)
            return
        try:
            if not line.empty:
                raise trio.WouldBlock
            value = now()
        except trio.WouldBlock:
            self.begin(passage, scope, joined(), ())
        except BaseException as error:  # noqa: BLE001 - it is its caller's, over there
            self.host(passage.settle, None, error)
        else:
            self.host(passage.settle, value)

    async def _perform(
        self, passage: Passage[T], scope: trio.CancelScope, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]
    ) -> None:
        value, error = None, None
        try:
            with scope:
                value = await function(*args)
        except BaseException as caught:
            # In a group, where the function has a nursery; one with others goes no further, or it would end all calls.
            error = closed_meanwhile() if is_cancellation(caught) else caught
            if is_cancellation(caught):
                raise
        finally:
            self.host(passage.settle, value, error)


def host_loop(what: str, instead: str) -> asyncio.AbstractEventLoop:
    """Return the running loop of asyncio's. Raises ForeignLoop where there is none."""
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    found = "Trio" if trio.lowlevel.in_trio_run() else "no event loop"
    raise ForeignLoop(f"{what}: expected a task of asyncio's, got {found}; {instead}")


def tracer_of(bridge: Bridge) -> Tracer | None:
    """Return the tracer of the runtime over there, if it is traced."""
    return None if bridge.instruments is None else bridge.instruments.tracer


def trace_of(bridge: Bridge, traceparent: str | None) -> str | None:
    """Return the trace that a call from here belongs to: the one that is named, or where the runtime is traced that of
    the calling code, because what is current here is not current over there."""
    tracer = tracer_of(bridge)
    return traceparent if traceparent is not None or tracer is None else tracer.here()


def closed_meanwhile() -> RuntimeClosed:
    """Make the error of a call that the end of the runtime has ended."""
    return RuntimeClosed("expected a runtime that stays open, it has ended meanwhile")


def _closed() -> RuntimeClosed:
    return RuntimeClosed("expected an open runtime, it is closed")
