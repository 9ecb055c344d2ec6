"""A visit: one socket from its first byte to its last, and the tasks that serve it.

    arriving ─ handshake ┬ an answer ─────────────── gone
                         └ Connection.open ─ idle ─ leaving ─ gone

Arriving and leaving take a task each; an idle connection has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from actors.connections.actor import Connection
from actors.kernel.task_set import Starter, TaskSet
from actors.wire.endpoint import Endpoint
from actors.wire.http import RequestHead


@attrs.frozen(kw_only=True)
class Arrival:
    """The facts of a socket that are known before anything was read from it."""

    prefix: str = ""
    """The path below which everything is, where a proxy passes on whole paths."""
    head: RequestHead | None = None
    """The request, where the host has read it."""
    user_id: str | None = None
    """The user, where the host knows: then no credential is looked at."""


PLAIN_ARRIVAL = Arrival()
"""Nothing is known."""


class Host(Protocol):
    """The server, as a visit sees it."""

    async def welcome(self, visit: Visit) -> bool:
        """Serve a socket up to where it is an idle connection (true), or over."""
        ...

    async def see_off(self, visit: Visit) -> None:
        """End what is left of a visit; it cannot be entered again."""

    def report(self, visit: Visit, error: BaseException) -> None:
        """Report a failure of ours, of a service or of a stream that the host gave us: it costs this peer alone."""


class Visit:
    """One socket that was taken. ``on_gone`` is called when nothing of it is left."""

    __slots__ = ("_host", "_idle", "_on_gone", "arrival", "connection", "endpoint", "tasks")

    def __init__(
        self,
        endpoint: Endpoint,
        host: Host,
        *,
        nursery: Starter,
        on_gone: Callable[[], object],
        shield: bool,
        arrival: Arrival = PLAIN_ARRIVAL,
    ) -> None:
        self.endpoint: Endpoint = endpoint
        self.arrival: Arrival = arrival
        self.connection: Connection | None = None
        """The connection, once it has become one."""
        self.tasks: TaskSet = TaskSet(nursery, lambda error: host.report(self, error), shield=shield)
        self._host = host
        self._on_gone = on_gone
        self._idle = False

    def __repr__(self) -> str:
        return f"<Visit of {self.endpoint.peer} {self.connection!r}>"

    def begin(self) -> None:
        """Serve it from now on."""
        self.tasks.start_soon(self._arrive)

    def leave(self) -> None:
        """End an idle connection, which has its reason. No effect if it is not idle: a task sees it off already."""
        if self._idle:
            self._idle = False
            self.tasks.start_soon(self._leave)

    def cancel(self) -> None:
        """End it as it stands. No effect once it is gone."""
        self.tasks.cancel()
        self.leave()

    async def _arrive(self) -> None:
        try:
            is_idle = await self._host.welcome(self)
            # A cancellation after the last checkpoint of a welcome is noticed by none of them, and comes only once.
            self._idle = is_idle and not self.tasks.is_cancelled
        finally:
            if not self._idle:
                await self._leave()

    async def _leave(self) -> None:
        try:
            await self._host.see_off(self)
        finally:
            self._on_gone()
