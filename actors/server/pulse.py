"""The pulse: what a runtime does once a second, whatever happens: expire, ping, look at what was lost, count.

Each kind of work is bounded in a beat, or gives others a turn between its steps.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import trio

from actors.connections.actor import Connection
from actors.connections.heartbeat import Heartbeat
from actors.connections.survey import Survey
from actors.context import Context
from actors.delivery.accounts import Accounts
from actors.delivery.inspection import Inspection
from actors.kernel.dynamic_supervisor import DynamicSupervisor
from actors.kernel.mailbox import Dispatcher
from actors.observability.explain import clock
from actors.observability.lines import BOOKS_WRONG, EMITS_HELD, LOOP_BLOCKED, MAILBOX_FULL, STORE_TROUBLE, STORE_WELL
from actors.observability.lookout import NOWHERE, Lookout
from actors.observability.losses import Losses
from actors.observability.notices import Notices
from actors.observability.pressure import Pressure
from actors.observability.statistics import Statistics
from actors.runs.supervisor import Runs
from actors.server.server import Server
from actors.stages import Cause
from actors.stores.store import Store, Trouble
from actors.threads.context import ThreadContext
from actors.threads.messages import ThreadMessage
from actors.users.presence import Subscriber, UserMessage
from actors.users.registry import Registry

_CONFIRMED_AT_ONCE = 200
"""Users whose acks are told to the store before other tasks get a turn: 2 ms."""

_STANDSTILL_SECONDS = 0.5
"""A standstill that a person who waits for a token notices, and that no collection of garbage explains."""

_PRESSURE_SECONDS = 5.0
"""The time for which emitters wait, or a mailbox is full, until it is said: a slow commit takes less."""

_SHOWN = 4
"""Devices that a line of the log describes."""

_LAGS = 15
"""Beats of the pulse whose lateness is remembered: a scrape every 15 seconds misses none."""


class Parts(Protocol):
    """The parts of a runtime that have something to do by the clock, or are looked at."""

    context: Context
    accounts: Accounts
    dispatcher: Dispatcher
    heartbeat: Heartbeat[Connection]
    lookout: Lookout
    losses: Losses
    notices: Notices
    registry: Registry
    runs: Runs
    server: Server
    store: Store
    thread_context: ThreadContext
    threads: DynamicSupervisor[ThreadMessage]
    users: DynamicSupervisor[UserMessage]

    def confirm(self, most: int | None = None) -> bool:
        """Tell the store what devices have acked, of at most so many users; true if there are more."""
        ...

    def statistics(self) -> Statistics:
        """Read the runtime in numbers."""
        ...


class Pulse:
    """The work of one runtime that is due by the clock."""

    def __init__(self, parts: Parts) -> None:
        self.heartbeat: Heartbeat[Connection] = parts.heartbeat
        self.survey: Survey = Survey(parts.server.connections.values())
        self.inspection: Inspection = Inspection(parts.accounts)
        self._limits = parts.context.limits
        self._clock = parts.context.environment.clock
        self._parts = parts
        self._trouble: Trouble | None = None
        """The store's trouble at the last look."""
        self._full: Pressure[str] = Pressure(_PRESSURE_SECONDS)
        self._held: Pressure[str] = Pressure(_PRESSURE_SECONDS)
        self._lags: deque[float] = deque([0.0], maxlen=_LAGS)
        """The times by which the last beats were late."""
        self.standstill: str | None = None
        """The last time that the loop stood still, and where, in words."""
        self.seen: Statistics
        """The statistics at the last beat, for other threads: a step of this loop could be half done when they look."""

    @property
    def lag_seconds(self) -> float:
        """The most by which one of the last beats was late."""
        return max(self._lags)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Beat until cancelled."""
        self.seen = self._parts.statistics()
        task_status.started()
        retire_at = self._clock() + self._limits.retire_seconds
        while True:
            due = self._clock() + self._limits.sweep_seconds
            await trio.sleep(self._limits.sweep_seconds)
            late = max(self._clock() - due, 0.0)
            self._lags.append(late)
            self._note_lag(late)
            while self._parts.confirm(_CONFIRMED_AT_ONCE) or self._expire():
                await trio.lowlevel.checkpoint()
            self._parts.runs.sweep(self._clock())
            self._look()
            if self._clock() >= retire_at:
                self._parts.threads.retire()
                self._retire()
                retire_at += self._limits.retire_seconds
            self._ping()
            for _ in self.survey.steps(self._clock()):
                await trio.lowlevel.checkpoint()
            self._inspect()
            self.seen = self._parts.statistics()

    def _note_lag(self, seconds: float) -> None:
        """Say that the event loop stood still, where it did so for long enough that a person may have noticed."""
        place = self._parts.lookout.take_place()
        if place is not None or seconds >= _STANDSTILL_SECONDS:
            where = NOWHERE if place is None else place
            seconds = max(seconds, 0.0 if place is None else self._parts.lookout.ask_seconds)
            since = clock(self._parts.context.environment.wall_clock() - seconds)
            self.standstill = f"stood still for {seconds:.1f} s at {since}, {where}"
            self._parts.context.lines.say(LOOP_BLOCKED, where, seconds=seconds, where=where)

    def _look(self) -> None:
        """Say what was lost, what was dropped, and what is waited for, since it was said last."""
        parts, now = self._parts, self._clock()
        parts.losses.look(parts.accounts.dead_letters)
        parts.notices.look(parts.accounts.dropped, parts.accounts.dead_letters)
        for path, count, seconds in self._full.look(parts.dispatcher.waiting, now):
            trouble = self._trouble
            why = "it handles more than it can" if trouble is None else f"the store is in trouble: {trouble}"
            parts.context.lines.say(MAILBOX_FULL, path, path=path, count=count, seconds=seconds, why=why)
        for user_id, _, seconds in self._held.look(parts.runs.leads.held, now):
            devices = "; ".join(_lag_of(device, now) for device in parts.registry.devices_of(user_id)[:_SHOWN])
            parts.context.lines.say(EMITS_HELD, user_id, user_id=user_id, seconds=seconds, devices=devices)
        parts.context.lines.look()

    def _ping(self) -> None:
        pinged, dead = self.heartbeat.silent(self._clock())
        for connection in pinged:
            connection.ping()
        for connection in dead:
            if connection.pings.has_progressed():
                self.heartbeat.wait(connection, self._clock())
            else:
                connection.end("silent", f"it did not answer a ping within {self._limits.pong_seconds:g} s")

    def _inspect(self) -> None:
        """Compare some of the books; say once which do not add up, because no bug may hide in a number."""
        before = self.inspection.balanced
        self.inspection.step()
        if self.inspection.balanced is False and before is not False:
            faults = "; ".join(self.inspection.faults)
            self._parts.context.lines.say(BOOKS_WRONG, faults, faults=faults)

    def _expire(self) -> bool:
        """Drop events that are too old; True if there are more of them."""
        parts, now = self._parts, self._parts.context.environment.wall_clock()
        expiry = parts.store.expire()
        for user_id, first, last in expiry.damaged:
            parts.accounts.damage(user_id, first, last, now)
        if self._trouble is not parts.store.trouble:
            since = None if self._trouble is None else self._trouble.since
            self._trouble = parts.store.trouble
            self._note_trouble(since, now)
        for user_id, low in expiry.lows:
            parts.accounts.trim(user_id, low, Cause.RETENTION, now)
            parts.registry.presence(user_id)  # a user who never came is forgotten like one who left now
        parts.thread_context.note_shed()
        return expiry.more

    def _note_trouble(self, since: float | None, now: float) -> None:
        """Say that the store is in trouble, or no more: ``since`` the wall clock's time of the trouble before."""
        if self._trouble is None:
            assert since is not None, "the end of trouble has a beginning"
            self._parts.context.lines.say(STORE_WELL, now, seconds=now - since)
            self._parts.accounts.harden(self._parts.store.promise)
        else:
            self._parts.context.lines.say(STORE_TROUBLE, str(self._trouble), error=str(self._trouble))

    def _retire(self) -> None:
        """Forget the users that have gone, but not those of whose events some are on their way to the books."""
        parts = self._parts
        busy = parts.thread_context.changing_owners()
        busy |= {
            parts.store.known_owner(thread_id) for thread_id in (*parts.thread_context.unanswered, *parts.threads.busy)
        }
        parts.registry.retire(lambda user_id: user_id not in busy and self._forget(user_id))

    def _forget(self, user_id: str) -> bool:
        """Forget the log, the account and the actor of a user who has gone, if nothing is left in them.

        The user keeps the threads, and the store the place where the log ended. True if it was done.
        """
        parts = self._parts
        if not parts.accounts.is_settled(user_id) or not parts.store.forget(user_id):
            return False
        parts.accounts.forget(user_id)
        return parts.users.forget(user_id)


def _lag_of(device: Subscriber, now: float) -> str:
    """Say how a device stands to the newest event of its log."""
    return device.describe(0 if device.subscription is None else device.subscription.ledger.head, now)
