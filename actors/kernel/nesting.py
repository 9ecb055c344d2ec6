"""Nesting of tasks in blocks: a call that waits for a block to end must not come from inside of it.

A block of a task holds that task's own steps, and those of all tasks in
nurseries that were opened in it; a nursery that was there before is outside.
"""

from __future__ import annotations

import attrs
import trio


@attrs.frozen
class Block:
    """A stretch of a task's code that lasts at the moment."""

    _task: trio.lowlevel.Task
    _nurseries: int
    """Nurseries that were open when it began, which close after it."""

    @classmethod
    def begin(cls) -> Block:
        """Begin a block of the current task."""
        task = trio.lowlevel.current_task()
        return cls(task, len(task.child_nurseries))

    @property
    def task(self) -> trio.lowlevel.Task:
        """The task that is in it."""
        return self._task

    @property
    def is_around(self) -> bool:
        """True if the current task is inside."""
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task is not self._task:
            nursery = task.parent_nursery
            if nursery is not None and nursery.parent_task is self._task:
                return nursery not in self._task.child_nurseries[: self._nurseries]
            task = None if nursery is None else nursery.parent_task
        return task is not None
