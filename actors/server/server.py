"""The server: its sockets and connections, from the first that is taken to the goodbye of the last.

A listener, or the host, brings a socket, which is a visit; a handshake answers
it, or lets it in; then it is a connection. There is no shared fate here. Each
visit has tasks and barriers of its own, so that what a peer does before or
after the upgrade ends that peer's connection and no other.

    open ─ refuse() ─ refusing ─ close() ─ closing ─ gone()
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import attrs
import trio

from actors.connections.actor import Connection
from actors.connections.context import ConnectionContext
from actors.context import Context
from actors.errors import RuntimeClosed
from actors.kernel.failures import Barrier
from actors.kernel.log_lines import log_line
from actors.kernel.task_set import Starter
from actors.observability.lines import CONNECTION_ENDED
from actors.protocol.client_messages import SUBPROTOCOL
from actors.server.authentication import Authenticate, Authentication, Sources
from actors.server.handshake import Handshake, Routes
from actors.server.listener import Listener, Place
from actors.server.origins import Origin
from actors.server.visit import PLAIN_ARRIVAL, Arrival, Visit
from actors.stores.store import Trouble
from actors.users.presence import Presence
from actors.wire.endpoint import Endpoint, SocketEndpoint, StreamEndpoint


@attrs.frozen(kw_only=True)
class Access:
    """The rules by which a client is let in: its credentials, and the origin of its page."""

    authenticate: Authenticate
    sources: Sources
    origins: frozenset[Origin | str] | None
    """``None`` allows pages of the same host and port."""


class Server:
    """The register of connections: it takes sockets, and ends what it took."""

    def __init__(
        self,
        context: Context,
        neighbours: ConnectionContext,
        *,
        access: Access,
        routes: Routes,
        devices_of: Callable[[str], int],
        trouble: Callable[[], Trouble | None],
    ) -> None:
        self.connections: dict[Endpoint, Connection] = {}
        self.devices_of = devices_of
        """Counts the connections of one user."""
        self.trouble = trouble
        """Returns the store's trouble, if there is any."""
        self.refusing: trio.Event = trio.Event()
        """Set once nothing more is accepted."""
        self.closing: trio.Event = trio.Event()
        """Set once every connection is being ended."""
        self.goodbyes: int = 0
        """Connections that have ended and could be told why."""
        self.opened_plain: int = 0
        """Connections without the protocol that were let in."""
        self.aborted: int = 0
        """Connections that have ended and could not."""
        self._neighbours = neighbours
        self._limits = context.limits
        self._failures = context.failures
        self._instruments = context.instruments
        self._labels = itertools.count(1)
        self._visits: dict[Endpoint, Visit] = {}
        self._held: dict[Endpoint, Presence | None] = {}
        """Sockets whose connections have ended, and which their carriers have yet to let go of, with the devices of
        their users."""
        self._departures = trio.lowlevel.ParkingLot()
        authentication = Authentication(context, access.authenticate, sources=access.sources)
        self.authentication: Authentication = authentication
        self._handshake = Handshake(context, self, authentication=authentication, origins=access.origins, routes=routes)
        self._listener = Listener(context, self, private=authentication.is_trusting)

    # --- taking sockets -----------------------------------------------------------

    async def serve(self, place: Place, task_status: trio.TaskStatus[tuple[str, int] | str]) -> None:
        """Listen until cancelled or closed; then see the guests out."""
        self._check_open()
        await self._listener.serve(place, task_status)

    async def handle(self, stream: trio.abc.Stream | Endpoint, arrival: Arrival) -> None:
        """Serve one connection that the host accepted, to its end.

        A :class:`trio.SocketStream` gives up its socket; any other stream is
        pumped. Cancelled, the connection is closed as it stands. A request that
        the host has read is answered until the server closes.
        """
        if arrival.head is None or self.closing.is_set():
            self._check_open(arrival)
        pumped: StreamEndpoint | None = None
        if isinstance(stream, trio.SocketStream):
            endpoint: Endpoint = SocketEndpoint(socket.socket(fileno=stream.socket.detach()))
        elif isinstance(stream, trio.abc.Stream):
            endpoint = pumped = StreamEndpoint(stream)
        else:
            endpoint = stream
        async with trio.open_nursery() as nursery:
            if pumped is not None:
                nursery.start_soon(self._pump, pumped)
            gone = trio.Event()
            visit = self.receive(endpoint, nursery, on_gone=gone.set, arrival=arrival)
            try:
                await gone.wait()
            finally:
                visit.cancel()
            nursery.cancel_scope.deadline = trio.current_time() + self._limits.close_seconds
        if endpoint.carrier is not None:
            try:
                await endpoint.carrier.wait_released()
            finally:
                self._let_go(endpoint)

    async def _pump(self, endpoint: StreamEndpoint) -> None:
        with Barrier(lambda error: self._report(endpoint, error)):
            await endpoint.run()

    def receive(
        self,
        endpoint: Endpoint,
        nursery: Starter,
        *,
        on_gone: Callable[[], object],
        shield: bool = False,
        arrival: Arrival = PLAIN_ARRIVAL,
    ) -> Visit:
        """Serve a socket from its first byte to its last, in tasks of a nursery; ``on_gone`` is called at the end."""
        visit = Visit(endpoint, self, nursery=nursery, on_gone=on_gone, shield=shield, arrival=arrival)
        self._visits[endpoint] = visit
        visit.begin()
        return visit

    # --- a visit, as its host ------------------------------------------------------

    async def welcome(self, visit: Visit) -> bool:
        """Serve a socket up to where it is an idle connection (true), or over."""
        endpoint = visit.endpoint
        upgrade = None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            upgrade = await self._handshake.run(endpoint, visit.arrival)
        if upgrade is None:
            return False
        if visit.tasks.is_cancelled:
            self._handshake.note_cut(upgrade.head)
            return False
        connection = visit.connection = Connection(
            f"c{next(self._labels)}", endpoint, context=self._neighbours, tasks=visit.tasks
        )
        self.connections[endpoint] = connection
        self.opened_plain += SUBPROTOCOL not in upgrade.head.offers()
        if self._instruments.connection_opened is not None:
            self._instruments.connection_opened(connection.label)
        identify = partial(upgrade.identify, upgrade.head, endpoint.peer)
        return await connection.open(upgrade.head, upgrade.user_id, identify, visit.leave)

    async def see_off(self, visit: Visit) -> None:
        """End what is left of a visit, and count how a connection ended."""
        connection = visit.connection
        name, text = "vanished", "its task was cancelled"
        try:
            if connection is not None:
                name, text = await connection.close()
        finally:
            visit.endpoint.close()
            del self._visits[visit.endpoint]
            if connection is not None:
                self._count_end(visit.endpoint, connection, name)
        if connection is not None:
            log_line(CONNECTION_ENDED, path=connection.path, reason=name, why=text)

    def report(self, visit: Visit, error: BaseException) -> None:
        """Report a failure of ours, of a service or of a stream that the host gave us: it costs this peer alone."""
        self._report(visit.endpoint, error)

    def _report(self, endpoint: Endpoint, error: BaseException) -> None:
        self._failures.report("listeners", f"a connection from {endpoint.peer}", error)

    def _count_end(self, endpoint: Endpoint, connection: Connection, name: str) -> None:
        del self.connections[endpoint]
        if endpoint.carrier is not None:
            self._hold(endpoint, None if connection.subscription is None else connection.presence)
        self._departures.unpark_all()
        self.aborted += connection.aborted
        self.goodbyes += not connection.aborted
        if self._instruments.connection_closed is not None:
            self._instruments.connection_closed(connection.label, connection.path, name)

    def _hold(self, endpoint: Endpoint, presence: Presence | None) -> None:
        """Count a socket that its carrier has not let go of, because it takes the room of another."""
        self._held[endpoint] = presence
        if presence is not None:
            presence.held += 1

    def _let_go(self, endpoint: Endpoint) -> None:
        presence = self._held.pop(endpoint, None)
        if presence is not None:
            presence.held -= 1

    def _check_open(self, arrival: Arrival | None = None) -> None:
        """Raise RuntimeClosed, and tell of the arrival that is refused by that; a host that has read its request
        answers it with 503."""
        if not self.refusing.is_set():
            return
        if arrival is not None and self._instruments.handshake_refused is not None:
            head = arrival.head
            if head is None:
                self._instruments.handshake_refused(0, "draining", None)
            elif "upgrade" in head.headers:
                self._instruments.handshake_refused(503, "draining", head.headers.get("origin"))
        raise RuntimeClosed("expected an open runtime, it is closed")

    # --- those that are here ------------------------------------------------------

    @property
    def sockets(self) -> int:
        """The sockets that are served, connections and others."""
        return len(self._visits)

    @property
    def held(self) -> int:
        """The sockets that were connections and that their carriers still keep. They count in the limits, and no drain
        waits for them."""
        return len(self._held)

    @property
    def handshakes(self) -> int:
        """The sockets that are served and are no connections, or not yet."""
        return len(self._visits) - len(self.connections)

    @property
    def is_around(self) -> bool:
        """True if the current task is one that serves a connection, where the application is asked to authenticate and
        to authorize."""
        return any(visit.tasks.is_around for visit in self._visits.values())

    def revoke(self, user_id: str) -> int:
        """End a user's connections with ``revoked``; also those that will turn out to be this user's.

        A socket does not get what it has not taken yet, because the user may
        not read it any more. Returns the number of connections there were.
        """
        self.authentication.revoke(user_id)
        for visit in tuple(self._visits.values()):
            if visit.connection is None and visit.arrival.user_id == user_id:
                visit.cancel()  # the host knew the user a moment ago, and knows better now
        theirs = [connection for connection in self.connections.values() if connection.user_id == user_id]
        for connection in theirs:
            connection.end("revoked", "")
            connection.cut()
        return len(theirs)

    # --- the end ------------------------------------------------------------------

    def refuse(self) -> None:
        """Accept nothing more: no socket, no upgrade. ``/healthz`` says so on the connections that are here."""
        self.refusing.set()

    def close(self) -> None:
        """Accept nothing more, and end every connection with ``shutting_down``."""
        self.refuse()
        self.closing.set()
        for endpoint in tuple(self.connections):
            self.say_goodbye(endpoint)

    def say_goodbye(self, endpoint: Endpoint) -> bool:
        """End the connection of a socket with ``shutting_down``; false if the socket is no connection."""
        connection = self.connections.get(endpoint)
        if connection is not None:
            connection.end("shutting_down", "")
        return connection is not None

    async def shut(self) -> None:
        """Wait until every door is shut, once :meth:`refuse` was called."""
        await self._listener.wait_shut()

    async def gone(self) -> None:
        """Wait until every connection has ended."""
        while self.connections:
            await self._departures.park()
