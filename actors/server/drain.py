"""Going away in good order, so that nothing that can still be delivered is not.

    refuse sockets and messages ─ tell the devices ─ runs finish, or are cancelled
        ─ refuse events ─ the store takes what it was given ─ devices take and ack it ─ say goodbye

Each part ends as soon as there is nothing to wait for, and at the latest at its
share of the deadline. What is left then is reported, not forgotten: a server
that is idle is gone at once, one that is stuck is gone in time. Only who was
told and has nothing to do but answer gets ``close_seconds`` for it in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import attrs
import trio

from actors.connections.flusher import Flusher
from actors.connections.following import Followers
from actors.context import Context
from actors.delivery.accounts import Accounts
from actors.kernel.dynamic_supervisor import DynamicSupervisor
from actors.protocol.server_messages import GoingAway, encode
from actors.runs.supervisor import Runs
from actors.server.messages import Messages
from actors.server.server import Server
from actors.threads.emitter import Emitter
from actors.threads.messages import ThreadMessage

RunsPolicy = Literal["finish", "cancel"]
"""The lot of runs while a runtime drains: to go on for their share of the time, or to end at once."""

_FINISH, _CANCEL, _ACK = 0.6, 0.75, 0.9
"""Shares of the deadline by which runs have finished, have ended, and devices have acked. The rest is goodbye."""
_UNWIND_SECONDS = 0.1
"""The time for cancelled runs to end when no time is left: code that unwinds does not wait, but it has to be run."""
_LOOK_SECONDS = 0.005
"""Between two rounds of writing, while everything else has ended."""
_SPREAD = 0.5, 1.5
"""Devices that all come back at once are a second outage: each is told another moment between these shares."""


@attrs.frozen(kw_only=True)
class Undelivered:
    """Events that no device has acked: of a user's log, of a thread without an owner, or never taken by the store."""

    count: int
    unwritten: int
    """Those of them that no socket took."""
    user_id: str | None = None
    thread_id: str | None = None

    def __str__(self) -> str:
        if self.user_id is None and self.thread_id is None:
            return f"on the way to the store: {self.count}"
        where = f"user {self.user_id}" if self.user_id is not None else f"thread {self.thread_id}, which has no owner"
        return f"{where}: {self.count} not confirmed, {self.unwritten} of them not written"


@attrs.frozen(kw_only=True)
class DrainReport:
    """The outcome of a drain: the events not delivered, and the runs and connections left behind."""

    undelivered: tuple[Undelivered, ...]
    cancelled: tuple[str, ...]
    """Runs that did not finish by themselves, by id."""
    abandoned: tuple[str, ...]
    """Runs of those that did not stop when they were cancelled, either."""
    goodbyes: int
    """Connections that were told, and closed."""
    aborted: int
    """Connections that took nothing any more."""

    def __str__(self) -> str:
        left = sum(one.count for one in self.undelivered)
        text = f"drained: {left} event{'' if left == 1 else 's'} not confirmed, "
        text += f"{self.goodbyes} connection{'' if self.goodbyes == 1 else 's'} closed, {self.aborted} aborted, "
        text += f"{len(self.cancelled)} run{'' if len(self.cancelled) == 1 else 's'} cancelled"
        stuck = (f"run {run_id}: did not stop when it was cancelled" for run_id in self.abandoned)
        return "\n  ".join([text, *map(str, self.undelivered), *stuck])


class Parts(Protocol):
    """The parts of a runtime that end one after the other."""

    server: Server
    followers: Followers
    messages: Messages
    runs: Runs
    emitter: Emitter
    threads: DynamicSupervisor[ThreadMessage]
    flusher: Flusher
    accounts: Accounts

    def confirm(self) -> bool:
        """Tell the store what devices have acked."""
        ...


class Drain:
    """One runtime's way out: what to end, and in which order."""

    def __init__(self, context: Context, parts: Parts) -> None:
        self._limits = context.limits
        self._environment = context.environment
        self._parts = parts

    async def run(self, deadline_seconds: float, policy: RunsPolicy) -> DrainReport:
        """Go through all parts; a checkpoint. Cancelled, it stops where it is, and nothing new is taken.

        Raises RuntimeError, before anything has happened, when the current
        task is inside of what is waited for and ended here.
        """
        self._check_outside()
        begin = self._environment.clock()
        before = self._parts.server.goodbyes, self._parts.server.aborted

        def left(share: float) -> float:
            return max(begin + deadline_seconds * share - self._environment.clock(), 0.0)

        self._refuse_clients()
        await trio.lowlevel.checkpoint()
        await self._parts.server.shut()
        if policy == "finish":
            await self._parts.runs.endings.finish(left(_FINISH))
        cancelled = (*self._parts.runs.registry.abandoned, *self._parts.runs.registry.active)
        abandoned = await self._parts.runs.endings.close("shutdown", max(left(_CANCEL), _UNWIND_SECONDS))
        with trio.move_on_after(left(_ACK)):
            await self._finish_delivery(self._awaits_devices)
        await self._say_goodbye(left(1.0))
        self._parts.confirm()
        goodbyes, aborted = self._parts.server.goodbyes - before[0], self._parts.server.aborted - before[1]
        return DrainReport(
            undelivered=self._undelivered(),
            cancelled=cancelled,
            abandoned=abandoned,
            goodbyes=goodbyes,
            aborted=aborted,
        )

    async def close(self) -> None:
        """Close by the shortest way, for a host that leaves: cancel the runs, and wait for no ack."""
        self._refuse_clients()
        await self._parts.runs.endings.close("shutdown", self._limits.shutdown_seconds)
        with trio.move_on_after(self._limits.close_seconds):
            await self._finish_delivery(lambda: False)
        self._parts.followers.close()
        self._parts.server.close()
        with trio.move_on_after(self._limits.close_seconds):
            await self._parts.server.gone()
        self._parts.confirm()

    def _awaits_devices(self) -> bool:
        """Return true while a device may still take, or ack, something that none has acked."""
        connections = self._parts.server.connections.values()
        return self._parts.followers.are_awaited or any(one.awaits_ack for one in connections)

    def _check_outside(self) -> None:
        """A drain that its own first step cancels would leave a runtime that refuses everything, and never ends."""
        run = self._parts.runs.registry.around
        where = "a connection, where authenticate and authorize are called" if run is None else f"run {run.run_id}"
        if run is not None or self._parts.server.is_around:
            text = f"drain: expected a task outside of what it ends, this one is inside of {where}"
            raise RuntimeError(f"{text}; start it in a nursery of the host, or set an event that the host waits for")

    def _refuse_clients(self) -> None:
        """Tell the devices; who is still saying hello has nothing to wait for, and is sent away."""
        if self._parts.messages.refusing:
            return
        self._parts.messages.refusing = True
        self._parts.server.refuse()
        self._parts.followers.refuse()
        for connection in tuple(self._parts.server.connections.values()):
            if connection.subscription is None:
                connection.end("shutting_down", "")
            share = self._environment.random.uniform(*_SPREAD)
            connection.say(encode(GoingAway(round(self._limits.retry_seconds * share * 1000))))

    async def _finish_delivery(self, awaits_more: Callable[[], bool]) -> None:
        """Refuse events; the store takes what it was given, devices what is in their logs, until nothing is awaited."""
        self._parts.emitter.closed = True
        await self._parts.threads.wait_settled()
        connections = self._parts.server.connections
        while not self._parts.flusher.idle or any(one.writing for one in connections.values()) or awaits_more():
            self._parts.flusher.write_round()
            await trio.sleep(_LOOK_SECONDS)

    async def _say_goodbye(self, seconds: float) -> None:
        """Tell every device; abort a socket that has not taken it by then, and leave one that has only to answer."""
        self._parts.followers.close()
        self._parts.server.close()
        with trio.move_on_after(seconds):
            await self._parts.server.gone()
        for connection in tuple(self._parts.server.connections.values()):
            connection.cut()
        with trio.move_on_after(self._limits.close_seconds * 2):  # each connection has once that
            await self._parts.server.gone()

    def _undelivered(self) -> tuple[Undelivered, ...]:
        books = self._parts.accounts
        logs = ((user_id, account.ledger) for user_id, account in books.users.items())
        left = [
            Undelivered(count=ledger.retained, unwritten=ledger.stored, user_id=user_id) for user_id, ledger in logs
        ]
        left += [
            Undelivered(count=hold.held, unwritten=hold.held, thread_id=thread_id)
            for thread_id, hold in books.holds.items()
        ]
        queued = books.audit().unowned.queued
        return tuple(one for one in [*left, Undelivered(count=queued, unwritten=queued)] if one.count)
