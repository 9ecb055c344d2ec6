"""Supervision of actors that come and go by key: every thread, every user.

Each of them has a restart budget of its own. When it is spent, that one is
quarantined: its mailbox refuses, what it held is buried with the cause, and
nobody else notices. Elixir's ``DynamicSupervisor`` ends all its children when
one exhausts the budget they share; conversations must not share that fate.

The supervisor owns the mailboxes, so that a crash loses nothing that was
queued. The actors behind them own no more than can be built again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from actors.bounded import RecentMap
from actors.delivery.restarts import Backoff, Intensity, RestartWindow
from actors.environment import Environment
from actors.errors import Quarantined, RuntimeClosed
from actors.failures import Barrier, Failure, Failures, failure_of, shielded
from actors.mailbox import Actor, Crashed, Lane, Mailbox
from actors.stages import Cause

M = TypeVar("M")


class DynamicSupervisor(Generic[M]):
    """Mailboxes by key, each with the actor that ``build`` makes for it."""

    def __init__(
        self,
        name: str,
        build: Callable[[str], Actor[M]],
        *,
        lane: Lane,
        intensity: Intensity,
        backoff: Backoff,
        shutdown_seconds: float,
        remembered: int,
        environment: Environment,
        failures: Failures,
        on_buried: Callable[[M, Cause], bool | None],
        on_quarantined: Callable[[str, Failure], None],
    ) -> None:
        self.name = name
        self._build = build
        self._lane = lane
        self._intensity = intensity
        self._backoff = backoff
        self._shutdown_seconds = shutdown_seconds
        self._environment = environment
        self._failures = failures
        self._on_buried = on_buried
        self._on_quarantined = on_quarantined
        self._recent: dict[str, Mailbox[M]] = {}
        self._older: dict[str, Mailbox[M]] = {}
        self._windows: RecentMap[str, RestartWindow] = RecentMap(remembered)
        self._quarantined: dict[str, Failure] = {}
        self._tended: dict[Mailbox[M], trio.lowlevel.Task | None] = {}
        """Who has a task, or will have one in the next tick."""
        self._nursery: trio.Nursery | None = None
        self._ended = False
        self._asked = trio.Event()
        self._quiet = trio.Event()

    def mailbox(self, key: str) -> Mailbox[M]:
        """An actor's mailbox; the actor is built when it is first named.

        Not to be kept across a turn of the scheduler where :meth:`retire` is used.
        """
        mailbox = self._recent.get(key)
        if mailbox is None:
            mailbox = self._older.pop(key, None) or Mailbox(key, self._build(key), self, self._lane)
            self._recent[key] = mailbox
            if self._ended:
                mailbox.close(_closed, Cause.SHUTDOWN)
        return mailbox

    def retire(self) -> None:
        """Forget the actors that are idle and were not named since the last call but one; they are built again."""
        for key, mailbox in self._older.items():
            if not mailbox.idle:
                self._recent.setdefault(key, mailbox)
        self._older, self._recent = self._recent, {}

    def forget(self, key: str) -> bool:
        """Forget one actor, which is built again when it is named; false when it has work, or is out of service."""
        mailbox = self._recent.get(key) or self._older.get(key)
        if mailbox is not None and (not mailbox.idle or key in self._quarantined):
            return False
        self._recent.pop(key, None)
        self._older.pop(key, None)
        return True

    def quarantined(self, key: str) -> Failure | None:
        """The failure that spent an actor's budget, while it is out of service."""
        return self._quarantined.get(key)

    def release(self, key: str) -> None:
        """Put a quarantined actor back into service, with a fresh budget."""
        del self._quarantined[key]
        self._windows.put(key, RestartWindow(self._intensity))
        self.mailbox(key).reopen(self._build(key))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise until asked to stop, then until nobody has work left.

        Cancelled, it cancels all who have, at once: they do not depend on one
        another. Who is still there ``shutdown_seconds`` later shields himself,
        and is reported. Then every mailbox is closed.
        """
        if self._ended:  # started again: what was refused then is to be taken now
            self._recent, self._older, self._ended = {}, {}, False
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                try:
                    await self._asked.wait()
                    await self.silence()
                    self._close()
                except trio.Cancelled:
                    self._nursery.cancel_scope.cancel()
                    await self._report_shielded()
                    raise
        finally:
            self._close()

    def stop(self) -> None:
        """Ask the supervisor to stop once its actors have finished what they were told."""
        self._asked.set()

    # --- what a mailbox asks of its owner -------------------------------------

    def summon(self, mailbox: Mailbox[M]) -> None:
        """Start a task for an actor that has something to wait for."""
        assert self._nursery is not None, "a supervisor runs before its actors are told anything"
        self._nursery.start_soon(self._tend, mailbox, name=self.path(mailbox.key))
        self._tended[mailbox] = None

    def bury(self, message: M, cause: Cause) -> bool | None:
        """A message will not be handled; true when it must be."""
        return self._on_buried(message, cause)

    def path(self, key: str) -> str:
        """``users/alice``, for example."""
        return f"{self.name}/{key}"

    def now(self) -> float:
        """The wall clock, for reports."""
        return self._environment.wall_clock()

    # --- one actor ------------------------------------------------------------

    async def _tend(self, mailbox: Mailbox[M]) -> None:
        self._tended[mailbox] = trio.lowlevel.current_task()
        try:
            await self._work_off(mailbox)
        finally:
            del self._tended[mailbox]
            if not self._tended:
                self._quiet.set()

    async def _work_off(self, mailbox: Mailbox[M]) -> None:
        """Let an actor work until it is idle, through restarts, or quarantined."""
        again = False
        while (failure := await self._crash_of(mailbox, again=again)) is not None:
            again = True
            window = self._window(mailbox.key)
            if window.spent(self._environment.clock()):
                self._quarantine(mailbox, failure)
                return
            await trio.sleep(self._backoff.delay(len(window), self._environment.random.random()))

    async def _crash_of(self, mailbox: Mailbox[M], *, again: bool) -> Failure | None:
        """Let an actor work, another one if it is to do so again; its failure, or ``None`` when it is idle."""
        failure: Failure | None = None

        def report(error: BaseException) -> None:
            nonlocal failure
            if isinstance(error, Crashed):
                failure = error.failure
            else:
                failure = failure_of(self.path(mailbox.key), "settle", error, self.now())
            self._failures.record(failure)

        with Barrier(report):
            if again:
                mailbox.restart(self._build(mailbox.key))
            await mailbox.run()
        return failure

    def _window(self, key: str) -> RestartWindow:
        window = self._windows.get(key)
        if window is None:
            window = RestartWindow(self._intensity)
            self._windows.put(key, window)
        return window

    def _quarantine(self, mailbox: Mailbox[M], failure: Failure) -> None:
        text = f"{self.path(mailbox.key)} crashed more than {self._intensity.restarts} times within "
        text += f"{self._intensity.period_seconds:g} s and is out of service; the last time: {failure.error}"
        self._quarantined[mailbox.key] = failure
        mailbox.close(lambda: Quarantined(text), Cause.QUARANTINED)

        def report(error: BaseException) -> None:
            self._failures.record(failure_of(self.path(mailbox.key), "its quarantine", error, self.now()))

        with Barrier(report):
            self._on_quarantined(mailbox.key, failure)

    # --- the end --------------------------------------------------------------

    async def silence(self) -> None:
        """Wait until no actor has work left."""
        while self._tended:
            if self._quiet.is_set():
                self._quiet = trio.Event()
            await self._quiet.wait()

    async def _report_shielded(self) -> None:
        with trio.move_on_after(self._shutdown_seconds, shield=True):
            await self.silence()
        for mailbox, task in self._tended.items():
            self._failures.record(shielded(self.path(mailbox.key), self._shutdown_seconds, task, self.now()))

    def _close(self) -> None:
        self._ended = True
        for mailbox in (*self._recent.values(), *self._older.values()):
            mailbox.close(_closed, Cause.SHUTDOWN)


def _closed() -> RuntimeClosed:
    return RuntimeClosed("expected an open runtime, it is closed")
