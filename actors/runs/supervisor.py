"""The supervisor of runs: who is active where, whose turn it is, and who must end.

Runs that a message started are tasks here; runs that the application opened
with ``Thread.run`` are in its own tasks, and known here. Both are ended from
here: by a client's cancel, by a newer message, by a user who has gone, by the
runtime's end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Literal

import attrs
import trio

from actors.bounded import RecentMap
from actors.checks import awaitable
from actors.context import Context
from actors.errors import IdempotencyConflict, RuntimeClosed
from actors.events.event import check_identifier
from actors.kernel.failures import Barrier, unwrap
from actors.runs.asks import Asks
from actors.runs.deltas import DeltaCoalescer
from actors.runs.roster import Roster
from actors.runs.run import Message, Run
from actors.runs.turns import Concurrency, Turns
from actors.threads.emitter import Emitter
from actors.users.presence import Subscriber

OnMessage = Callable[[Run, Message], Awaitable[Any]]
"""Answers a user's message; what it returns is the run's result."""

OnDisconnect = Literal["detach", "cancel_after"]
"""What a run does when its user's last device has gone: go on, or end after a grace."""


@attrs.frozen(kw_only=True)
class Agents:
    """The application's answer to messages, and how its runs get along in a thread."""

    on_message: OnMessage | None = None
    concurrency: Concurrency = "queue"
    on_disconnect: OnDisconnect = "detach"


@attrs.frozen
class Cancellation:
    """What became of a request to cancel a run: of the run and its children, which have stopped and which have not.

    One that has not is closed all the same: its last event was emitted, and its thread goes on.
    """

    stopped: tuple[str, ...]
    running: tuple[str, ...]


class Runs:
    """Every run of one runtime."""

    def __init__(
        self,
        context: Context,
        emitter: Emitter,
        asks: Asks,
        agents: Agents,
        *,
        devices_of: Callable[[str], Collection[Subscriber]],
        owner_of: Callable[[str], str | None],
    ) -> None:
        self.emitter = emitter
        self.asks = asks
        self.limits = limits = context.limits
        self._environment = environment = context.environment
        self._failures = context.failures
        self.active: dict[str, Run] = {}
        """Runs that have begun, and those whose turn is to come, by id."""
        self.roster = Roster(owner_of, devices_of)
        self.deltas = DeltaCoalescer(limits.delta_window_ms, environment.clock)
        self._agents = agents
        self._agent_name = _name_of(agents.on_message)
        self._devices_of = devices_of
        self._owner_of = owner_of
        self._turns: dict[str, Turns[Run]] = {}
        self.abandoned: dict[str, Run] = {}
        """Runs that were closed because they did not stop, and whose code goes on, by id. Their threads go on, too."""
        self._tasks: set[Run] = set()
        """Runs that a message started and that have a task, or will have one in the next tick."""
        self._expected: dict[Run, None] = {}
        """Runs whose message is on its way to the store."""
        self._messages = 0
        """Messages that a run answers, is to answer, or may have to."""
        self._ended: RecentMap[str, str] = RecentMap(limits.ended_runs)
        """The threads of runs that have ended, by run."""
        self._awaited: dict[str, list[trio.Event]] = {}
        """Cancels that wait for a run to be known, by run."""
        self._absent_since: dict[str, float] = {}
        """Since when the owner of an active run has had no device."""
        self.answers = agents.on_message is not None
        """Whether messages are answered by runs."""
        self._closing = False
        self._nursery: trio.Nursery | None = None
        self._bounds: trio.Nursery | None = None
        """What waits for cancelled runs to end."""
        self._asked = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise until asked to stop, then until no run is left; cancelled, it cancels them."""
        async with trio.open_nursery() as self._nursery, trio.open_nursery() as self._bounds:
            task_status.started()
            await self._asked.wait()
            self._bounds.cancel_scope.cancel()  # who ends the runtime has a bound of its own

    def stop(self) -> None:
        """Ask the supervisor to stop once its runs have ended."""
        self._asked.set()
        self.cancel_all("shutdown")

    # --- the application's own runs ---------------------------------------------

    def new(self, thread_id: str, agent_name: str, run_id: str | None) -> Run:
        """A run that its caller opens."""
        return Run(thread_id, self._environment.new_id("run") if run_id is None else run_id, agent_name, self)

    # --- what a run asks of its supervisor ----------------------------------------

    def begins(self, run: Run) -> None:
        """A run may begin, and is known; or it is told why not."""
        if self.active.get(run.run_id, run) is not run:
            raise IdempotencyConflict(f"run id {run.run_id!r}: expected one that no active run has")
        if run.run_id in self.abandoned:
            raise IdempotencyConflict(f"run id {run.run_id!r}: expected one that no run has whose code goes on")
        if self._closing and run.parent is None and run.message is None:
            raise RuntimeClosed("expected an open runtime, it is closing")
        self._know(run)
        if run.parent is None:
            self._turns_of(run.thread_id).join(run)

    def ended(self, run: Run) -> None:
        """The run has ended; the next in the thread has its turn."""
        if self.active.get(run.run_id) is run:
            del self.active[run.run_id]
            if not run.parting:
                self.roster.lose(run)
            self._ended.put(run.run_id, run.thread_id)
        if run.parent is not None:
            return
        turns = self._turns_of(run.thread_id)
        successor = turns.end(run)
        if successor is not None:
            self._launch(successor)
        self._forget_idle(run.thread_id, turns)

    def failed(self, run: Run, error: BaseException) -> None:
        """The application's code raised: said once, to the observer."""
        if not isinstance(unwrap(error), KeyboardInterrupt):
            self._failures.report(f"runs/{run.run_id}", f"thread {run.thread_id}", error)

    def gather(self, run: Run) -> None:
        """A run has text to join."""
        self.deltas.gather(run)

    def insist(self, runs: list[Run]) -> None:
        """Runs were asked to end, and have ``cancel_seconds`` for it, unless the end of the runtime has a bound."""
        if self._bounds is not None and not self._closing:
            self._bounds.start_soon(self._wait_and_abandon, runs)

    def parted(self, run: Run, user_id: str | None) -> None:
        """A run's last event is where its user reads it, or will never be."""
        self.roster.part(run, user_id)

    def left(self, run: Run) -> None:
        """The run's code is over, however late."""
        if self.abandoned.get(run.run_id) is run:
            del self.abandoned[run.run_id]

    # --- messages ---------------------------------------------------------------

    def expect(self, run_id: str, message: Message, *, again: bool) -> Expected | None:
        """A user's message has come in; ``None`` when no run could answer it now.

        Otherwise what is returned is to be told what becomes of the message.
        One that came before (``again``) is not refused: its run exists.
        """
        if self._agents.on_message is None:
            return Expected(self, None)
        turns = self._turns_of(message.thread_id)
        if not again and (self._closing or self._messages >= self.limits.runs or not turns.expects()):
            self._forget_idle(message.thread_id, turns)
            return None
        run = Run(message.thread_id, run_id, self._agent_name, self, message=message)
        turns.expect()
        self._expected[run] = None
        self._messages += 1
        return Expected(self, run)

    def admit(self, run: Run) -> None:
        """The message was placed: its run starts, or waits for its turn."""
        if self._closing:
            self.retract(run)
            run.decline("shutdown")
            return
        del self._expected[run]
        self._know(run)
        starts, ending = self._turns_of(run.thread_id).admit(run)
        for other in ending:
            self._cancel(other, "superseded")
        if starts:
            self._launch(run)
        else:
            run.waiting = True
            self.roster.announce(run, self._owner_of(run.thread_id))

    def retract(self, run: Run) -> None:
        """The message was not placed, or has been placed before."""
        del self._expected[run]
        run.forget()
        self._messages -= 1
        turns = self._turns_of(run.thread_id)
        turns.retract()
        self._forget_idle(run.thread_id, turns)

    def _launch(self, run: Run) -> None:
        assert self._nursery is not None, "runs are supervised before messages come in"
        run.waiting = False
        self._tasks.add(run)
        self._nursery.start_soon(self._answer, run, name=f"runs/{run.run_id}")

    async def _answer(self, run: Run) -> None:
        """The task of a run: the application's coroutine, and a barrier. What it raises the run has reported."""
        assert self._agents.on_message is not None, "a run that answers a message has somebody to do it"
        assert run.message is not None, "a run is launched for a message"
        try:
            with Barrier(lambda error: None if run.outcome else self.failed(run, error)):
                async with run.open():
                    await trio.lowlevel.checkpoint_if_cancelled()
                    result = await awaitable("on_message", self._agents.on_message(run, run.message))
                    run.result = run.result if result is None else result
        finally:
            self._tasks.discard(run)
            self._messages -= 1

    # --- ending runs --------------------------------------------------------------

    async def cancel(self, run_id: str, reason: str, user_id: str | None = None) -> Cancellation | None:
        """Cancel a run and its children, and wait up to ``cancel_seconds`` for their code to end.

        ``None`` when there is no such run, or it is in a thread that is not
        the user's; that is known only after ``cancel_hold_seconds``, in which
        the message that starts it may come in. A checkpoint; cancelled, the
        run may or may not have been asked to end.
        """
        check_identifier("reason", reason)
        await trio.lowlevel.checkpoint()
        if not await self._becomes_known(run_id, user_id):
            return None
        run = self.active.get(run_id) or self.abandoned.get(run_id)
        if run is None:
            return Cancellation((run_id,), ())
        family = run.family
        self._cancel(run, reason)
        await until_over(family, self.limits.cancel_seconds)
        stopped = tuple(one.run_id for one in family if one.over.is_set())
        return Cancellation(stopped, tuple(one.run_id for one in family if not one.over.is_set()))

    def sweep(self, now: float) -> None:
        """End the runs of users who were here and have been gone for longer than the grace."""
        if self._agents.on_disconnect == "detach":
            return
        owned: dict[str, list[Run]] = {}
        for run in self.active.values():
            owner = self._owner_of(run.thread_id)
            if owner is not None and run.parent is None:
                owned.setdefault(owner, []).append(run)
        self._absent_since = {
            user_id: self._absent_since.get(user_id, now) for user_id in owned if not self._devices_of(user_id)
        }
        for user_id, runs in owned.items():
            since = self._absent_since.get(user_id)
            for run in runs:
                run.attended = run.attended or since is None
                if since is not None and run.attended and now - since >= self.limits.disconnect_grace_seconds:
                    self._cancel(run, "disconnected")

    @property
    def around(self) -> Run | None:
        """The run that the current task is inside of, if it is inside of one."""
        runs = (*self.active.values(), *self.abandoned.values())
        return next((run for run in runs if run.block is not None and run.block.is_around), None)

    async def finish(self, seconds: float) -> None:
        """Wait for the runs to end by themselves, those of messages on their way included, and no longer than this."""
        with trio.move_on_after(seconds):
            while left := (*self._expected, *self.active.values()):
                await left[0].closed.wait()

    def cancel_all(self, reason: str) -> None:
        """Ask every run to end; no message starts another one."""
        self._closing = True
        for run in tuple(self.active.values()):
            self._cancel(run, reason)

    async def close(self, reason: str, seconds: float) -> tuple[str, ...]:
        """End every run; those that have not stopped after so long, or had not before, by id."""
        self.cancel_all(reason)
        await self.finish(seconds)
        self._abandon(list(self.active.values()), "its shutdown", seconds)
        return tuple(self.abandoned)

    async def _wait_and_abandon(self, runs: list[Run]) -> None:
        seconds = self.limits.cancel_seconds
        await until_over(runs, seconds)
        self._abandon(runs, "its cancellation", seconds)

    def _abandon(self, runs: list[Run], handling: str, seconds: float) -> None:
        """Close those that go on so long after they were cancelled, without their code: each is reported once."""
        for run in runs:
            if run.over.is_set() or self.abandoned.get(run.run_id) is run:
                continue
            if run.begun:
                task = None if run.block is None else run.block.task
                self._failures.report_shielded(f"runs/{run.run_id}", seconds, task, handling=handling)
            self.abandoned[run.run_id] = run
            run.abandon()

    def _cancel(self, run: Run, reason: str) -> None:
        """Cancel a run; one that waits for its turn will not have it."""
        if run.message is None or run in self._tasks:
            run.cancel(reason)
        else:
            self._messages -= 1
            run.decline(reason)

    async def _becomes_known(self, run_id: str, user_id: str | None) -> bool:
        """Whether a run is known to a user, now or in a moment; one of somebody else's never is."""
        with trio.move_on_after(self.limits.cancel_hold_seconds):
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
        run = self.active.get(run_id) or self.abandoned.get(run_id)
        thread_id = self._ended.get(run_id) if run is None else run.thread_id
        return thread_id is not None and (user_id is None or self._owner_of(thread_id) == user_id)

    def _know(self, run: Run) -> None:
        self.active[run.run_id] = run
        self.roster.add(run)
        for bell in self._awaited.get(run.run_id, ()):
            bell.set()

    def _turns_of(self, thread_id: str) -> Turns[Run]:
        turns = self._turns.get(thread_id)
        if turns is None:
            turns = self._turns[thread_id] = Turns(self._agents.concurrency, self.limits.runs_per_thread)
        return turns

    def _forget_idle(self, thread_id: str, turns: Turns[Run]) -> None:
        if turns.idle:
            self._turns.pop(thread_id, None)


class Expected:
    """A message on its way to the store, and the run that answers it once it is there.

    The :class:`~actors.threads.actor.Arrival` of the message's event: the run starts
    in the step in which the store's answer is noted, so nothing can come
    between the two, whatever happens to the connection that brought it.
    """

    def __init__(self, runs: Runs, run: Run | None) -> None:
        self._runs = runs
        self._run = run
        """What there is to do, until it was done."""

    def placed(self) -> None:
        """The message is new: its run starts, or waits for its turn."""
        run, self._run = self._run, None
        if run is not None:
            self._runs.admit(run)

    def refused(self) -> None:
        """There is nothing to answer; said again, it changes nothing."""
        run, self._run = self._run, None
        if run is not None:
            self._runs.retract(run)


def _name_of(on_message: object) -> str:
    """What ``agent_started`` calls the application's function; what has no name of its own is called by its type."""
    name = getattr(on_message, "__name__", None)
    return name if isinstance(name, str) and name else type(on_message).__name__


async def until_over(runs: Iterable[Run], seconds: float) -> None:
    """Wait until these runs are over, and no longer than this."""
    with trio.move_on_after(seconds):
        for run in runs:
            await run.over.wait()
