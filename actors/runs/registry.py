"""The registry of runs: the active ones, those closed before their code stopped, and the ones that have ended."""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors.errors import IdempotencyConflict, RuntimeClosed
from actors.kernel.bounded import RecentMap
from actors.limits import Limits
from actors.runs.roster import Roster
from actors.runs.run import Run


class RunRegistry:
    """Every run of one runtime, by id."""

    def __init__(self, roster: Roster, owner_of: Callable[[str], str | None], *, limits: Limits) -> None:
        self.active: dict[str, Run] = {}
        """Runs that have begun, or wait for their turn."""
        self.abandoned: dict[str, Run] = {}
        """Runs that were closed because their code did not stop, until it does. Their threads go on meanwhile."""
        self.closing = False
        """True once the runtime ends: only runs of messages on their way may begin."""
        self._roster = roster
        self._owner_of = owner_of
        self._hold_seconds = limits.cancel_hold_seconds
        self._ended: RecentMap[str, str] = RecentMap(limits.ended_runs)
        """The threads of runs that have ended, by run."""
        self._awaited: dict[str, list[trio.Event]] = {}
        """Cancels that wait for a run to be known, by run."""

    def __repr__(self) -> str:
        closing = ", closing" if self.closing else ""
        return f"<RunRegistry {len(self.active)} active, {len(self.abandoned)} abandoned{closing}>"

    def check_may_begin(self, run: Run) -> None:
        """Raise IdempotencyConflict while another run has this one's id, RuntimeClosed when none may begin."""
        if self.active.get(run.run_id, run) is not run:
            raise IdempotencyConflict(f"run id {run.run_id!r}: expected one that no active run has")
        if run.run_id in self.abandoned:
            raise IdempotencyConflict(f"run id {run.run_id!r}: expected one that no run has whose code goes on")
        if self.closing and run.parent is None and run.message is None:
            raise RuntimeClosed("expected an open runtime, it is closing")

    def add(self, run: Run) -> None:
        """Add a run that begins, or waits for its turn; cancels that waited for it go on."""
        self.active[run.run_id] = run
        self._roster.add(run)
        for bell in self._awaited.get(run.run_id, ()):
            bell.set()

    def end(self, run: Run) -> bool:
        """Note that a run has ended; false, and no effect, for one that was not active."""
        if self.active.get(run.run_id) is not run:
            return False
        del self.active[run.run_id]
        if not run.output.last_emitted:
            self._roster.lose(run)
        self._ended.put(run.run_id, run.thread_id)
        return True

    def abandon(self, run: Run) -> None:
        """Note that a run is being closed without its code."""
        self.abandoned[run.run_id] = run

    def leave(self, run: Run) -> None:
        """Note that a run's code has ended, however late."""
        if self.abandoned.get(run.run_id) is run:
            del self.abandoned[run.run_id]

    def find(self, run_id: str) -> Run | None:
        """Return the run of this id that is active, waits for its turn, or was abandoned."""
        return self.active.get(run_id) or self.abandoned.get(run_id)

    @property
    def around(self) -> Run | None:
        """The run that the current task is inside of, if any."""
        runs = (*self.active.values(), *self.abandoned.values())
        return next((run for run in runs if run.block is not None and run.block.is_around), None)

    async def becomes_known(self, run_id: str, user_id: str | None) -> bool:
        """Wait until a run is known, at most ``cancel_hold_seconds``; with a user, only in a thread of that user."""
        with trio.move_on_after(self._hold_seconds):
            while not self._is_known(run_id, user_id):
                bell = trio.Event()
                waiting = self._awaited.setdefault(run_id, [])
                waiting.append(bell)
                try:
                    await bell.wait()
                finally:
                    waiting.remove(bell)
                    if not waiting:
                        self._awaited.pop(run_id, None)
        return self._is_known(run_id, user_id)

    def _is_known(self, run_id: str, user_id: str | None) -> bool:
        run = self.find(run_id)
        thread_id = self._ended.get(run_id) if run is None else run.thread_id
        return thread_id is not None and (user_id is None or self._owner_of(thread_id) == user_id)
