"""Supervision of actors that come and go by key: every thread, every user.

Each of them has a restart budget of its own. When it is spent, that one is
quarantined: its mailbox refuses, its messages become dead letters, and no
other actor notices. Elixir's ``DynamicSupervisor`` ends all its children when
one exhausts the budget they share; conversations must not share that fate.

The supervisor owns the mailboxes, so that a crash loses no queued message. The
actors behind them own no more than can be built again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar

import trio

from actors.environment import Environment
from actors.errors import Quarantined, RuntimeClosed
from actors.kernel.bounded import RecentMap
from actors.kernel.failures import Barrier, Failure, Failures, failure_of
from actors.kernel.mailbox import Actor, Crashed, Dispatcher, Ended, Mailbox
from actors.kernel.restarts import Budget, RestartWindow

M = TypeVar("M")


class Kind(Protocol[M]):  # type: ignore[misc] # a mailbox is invariant in its messages
    """One kind of actor: how to build one, and how to account for the loss of a message or of the whole actor."""

    def build(self, key: str, /) -> Actor[M]:
        """Build the actor of a key: when that is first named, after a crash, and at a release."""
        ...

    def dead_letter(self, message: M, ended: Ended, /) -> bool | None:
        """Account for a message that will not be handled; true after a crash to have it redelivered."""
        ...

    def quarantined(self, key: str, failure: Failure, /) -> None:
        """Settle the state of an actor that spent its budget; its mailbox is closed by then."""

    async def settled(self) -> None:
        """Wait until all that the actors have handed on is answered: answers are messages to them. A checkpoint."""


class DynamicSupervisor(Generic[M]):
    """Mailboxes by key, each with an actor of one kind."""

    def __init__(
        self,
        name: str,
        kind: Kind[M],
        *,
        dispatcher: Dispatcher,
        budget: Budget,
        environment: Environment,
        failures: Failures,
    ) -> None:
        self.name = name
        self._kind = kind
        self._dispatcher = dispatcher
        self._budget = budget
        self._environment = environment
        self._failures = failures
        self._recent: dict[str, Mailbox[M]] = {}
        self._older: dict[str, Mailbox[M]] = {}
        self._windows: RecentMap[str, RestartWindow] = RecentMap(budget.remembered)
        self.out_of_service: dict[str, Failure] = {}
        """The actors in quarantine, with their last failures."""
        self.restarting: dict[str, Failure] = {}
        """Actors that have crashed and are not started again yet, with the failure."""
        self._scheduled: dict[Mailbox[M], trio.lowlevel.Task | None] = {}
        """Mailboxes with a task, or that will have one in the next tick."""
        self._nursery: trio.Nursery | None = None
        self._ended = False
        self._stop_requested = trio.Event()
        self._all_idle = trio.Event()

    def mailbox(self, key: str) -> Mailbox[M]:
        """Return the mailbox of a key; its actor is built when the key is first named."""
        mailbox = self._recent.get(key)
        if mailbox is None:
            mailbox = self._older.pop(key, None) or Mailbox(
                key, self._kind.build(key), parent=self, dispatcher=self._dispatcher
            )
            self._recent[key] = mailbox
            if self._ended:
                mailbox.close(_closed, Ended.CLOSED)
        return mailbox

    def retire(self) -> None:
        """Forget the actors that are idle and were not named since the last call but one; the next name builds them."""
        for key, mailbox in self._older.items():
            if mailbox.idle:
                mailbox.retire(self.mailbox)
            else:
                self._recent.setdefault(key, mailbox)
        self._older, self._recent = self._recent, {}

    def forget(self, key: str) -> bool:
        """Forget one actor, which the next name builds again; false if it has work, or is out of service."""
        mailbox = self._recent.get(key) or self._older.get(key)
        if mailbox is not None and (not mailbox.idle or key in self.out_of_service):
            return False
        if mailbox is not None:
            mailbox.retire(self.mailbox)
        self._recent.pop(key, None)
        self._older.pop(key, None)
        return True

    def is_idle(self, key: str) -> bool:
        """True if an actor has no work left, or was not named lately."""
        mailbox = self._recent.get(key) or self._older.get(key)
        return mailbox is None or mailbox.idle

    @property
    def busy(self) -> Collection[str]:
        """The keys of the actors that have work left."""
        return [mailbox.key for mailbox in self._scheduled]

    def quarantined(self, key: str) -> Failure | None:
        """Return the failure that spent an actor's budget, while it is out of service."""
        return self.out_of_service.get(key)

    def release(self, key: str) -> None:
        """Put a quarantined actor back into service, with a fresh budget."""
        del self.out_of_service[key]
        self._windows.put(key, RestartWindow(self._budget.intensity))
        self.mailbox(key).reopen(self._kind.build(key))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise until :meth:`stop`, and then until no actor has work left, nor will be told of any.

        Cancelled, it cancels all actors at once, because they do not depend on
        one another. An actor that is still there ``shutdown_seconds`` later
        shields itself from cancellation, and is reported. Then every mailbox
        is closed.
        """
        if self._ended:  # the mailboxes of the run before are closed
            for mailbox in (*self._recent.values(), *self._older.values()):
                mailbox.retire(self.mailbox)
            self._recent, self._older, self._ended = {}, {}, False
            self.out_of_service.clear()  # with the mailboxes that refused: all actors are built anew, and in service
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                try:
                    await self._stop_requested.wait()
                    await self.wait_settled()
                    self._close()
                except trio.Cancelled:
                    self._nursery.cancel_scope.cancel()
                    await self._report_shielded()
                    raise
        finally:
            self._close()

    def stop(self) -> None:
        """Ask the supervisor to stop once its actors have handled all that they were told."""
        self._stop_requested.set()

    def __repr__(self) -> str:
        count = len(self._recent) + len(self._older)
        state = "ended" if self._ended else "running" if self._nursery is not None else "not started"
        counts = f"actors={count} scheduled={len(self._scheduled)} quarantined={len(self.out_of_service)}"
        return f"<DynamicSupervisor {self.name} {state} {counts}>"

    # --- the parent of its mailboxes ------------------------------------------

    def schedule(self, mailbox: Mailbox[M]) -> None:
        """Start a task for an actor that has something to wait for."""
        assert self._nursery is not None, "a supervisor runs before its actors are told anything"
        self._nursery.start_soon(self._run, mailbox, name=self.path(mailbox.key))
        self._scheduled[mailbox] = None

    def dead_letter(self, message: M, ended: Ended) -> bool | None:
        """Account for a message that will not be handled; true after a crash to have it redelivered."""
        return self._kind.dead_letter(message, ended)

    def failure_of(self, key: str, handling: str, error: BaseException) -> Failure:
        """Format a crash of the actor behind ``key``, while its frames are there."""
        return failure_of(self.path(key), handling, error, self._environment.wall_clock())

    def path(self, key: str) -> str:
        """Return the path of an actor: ``users/alice``, for example."""
        return f"{self.name}/{key}"

    # --- one actor ------------------------------------------------------------

    async def _run(self, mailbox: Mailbox[M]) -> None:
        self._scheduled[mailbox] = trio.lowlevel.current_task()
        try:
            await self._run_until_idle(mailbox)
        finally:
            del self._scheduled[mailbox]
            if not self._scheduled:
                self._all_idle.set()

    async def _run_until_idle(self, mailbox: Mailbox[M]) -> None:
        again, budget = False, self._budget
        while (failure := await self._crash_of(mailbox, again=again)) is not None:
            again = True
            window = self._window(mailbox.key)
            if window.spent(self._environment.clock()):
                self._quarantine(mailbox, failure)
                return
            self.restarting[mailbox.key] = failure
            try:
                await trio.sleep(budget.backoff.delay(len(window), self._environment.random.random()))
            finally:
                del self.restarting[mailbox.key]

    async def _crash_of(self, mailbox: Mailbox[M], *, again: bool) -> Failure | None:
        """Let an actor work, a new one after a crash; returns its failure, or ``None`` when it is idle."""
        failure: Failure | None = None

        def report(error: BaseException) -> None:
            nonlocal failure
            failure = error.failure if isinstance(error, Crashed) else self.failure_of(mailbox.key, "settle", error)
            self._failures.record(failure)

        with Barrier(report):
            if again:
                mailbox.restart(self._kind.build(mailbox.key))
                self._failures.note_restart(self.path(mailbox.key))
            await mailbox.run()
        return failure

    def _window(self, key: str) -> RestartWindow:
        window = self._windows.get(key)
        if window is None:
            window = RestartWindow(self._budget.intensity)
            self._windows.put(key, window)
        return window

    def _quarantine(self, mailbox: Mailbox[M], failure: Failure) -> None:
        key, intensity = mailbox.key, self._budget.intensity
        text = f"{self.path(key)} crashed more than {intensity.restarts} times within "
        text += f"{intensity.period_seconds:g} s and is out of service; the last time: {failure.error}"
        self.out_of_service[key] = failure
        mailbox.close(lambda: Quarantined(text), Ended.QUARANTINED)
        self._failures.note_quarantine(self.path(key), failure)

        def report(error: BaseException) -> None:
            self._failures.report(self.path(key), "its quarantine", error)

        with Barrier(report):
            self._kind.quarantined(key, failure)

    # --- the end --------------------------------------------------------------

    async def wait_idle(self) -> None:
        """Wait until no actor has work left."""
        while self._scheduled:
            if self._all_idle.is_set():
                self._all_idle = trio.Event()
            await self._all_idle.wait()

    async def wait_settled(self) -> None:
        """Wait until no actor has work left, and the answers to all that they have handed on are handled, too."""
        await self.wait_idle()
        await self._kind.settled()
        await self.wait_idle()

    async def _report_shielded(self) -> None:
        seconds = self._budget.shutdown_seconds
        with trio.move_on_after(seconds, shield=True):
            await self.wait_idle()
        for mailbox, task in self._scheduled.items():
            self._failures.report_shielded(self.path(mailbox.key), seconds, task)

    def _close(self) -> None:
        self._ended = True
        for mailbox in (*self._recent.values(), *self._older.values()):
            mailbox.close(_closed, Ended.CLOSED)


def named_lately(supervisor: DynamicSupervisor[M]) -> Iterator[str]:
    """Yield the keys of the actors that were named lately, the newest last."""
    return chain(supervisor._older, supervisor._recent)


def _closed() -> RuntimeClosed:
    return RuntimeClosed("expected an open runtime, it is closed")
