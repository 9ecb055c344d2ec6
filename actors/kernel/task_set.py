"""A set of tasks in a nursery that is another's: cancelled and awaited together, and none while there is nothing to do.

A nursery of one's own needs a parked task to hold it open, which is 5 KiB. An
owner that is idle for most of its life, as a connection is, starts its tasks in
a nursery that is there anyway, and keeps their scopes here.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVarTuple, Unpack

import trio

from actors.kernel.failures import Barrier
from actors.kernel.nesting import Block

Ts = TypeVarTuple("Ts")


class Starter(Protocol):
    """A nursery, or a set of tasks in one."""

    def start_soon(self, async_fn: Callable[[Unpack[Ts]], Awaitable[object]], /, *args: *Ts) -> None:
        """Start a task."""


class TaskSet:
    """The tasks of one owner. A failure of any is passed to ``on_failed``, and stops no other."""

    __slots__ = ("_cancelled", "_context", "_ends", "_nursery", "_on_failed", "_scopes", "_shield")

    def __init__(self, nursery: Starter, on_failed: Callable[[BaseException], object], *, shield: bool = False) -> None:
        self._nursery = nursery
        self._on_failed = on_failed
        self._shield = shield
        """True if a cancelled nursery does not cancel the tasks: their owner does, one by one."""
        self._scopes: dict[trio.CancelScope, Block | None] | None = None
        """The scope of each task, and the task as a block once it has begun. ``None`` while there are none."""
        self._ends: trio.Event | None = None
        """Set when the last task ends, if one waits for that."""
        self._cancelled = False
        self._context = contextvars.copy_context()
        """The context in which the tasks run: that in which the set was made, whichever step needs one."""

    def __repr__(self) -> str:
        return f"<TaskSet tasks={len(self._scopes or ())}{' cancelled' if self._cancelled else ''}>"

    def __len__(self) -> int:
        return len(self._scopes or ())

    def start_soon(self, async_fn: Callable[[Unpack[Ts]], Awaitable[object]], /, *args: *Ts) -> None:
        """Start a task; it is cancelled at its first checkpoint if the set was cancelled."""
        scope = trio.CancelScope(shield=self._shield)
        if self._cancelled:
            scope.cancel()
        if self._scopes is None:
            self._scopes = {}
        self._scopes[scope] = None
        self._context.run(lambda: self._nursery.start_soon(self._run, scope, async_fn, *args))

    @property
    def is_cancelled(self) -> bool:
        """True once :meth:`cancel` was called."""
        return self._cancelled

    @property
    def is_around(self) -> bool:
        """True if the current task is one of these, or was started by one."""
        return any(block is not None and block.is_around for block in (self._scopes or {}).values())

    def cancel(self) -> None:
        """Cancel all tasks, and those to come."""
        self._cancelled = True
        for scope in tuple(self._scopes or ()):
            scope.cancel()

    async def wait_idle(self) -> None:
        """Wait until no task is left; a checkpoint only if it waits."""
        while self._scopes is not None:
            if self._ends is None:
                self._ends = trio.Event()
            await self._ends.wait()

    async def wait_ended(self) -> None:
        """Wait until no task is left; like a nursery's end, it cannot be cancelled. A checkpoint only if it waits."""
        with trio.CancelScope(shield=True):
            await self.wait_idle()

    async def _run(
        self, scope: trio.CancelScope, async_fn: Callable[[Unpack[Ts]], Awaitable[object]], *args: *Ts
    ) -> None:
        assert self._scopes is not None, "this task is one of them"
        self._scopes[scope] = Block.begin()
        try:
            with Barrier(self._on_failed), scope:
                await async_fn(*args)
        finally:
            self._remove(scope)

    def _remove(self, scope: trio.CancelScope) -> None:
        assert self._scopes is not None, "its task was one of them"
        del self._scopes[scope]
        if not self._scopes:
            self._scopes = None
            if self._ends is not None:
                self._ends.set()
                self._ends = None
