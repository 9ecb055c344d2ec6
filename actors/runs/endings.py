"""Endings: how runs are ended from outside, and closed without their code when that does not stop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs
import trio

from actors.context import Context
from actors.events.event import check_identifier
from actors.runs.admission import Admission
from actors.runs.registry import RunRegistry
from actors.runs.run import Run


@attrs.frozen
class Cancellation:
    """The result of a request to cancel a run: which of the run and its children have stopped, and which have not.

    One that has not is closed all the same: its last event was emitted, and its thread goes on.
    """

    stopped: tuple[str, ...]
    running: tuple[str, ...]


class Endings:
    """Ends the runs of one runtime, each within a bound."""

    def __init__(self, context: Context, registry: RunRegistry, *, admission: Admission) -> None:
        self._limits = context.limits
        self._failures = context.failures
        self._registry = registry
        self._admission = admission
        self._patience: trio.Nursery | None = None
        """The tasks that wait for cancelled runs to end."""

    @asynccontextmanager
    async def enforced(self) -> AsyncIterator[None]:
        """Close runs that do not stop in time, during the block; the end of the runtime has its own bound."""
        async with trio.open_nursery() as self._patience:
            yield
            self._patience.cancel_scope.cancel()

    async def cancel(self, run_id: str, reason: str, user_id: str | None = None) -> Cancellation | None:
        """Cancel a run and its children, and wait up to ``cancel_seconds`` for their code to end.

        None when there is no such run, or it is in a thread of another user
        than ``user_id``; only after ``cancel_hold_seconds``, because the
        message that starts it may come in until then. Raises
        :class:`~actors.errors.Unencodable` for a reason that is no identifier.
        A checkpoint; when this is cancelled, the run may or may not have been.
        """
        check_identifier("reason", reason)
        await trio.lowlevel.checkpoint()
        if not await self._registry.becomes_known(run_id, user_id):
            return None
        run = self._registry.find(run_id)
        if run is None:
            return Cancellation((run_id,), ())
        family = run.family
        self._admission.cancel(run, reason)
        await until_over(family, self._limits.cancel_seconds)
        stopped = tuple(one.run_id for one in family if one.over.is_set())
        return Cancellation(stopped, tuple(one.run_id for one in family if not one.over.is_set()))

    def cancel_all(self, reason: str) -> None:
        """Cancel every run; no message starts another one."""
        self._registry.closing = True
        for run in tuple(self._registry.active.values()):
            self._admission.cancel(run, reason)

    def insist(self, runs: list[Run]) -> None:
        """Give cancelled runs ``cancel_seconds`` to end, unless the end of the runtime has a bound."""
        if self._patience is not None and not self._registry.closing:
            self._patience.start_soon(self._wait_and_abandon, runs)

    async def finish(self, seconds: float) -> None:
        """Wait at most ``seconds`` for the runs to end by themselves, those of messages on their way included."""
        with trio.move_on_after(seconds):
            while left := (*self._admission.expected, *self._registry.active.values()):
                await left[0].closed.wait()

    async def close(self, reason: str, seconds: float) -> tuple[str, ...]:
        """Cancel every run, and wait at most ``seconds``; returns the ids of those that have not stopped."""
        self.cancel_all(reason)
        await self.finish(seconds)
        self._abandon(list(self._registry.active.values()), "its shutdown", seconds)
        return tuple(self._registry.abandoned)

    async def _wait_and_abandon(self, runs: list[Run]) -> None:
        seconds = self._limits.cancel_seconds
        await until_over(runs, seconds)
        self._abandon(runs, "its cancellation", seconds)

    def _abandon(self, runs: list[Run], handling: str, seconds: float) -> None:
        """Close runs that have not stopped ``seconds`` after they were cancelled; each is reported once."""
        for run in runs:
            if run.over.is_set() or self._registry.abandoned.get(run.run_id) is run:
                continue
            if run.beginning.emitted:
                task = None if run.block is None else run.block.task
                self._failures.report_shielded(f"runs/{run.run_id}", seconds, task, handling=handling)
            self._registry.abandon(run)
            run.abandon()


async def until_over(runs: Iterable[Run], seconds: float) -> None:
    """Wait until these runs are over, at most ``seconds``."""
    with trio.move_on_after(seconds):
        for run in runs:
            await run.over.wait()
