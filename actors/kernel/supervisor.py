"""Static supervision after OTP, on Trio nurseries.

A child is a task in a cancel scope of its own, which is shielded: a cancellation
from outside reaches only the supervisor's loop, and the loop passes it on to one
child after the other, the latest first. A bare nursery would cancel all at once.

    Return = stopped, raise = crashed, Cancelled = asked to stop.

The loop does one thing at a time, as OTP's does: it takes an exit, stops the
children that the exit concerns, notes when they are due, and starts one that is
due. While it waits for an exit or a due time it can be cancelled; stopping is
bounded and is not.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import attrs
import trio
from attrs.validators import gt

from actors.environment import Environment
from actors.errors import RestartsExhausted
from actors.kernel.failures import Barrier, Failures, describe
from actors.kernel.restarts import Backoff, Intensity, Restart, RestartWindow, Strategy, plan

__all__ = ["Child", "Restart", "Strategy", "Supervisor"]


@attrs.frozen(kw_only=True)
class Child:
    """The specification of one child: its start, its stop, its restarts."""

    name: str
    """Its name below the supervisor's path, in failures and in task names."""

    start: Callable[[trio.TaskStatus[Any]], Awaitable[None]]
    """Runs as the child's task, and calls ``started()`` once it serves: the next waits for that, or for its end."""

    restart: Restart = Restart.PERMANENT
    """The exits after which it is restarted."""

    shutdown_seconds: float = attrs.field(default=5.0, validator=gt(0))
    """Time to stop by itself, and as long again once cancelled. ``math.inf`` for a child that supervises."""

    stop: Callable[[], None] | None = None
    """Asks it to stop by itself. Without one it is cancelled at once."""


@attrs.frozen(kw_only=True)
class Supervisor:
    """Starts its children in order, restarts them by its strategy, stops them in reverse.

    It is a description: :meth:`run` may be called again, as a supervisor above does
    that restarts this one. The restart intensity counts all children together.
    """

    path: str
    children: Sequence[Child]
    strategy: Strategy = attrs.field(kw_only=True)
    intensity: Intensity = attrs.field(kw_only=True)
    backoff: Backoff = attrs.field(kw_only=True)
    environment: Environment = attrs.field(kw_only=True)
    failures: Failures = attrs.field(kw_only=True)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise until no child is left; ``started()`` once all of them serve.

        However it ends, it stops the children first. It raises bare, never in a group:

        - :exc:`RestartsExhausted`, when one restart more was needed than the intensity allows. It has the
          last error as text; with its traceback that is in ``failures``, once, like every other crash.
        - A child's own error, when it crashed at its first start before it said ``started()``, which is
          not in ``failures`` too; or when that is no crash to mend: ``KeyboardInterrupt``.
        - ``Cancelled``, when cancelled. A child that shields itself is reported, and still waited for.
        """
        await _Supervision(self).run(task_status)


@attrs.define(eq=False, kw_only=True)
class _Life:
    """One life of a child, from start to exit. The child knows it as its ``task_status``."""

    slot: _Slot
    first: bool
    """True if this is no restart: if it crashes before it serves, the whole start has failed."""
    scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    serving: trio.Event = attrs.field(factory=trio.Event)
    """Set once it has said ``started()``, or has gone."""
    gone: trio.Event = attrs.field(factory=trio.Event)
    stop_requested: bool = False
    """True once its supervisor has asked it to go, so that its exit has no consequences."""
    crash: str | None = None
    task: trio.lowlevel.Task | None = None

    def started(self, value: object = None) -> None:
        self.serving.set()

    async def gone_in_time(self) -> bool:
        with trio.move_on_after(self.slot.child.shutdown_seconds):
            await self.gone.wait()
        return self.gone.is_set()


@attrs.define(eq=False, kw_only=True)
class _Slot:
    """A child's slot in the order. It holds a life, or is due for one, or is due once the last one has gone."""

    child: Child
    life: _Life | None = None
    due: float = math.inf
    """The time at which to start the child, on Trio's clock."""

    @property
    def state(self) -> str:
        """The child's state in a word."""
        if self.life is None:
            return "gone" if self.due == math.inf else "due"
        if self.life.stop_requested:
            return "stopping"
        return "serving" if self.life.serving.is_set() else "starting"


class _Supervision:
    """The state of one run of a supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._slots = [_Slot(child=child) for child in supervisor.children]
        self._window = RestartWindow(supervisor.intensity)
        self._gone, self._exits = trio.open_memory_channel[_Life](math.inf)
        self._nursery: trio.Nursery
        self._ending: BaseException | None = None

    def __repr__(self) -> str:
        children = " ".join(f"{slot.child.name}={slot.state}" for slot in self._slots)
        return f"<Supervision {self._supervisor.path} {children}>"

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                await self._concluding(self._supervise(task_status))
                await self._concluding(self._stop(reversed(self._slots)))
                self._cancel()
            if self._ending is not None:
                raise self._ending
        finally:
            self._ending = None  # its traceback holds this frame

    async def _supervise(self, task_status: trio.TaskStatus[None]) -> None:
        for slot in self._slots:
            await self._start(slot, first=True)
        task_status.started()
        while any(slot.life is not None or slot.due < math.inf for slot in self._slots):
            await self._step()

    async def _step(self) -> None:
        """See to the next exit, or start the next child that is due.

        Invariant: two lives of one child never overlap, so a child that shields itself delays its successor.
        """
        slot = min(self._slots, key=lambda slot: slot.due)
        life = await self._exit_before(slot.due if slot.life is None else math.inf)
        if life is None:
            await self._start(slot)
        else:
            await self._take_exit(life)

    async def _exit_before(self, due: float) -> _Life | None:
        # An exit comes first, even at the due time, because a crash may concern the siblings that were to start next.
        with suppress(trio.WouldBlock):
            return self._exits.receive_nowait()
        with trio.move_on_at(due):
            return await self._exits.receive()
        return None

    async def _take_exit(self, life: _Life) -> None:
        """Carry out OTP's plan for an exit, after a pause."""
        slot = life.slot
        slot.life = None
        if life.stop_requested:
            return
        supervisor = self._supervisor
        kinds = [child.restart for child in supervisor.children]
        todo = plan(supervisor.strategy, kinds, self._slots.index(slot), crashed=life.crash is not None)
        if not todo.start:
            return
        if self._window.spent(supervisor.environment.clock()):
            raise self._exhausted(life)
        await self._stop(self._slots[number] for number in todo.stop)
        pause = supervisor.backoff.delay(len(self._window), supervisor.environment.random.random())
        due = trio.current_time() + pause
        for number in todo.start:
            self._slots[number].due = due

    def _exhausted(self, life: _Life) -> RestartsExhausted:
        path, intensity = self._supervisor.path, self._supervisor.intensity
        return RestartsExhausted(
            f"{path}: expected at most {intensity.restarts} restarts within {intensity.period_seconds:g} s, "
            f"got {len(self._window)}; the last was for {life.slot.child.name}, which "
            + ("returned" if life.crash is None else f"crashed: {life.crash}")
        )

    # --- one child --------------------------------------------------------------

    async def _start(self, slot: _Slot, *, first: bool = False) -> None:
        """Begin a life, and wait until it serves or is over."""
        slot.due = math.inf
        slot.life = life = _Life(slot=slot, first=first)
        self._nursery.start_soon(self._live, life, name=self._path(life))
        await life.serving.wait()
        if not first:
            self._supervisor.failures.note_restart(self._path(life))

    async def _live(self, life: _Life) -> None:
        life.task = trio.lowlevel.current_task()
        try:
            with Barrier(lambda error: self._note_crash(life, error)), life.scope:
                await life.slot.child.start(life)
        except BaseException as error:  # noqa: BLE001 - raised by run
            self._interrupt(error)
        life.serving.set()
        life.gone.set()
        self._gone.send_nowait(life)

    def _note_crash(self, life: _Life, error: BaseException) -> None:
        life.crash = describe(error)
        if life.first and not life.serving.is_set() and not life.stop_requested:
            self._interrupt(error)  # it comes out of run, so it is not reported as well
        else:
            self._report(life, "its task", error)

    async def _stop(self, slots: Iterable[_Slot]) -> None:
        """Stop those that live, one after the other."""
        with trio.CancelScope(shield=True):
            for slot in slots:
                if slot.life is not None and not slot.life.stop_requested:
                    await self._stop_one(slot.life)

    async def _stop_one(self, life: _Life) -> None:
        """Ask, wait, cancel, wait; Trio has no kill, so a child that is still there is reported."""
        life.stop_requested = True
        if life.gone.is_set() or (self._request_stop(life) and await life.gone_in_time()):
            return
        life.scope.cancel()
        if not await life.gone_in_time():
            self._supervisor.failures.report_shielded(self._path(life), life.slot.child.shutdown_seconds, life.task)

    def _request_stop(self, life: _Life) -> bool:
        """Ask a child to stop by itself; False when it takes no such request, or failed on it."""
        if life.slot.child.stop is None:
            return False
        with Barrier(lambda error: self._report(life, "the request to stop", error)):
            life.slot.child.stop()
            return True
        return False

    # --- endings and reports ----------------------------------------------------

    async def _concluding(self, part: Awaitable[None]) -> None:
        """Keep what ``part`` raises until the nursery is closed, which would wrap it in a group."""
        try:
            await part
        except BaseException as error:  # noqa: BLE001 - raised by run
            self._conclude(error)

    def _conclude(self, error: BaseException) -> None:
        if self._ending is None or not isinstance(error, trio.Cancelled):
            self._ending = error

    def _interrupt(self, error: BaseException) -> None:
        """End the loop, and run with ``error``. The children are shielded."""
        self._conclude(error)
        self._nursery.cancel_scope.cancel()

    def _cancel(self) -> None:
        """Cancel the children that are left: none, unless an interrupt cut an orderly stop short."""
        for slot in self._slots:
            if slot.life is not None:
                slot.life.scope.cancel()

    def _path(self, life: _Life) -> str:
        return f"{self._supervisor.path}/{life.slot.child.name}"

    def _report(self, life: _Life, handling: str, error: BaseException) -> None:
        self._supervisor.failures.report(self._path(life), handling, error)
