"""A portal: Trio in a thread of its own, for as long as an asyncio block runs.

    async with Portal(enter) as portal:      in asyncio
        portal.inner                         what enter() gave, which lives over there
        await portal.bridge.call(…)

It ends in two ways. The host leaves: what was entered is left, in its own time,
and the thread has ended when the block has. Or what was entered ends by itself:
then the host's task is cancelled, as in ``asyncio.timeout()``, and the error
comes out of the block.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Generic, TypeVar

import trio

from actors.aio.bridge import Bridge
from actors.aio.passage import Passage
from actors.errors import RuntimeClosed
from actors.kernel.failures import unwrap

T = TypeVar("T")


class Portal(Generic[T]):
    """One run of Trio in a thread, with a context manager entered in it. Entered once, in one task."""

    inner: T
    """The target of the context manager."""

    def __init__(
        self,
        bridge: Bridge,
        enter: Callable[[], AbstractAsyncContextManager[T]],
        *,
        name: str,
        patience_seconds: float,
    ) -> None:
        self.bridge = bridge
        self._enter = enter
        self._patience_seconds = patience_seconds
        self._ready: Passage[T] = Passage(bridge.loop)
        self._ended: Passage[None] = Passage(bridge.loop)
        # A daemon, because a host whose loop is killed cannot wait for it.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        """The cancellations of the host's task that had been asked for before it entered."""
        self._asked = False
        """True once the task was cancelled because the other side has ended."""
        self._left = False
        """True once the host leaves, or could not wait for the other side to open."""
        self._error: BaseException | None = None

    async def __aenter__(self) -> Portal[T]:
        """Start the thread, and wait until the other side is entered. Raises what that raises."""
        task = asyncio.current_task()
        assert task is not None, "async with runs in a task"
        self._before = task.cancelling()
        self._thread.start()
        try:
            self.inner = await self._ready.wait()
        except BaseException:
            await self._leave()
            raise
        self._task = task
        if self._ended.settled:
            self._cancel_host()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        """Leave the other side, and wait for its end. Raises its error, unless the block has one of its own."""
        task, self._task = self._task, None
        assert task is not None, "a block is left after it was entered"
        interrupted = await self._leave()
        outstanding = (task.uncancel() if self._asked else task.cancelling()) > self._before
        if isinstance(error, asyncio.CancelledError) and self._asked and not outstanding:
            error = None
        if error is None and interrupted and outstanding:
            raise asyncio.CancelledError
        if error is None and self._error is not None:
            raise self._error

    def _cancel_host(self) -> None:
        """Cancel the task in the block, in the host's loop, once."""
        if self._task is not None and not self._asked:
            self._asked = True
            self._task.cancel("the runtime has ended")

    async def _leave(self) -> bool:
        """Leave the other side; returns when its thread has ended, True if the task was cancelled meanwhile."""
        self._left = True
        with suppress(RuntimeClosed):  # it has ended, or is not open yet, and looks when it is
            self.bridge.soon(self.bridge.leave.set)
        interrupted = await self._ended.wait_out()
        self._thread.join()
        return interrupted

    # --- in the thread ------------------------------------------------------------

    def _run(self) -> None:
        bridge = self.bridge
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001 - it comes out of the host's block
            self._error = unwrap(error)
        bridge.over = True
        unopened = self._error or RuntimeClosed("expected a runtime that opens, it has ended")
        bridge.host(self._ready.settle, None, unopened)
        bridge.host(self._ended.settle, None)
        bridge.host(self._cancel_host)

    async def _main(self) -> None:
        bridge = self.bridge
        # The calls are outside of what is entered, as a host's own tasks are: its end ends what they wait for.
        async with trio.open_nursery() as nursery:
            try:
                async with self._enter() as inner:
                    bridge.open(nursery)
                    bridge.host(self._ready.settle, inner)
                    if self._left:
                        bridge.leave.set()
                    try:
                        await bridge.leave.wait()
                    finally:
                        bridge.hurry(self._patience_seconds)
            finally:
                bridge.close()
                nursery.cancel_scope.cancel()
