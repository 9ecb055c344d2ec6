"""Leases: runs of programs elsewhere, each with one first and one last event, for as long as the program is heard.

The run is a block in a task of this process, as a run of the application's own
is: so it has its first event, exactly one last one, and can be cancelled by its
user. A program that is not heard for the time of its lease is taken for lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast

import msgspec
import trio

from actors.errors import ActorsError, IdempotencyConflict, RunEnded
from actors.events.event import Lifecycle, Payload, encode
from actors.http.problems import Problem
from actors.http.schemas import NewRun, RunAnswer, RunEnd, RunFailure
from actors.kernel.bounded import RecentMap
from actors.receipts import Receipt
from actors.runs.run import Run
from actors.runtime import Runtime

State = Literal["active", "completed", "failed", "cancelled"]


class AgentFailure(Exception):
    """A failure that a program reported of its run; its type's name is the program's word."""


class ProducerLost(AgentFailure):
    """The program of a run was not heard for the time of its lease."""


class Lease:
    """One run of a program elsewhere."""

    def __init__(self, new: NewRun, run_id: str, *, traceparent: str | None = None) -> None:
        self.run_id = run_id
        self.thread_id: str = new.thread_id
        self.agent_name: str = new.agent_name
        self.traceparent = traceparent
        self.seconds: float = new.lease_s
        self.deadline: float = trio.current_time() + new.lease_s
        self.run: Run | None = None
        self.end: RunEnd | None = None
        """The end, as the program said it."""
        self.said: trio.Event = trio.Event()
        """Set once it did."""
        self.begun: trio.Event = trio.Event()
        """Set once its first event was emitted, or could not be."""

    def __repr__(self) -> str:
        return f"<Lease of {self.run_id} in {self.thread_id}: {self.state}>"

    def touch(self) -> None:
        """Begin the time of the lease anew."""
        self.deadline = trio.current_time() + self.seconds

    @property
    def state(self) -> State:
        """The outcome of the run, or that it goes on."""
        outcome = None if self.run is None else self.run.outcome
        return "active" if outcome is None else cast("State", outcome.removeprefix("agent_"))

    @property
    def over(self) -> trio.Event:
        """Set once its last event was emitted, or never will be."""
        assert self.run is not None, "it has begun"
        return self.run.closed

    def answer(self) -> RunAnswer:
        """Return the run as it is written."""
        return RunAnswer(run_id=self.run_id, thread_id=self.thread_id, state=self.state, lease_s=self.seconds)


class Leases:
    """The leases of one API; its tasks are in the nursery that it was given."""

    def __init__(self, runtime: Runtime, nursery: trio.Nursery) -> None:
        self._runtime = runtime
        self._nursery = nursery
        self._leases: dict[str, Lease] = {}
        self._ended: RecentMap[str, Lease] = RecentMap(runtime.limits.ended_runs)

    def __repr__(self) -> str:
        return f"<Leases of {len(self._leases)} runs>"

    def find(self, run_id: str) -> Lease:
        """Return the lease of a run, and begin its time anew. Raises Problem for one that is not known."""
        lease = self._leases.get(run_id) or self._ended.get(run_id)
        if lease is None or lease.run is None:
            raise Problem("unknown_run")
        lease.touch()
        return lease

    async def begin(self, new: NewRun, traceparent: str | None = None) -> Lease:
        """Begin a run, once for each ``run_id``. Raises what ``Thread.run`` raises."""
        run_id = self._runtime.environment.new_id("run") if new.run_id is None else new.run_id
        known = self._leases.get(run_id) or self._ended.get(run_id)
        if known is None:
            return await self._open(Lease(new, run_id, traceparent=traceparent))
        if (known.thread_id, known.agent_name) != (new.thread_id, new.agent_name):
            raise IdempotencyConflict(f"run {run_id}: expected a run id of its own, it is that of another run")
        known.touch()
        await known.begun.wait()
        if known.run is None:
            raise Problem("failed", f"run {run_id} could not begin; the answer to the first request says why")
        return known

    async def end(self, run_id: str, end: RunEnd) -> Lease:
        """End a run, once, and wait for its last event. Raises Unencodable for a result that no event can carry."""
        lease = self.find(run_id)
        if lease.end is None and not lease.over.is_set():
            self._check(lease, end)
            lease.end = end
            lease.said.set()
        await lease.over.wait()
        return lease

    @contextmanager
    def lend(self, run: Run, seconds: float) -> Iterator[Lease]:
        """Let a program elsewhere speak in a run of this process's own, in the run's block."""
        lease = Lease(NewRun(thread_id=run.thread_id, agent_name=run.agent_name, lease_s=seconds), run.run_id)
        lease.run = run
        lease.begun.set()
        self._leases[run.run_id] = lease
        try:
            yield lease
        finally:
            self._give_back(lease)

    async def conclude(self, lease: Lease) -> None:
        """Wait until a program ends its run; raises AgentFailure as it says, or where it is not heard.

        Called in the run's block, which must end then.
        """
        assert lease.run is not None, "the block is that of the run"
        while not lease.said.is_set() and trio.current_time() < lease.deadline:
            with trio.move_on_at(lease.deadline):
                await lease.said.wait()
        _conclude(lease, lease.run)
        await trio.lowlevel.checkpoint()

    async def emit(
        self,
        thread_id: str,
        type_: str,
        payload: Payload,
        *,
        run_id: str | None,
        event_id: str | None,
        user_id: str | None,
        ahead: int | None = None,
        traceparent: str | None = None,
    ) -> Receipt:
        """Emit an event, no more than ``ahead`` of the thread's devices; one of a leased run through the run, which
        takes none after its last one."""
        thread = self._runtime.thread(thread_id, ahead=ahead)
        lease = None if run_id is None else self._leases.get(run_id) or self._ended.get(run_id)
        if lease is not None and lease.thread_id != thread_id:
            raise Problem("conflict", f"run {run_id}: expected an event in its thread {lease.thread_id}")
        if lease is None or lease.run is None or self._came_before(lease, event_id):
            return await thread.emit(
                type_, payload, run_id=run_id, event_id=event_id, user_id=user_id, traceparent=traceparent
            )
        lease.touch()
        if user_id is not None:
            await self._runtime.bind(thread_id, user_id)
        return await lease.run.emit(type_, payload, event_id=event_id)

    def _came_before(self, lease: Lease, event_id: str | None) -> bool:
        """Return true for a repetition that comes after the run's end: it gets the receipt of the first."""
        if event_id is None or lease.state == "active":
            return False
        if not self._runtime.explain(event_id, lease.thread_id).known:
            raise RunEnded(f"run {lease.run_id}: expected a run that goes on, it is {lease.state}")
        return True

    def _check(self, lease: Lease, end: RunEnd) -> None:
        """Raise Unencodable for a result that no event can carry, before it is taken for the run's."""
        payload = {"result": msgspec.Raw(end.result)} if end.result else {}
        last, limits = Lifecycle.AGENT_COMPLETED, self._runtime.limits
        encode(last, payload, lease.thread_id, lease.run_id, lease.run_id, 0.0, limits)

    async def _open(self, lease: Lease) -> Lease:
        self._leases[lease.run_id] = lease
        await self._nursery.start(self._hold, lease, name=f"leases/{lease.run_id}")
        return lease

    async def _hold(self, lease: Lease, task_status: trio.TaskStatus[None]) -> None:
        """Be the block of a run, until the program ends it, its user does, or its time is up."""
        try:
            thread, trace = self._runtime.thread(lease.thread_id), lease.traceparent
            async with thread.run(lease.agent_name, run_id=lease.run_id, traceparent=trace) as run:
                lease.run = run
                lease.begun.set()
                task_status.started()
                await self.conclude(lease)
        except (AgentFailure, ActorsError):
            if lease.run is None:
                raise
        finally:
            self._give_back(lease)
            lease.begun.set()

    def _give_back(self, lease: Lease) -> None:
        del self._leases[lease.run_id]
        if lease.run is not None:
            self._ended.put(lease.run_id, lease)


def failure_of(failure: RunFailure) -> AgentFailure:
    """Return an exception for a failure in a program elsewhere; the run's last event has its type's name and text."""
    kind: type[AgentFailure] = type(failure.type, (AgentFailure,), {})
    return kind(failure.message)


def _conclude(lease: Lease, run: Run) -> None:
    """End the block as the program said, or for want of it."""
    end = lease.end
    if end is None:
        raise ProducerLost(f"no request about the run came for {lease.seconds:g} s")
    if end.outcome == "failed":
        raise failure_of(RunFailure() if end.error is None else end.error)
    if end.result:
        run.result = msgspec.Raw(end.result)
    if end.outcome == "cancelled":
        run.cancel("application" if end.reason is None else end.reason)
