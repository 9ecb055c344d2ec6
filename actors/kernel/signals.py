"""Signals for one waiting task: a doorbell that coalesces rings, and a reply to one question."""

from __future__ import annotations

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Doorbell:
    """A bell for one task. Rings coalesce: after any number of them the task wakes once, and looks for itself."""

    __slots__ = ("_rung", "_task")

    def __init__(self) -> None:
        self._rung = False
        self._task: trio.lowlevel.Task | None = None

    def ring(self) -> None:
        """Wake the task that waits, or let the next :meth:`wait` return at once."""
        self._rung = True
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Wait for a ring since the last wait; a checkpoint. One task may wait at a time."""
        assert self._task is None, "one task waits at a doorbell"
        if self._rung:
            await trio.lowlevel.checkpoint()
        else:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._rung = False

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def __repr__(self) -> str:
        return f"<Doorbell {'rung' if self._rung else 'silent'}{'' if self._task is None else ' awaited'}>"


class Reply(Generic[T]):
    """One answer for the one task that waits for it."""

    __slots__ = ("_answer", "_bell", "_error")

    def __init__(self) -> None:
        self._bell: trio.Event | None = None
        self._answer: T | None = None
        self._error: Exception | None = None

    @property
    def answered(self) -> bool:
        """True if there is an answer, or an error."""
        return self._answer is not None or self._error is not None

    def give(self, answer: T) -> None:
        """Answer, and wake the task that waits."""
        self._answer = answer
        self._ring()

    def refuse(self, error: Exception) -> None:
        """Answer with an error, which :meth:`wait` raises."""
        self._error = error
        self._ring()

    async def wait(self) -> T:
        """Return the answer or raise the error; a checkpoint. Cancelled, the task loses an answer that may still
        come."""
        if self._answer is None and self._error is None:
            self._bell = trio.Event()
            await self._bell.wait()
        else:
            await trio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error
        assert self._answer is not None, "the bell rings with an answer"
        return self._answer

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.set()

    def __repr__(self) -> str:
        state = "refused" if self._error is not None else "answered" if self._answer is not None else "open"
        return f"<Reply {state}>"
