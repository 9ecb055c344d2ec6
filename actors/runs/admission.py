"""Admission: the messages that runs answer, from the request to the end of the run's task.

A message is *expected* from the request on, so that it counts while its append
is in flight; *admitted* in the step that handles the store's reply, or
*retracted*. Its run starts at once, or waits for its turn.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.limits import Limits
from actors.runs.registry import RunRegistry
from actors.runs.roster import Roster
from actors.runs.run import Run
from actors.runs.turns import Concurrency, Turns


@attrs.define(eq=False)
class MessageArrival:
    """The :class:`~actors.threads.messages.Arrival` of a message: its run is admitted once the store has placed it.

    That happens in the step that handles the store's reply, so nothing can come
    between the two, whatever happens to the connection that sent the message.
    """

    _admission: Admission
    _run: Run | None
    """The run that answers the message, until it was admitted or retracted."""

    def placed(self) -> None:
        """Admit the run, because the message is new and in its owner's log."""
        run, self._run = self._run, None
        if run is not None:
            self._admission.admit(run)

    def refused(self) -> None:
        """Retract the run, because there is nothing to answer. Idempotent."""
        run, self._run = self._run, None
        if run is not None:
            self._admission.retract(run)


class Admission:
    """The messages that have a run or may get one, and the turns in each thread."""

    def __init__(
        self,
        concurrency: Concurrency,
        limits: Limits,
        *,
        registry: RunRegistry,
        roster: Roster,
        start: Callable[[Run], None],
    ) -> None:
        self.messages: int = 0
        """The number of messages that a run answers, or will, or may."""
        self.expected: dict[Run, None] = {}
        """Runs whose message is on its way to the store."""
        self._concurrency: Concurrency = concurrency
        self._limits = limits
        self._registry = registry
        self._roster = roster
        self._start = start
        self._turns: dict[str, Turns[Run]] = {}
        self._tasks: set[Run] = set()
        """Runs that a message started and that have a task, or will have one in the next tick."""

    def __repr__(self) -> str:
        counts = f"{len(self.expected)} expected, {len(self._tasks)} in tasks"
        return f"<Admission {self.messages} of {self._limits.runs} messages, {counts}>"

    def has_room(self, thread_id: str) -> bool:
        """Return true if a message in this thread may come in now."""
        turns = self._turns_of(thread_id)
        if not self._registry.closing and self.messages < self._limits.runs and turns.expects():
            return True
        self._forget_idle(thread_id, turns)
        return False

    def expect(self, run: Run) -> MessageArrival:
        """Count a run while its message is on its way to the store; returns the arrival that takes the reply."""
        self._turns_of(run.thread_id).expect()
        self.expected[run] = None
        self.messages += 1
        return MessageArrival(self, run)

    def admit(self, run: Run) -> None:
        """Start the run of a message that was placed, or let it wait for its turn."""
        if self._registry.closing:
            self.retract(run)
            run.decline("shutdown")
            return
        del self.expected[run]
        self._registry.add(run)
        starts, ending = self._turns_of(run.thread_id).admit(run)
        for other in ending:
            self.cancel(other, "superseded")
        if starts:
            self._launch(run)
        else:
            run.beginning.waiting = True
            self._roster.announce(run)

    def retract(self, run: Run) -> None:
        """Drop the run of a message that was not placed, or was placed before."""
        del self.expected[run]
        run.forget()
        self.messages -= 1
        turns = self._turns_of(run.thread_id)
        turns.retract()
        self._forget_idle(run.thread_id, turns)

    def cancel(self, run: Run, reason: str) -> None:
        """Cancel a run; one that waits for its turn never starts."""
        if run.message is None or run in self._tasks:
            run.cancel(reason)
        else:
            self.messages -= 1
            run.decline(reason)

    def join(self, run: Run) -> None:
        """Add a run that need not wait to its thread's turns: the application's own, or one that has its turn."""
        self._turns_of(run.thread_id).join(run)

    def end(self, run: Run) -> None:
        """End a run's turn; the next run in the thread starts."""
        turns = self._turns_of(run.thread_id)
        successor = turns.end(run)
        if successor is not None:
            self._launch(successor)
        self._forget_idle(run.thread_id, turns)

    def task_over(self, run: Run) -> None:
        """Stop counting the task of a run against ``limits.runs``."""
        self._tasks.discard(run)
        self.messages -= 1

    def _launch(self, run: Run) -> None:
        run.beginning.waiting = False
        self._tasks.add(run)
        self._start(run)

    def _turns_of(self, thread_id: str) -> Turns[Run]:
        turns = self._turns.get(thread_id)
        if turns is None:
            turns = self._turns[thread_id] = Turns(self._concurrency, self._limits.runs_per_thread)
        return turns

    def _forget_idle(self, thread_id: str, turns: Turns[Run]) -> None:
        if turns.idle:
            self._turns.pop(thread_id, None)
