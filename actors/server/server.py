"""The server: its sockets and connections, from the first that is taken to the goodbye of the last.

A listener, or the host, brings a socket; a handshake answers it, or lets it in;
then it is a connection. There is no shared fate here. Each socket has a task
and a barrier of its own, so that what a peer does before or after the upgrade
ends that peer's connection and no other.

    open ─ refuse() ─ refusing ─ close() ─ closing ─ gone()
"""

from __future__ import annotations

import itertools
import logging
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial

import attrs
import trio

from actors.connections.actor import Connection, ConnectionContext
from actors.context import Context
from actors.errors import RuntimeClosed
from actors.kernel.failures import Barrier, log
from actors.kernel.nesting import Block
from actors.server.authentication import Authenticate, Authentication
from actors.server.handshake import Handshake, Routes, Upgrade
from actors.server.listener import Listener
from actors.server.origins import Origin
from actors.stores.store import Trouble
from actors.wire.endpoint import Endpoint, SocketEndpoint, StreamEndpoint


@attrs.frozen
class Access:
    """The rules by which a client is let in: its credentials, and the origin of its page."""

    authenticate: Authenticate
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
        self.refusing = trio.Event()
        """Set once nothing more is accepted."""
        self.closing = trio.Event()
        """Set once every connection is being ended."""
        self.goodbyes = 0
        """Connections that have ended and could be told why."""
        self.aborted = 0
        """Connections that have ended and could not."""
        self._neighbours = neighbours
        self._limits = context.limits
        self._failures = context.failures
        self._instruments = context.instruments
        self._labels = itertools.count(1)
        self._blocks: dict[Endpoint, Block] = {}
        """The block that serves each socket, where the application is asked to authenticate and to authorize."""
        self._departures = trio.lowlevel.ParkingLot()
        self._authentication = authentication = Authentication(context, access.authenticate)
        self._handshake = Handshake(context, self, authentication=authentication, origins=access.origins, routes=routes)
        self._listener = Listener(context, self, private=authentication.is_trusting)

    # --- taking sockets -----------------------------------------------------------

    async def serve(
        self,
        host: str,
        port: int,
        path: str | bytes | os.PathLike[str] | None,
        ssl_context: ssl.SSLContext | None,
        task_status: trio.TaskStatus[tuple[str, int] | str],
    ) -> None:
        """Listen until cancelled or closed; then see the guests out."""
        self._check_open()
        await self._listener.serve(host, port, path, ssl_context, task_status)

    async def handle(self, stream: trio.abc.Stream | Endpoint) -> None:
        """Serve one connection that the host accepted, to its end.

        A :class:`trio.SocketStream` gives up its socket; any other stream is
        pumped. Cancelled, the connection is closed as it stands.
        """
        self._check_open()
        if isinstance(stream, trio.SocketStream):
            sock = socket.socket(fileno=stream.socket.detach())
            await self.receive(SocketEndpoint(sock))
        elif isinstance(stream, trio.abc.Stream):
            with self._barrier(endpoint := StreamEndpoint(stream)):
                async with trio.open_nursery() as nursery:
                    await nursery.start(endpoint.run)
                    await self.receive(endpoint)
                    nursery.cancel_scope.deadline = trio.current_time() + self._limits.close_seconds
        else:
            await self.receive(stream)

    async def receive(self, endpoint: Endpoint) -> None:
        """Serve a socket from its first byte to its last."""
        self._blocks[endpoint] = Block.begin()
        gone = suppress(trio.BrokenResourceError, trio.ClosedResourceError)
        try:
            with self._barrier(endpoint), gone, closing(endpoint):
                upgrade = await self._handshake.run(endpoint)
                if upgrade is not None:
                    await self._connect(endpoint, upgrade)
        finally:
            del self._blocks[endpoint]

    def _barrier(self, endpoint: Endpoint) -> Barrier:
        """Let a failure of ours, of a service or of a stream that the host gave us cost this peer alone."""
        return Barrier(lambda error: self._failures.report("listeners", f"a connection from {endpoint.peer}", error))

    async def _connect(self, endpoint: Endpoint, upgrade: Upgrade) -> None:
        """Serve a connection, and count how it ended."""
        connection = Connection(
            f"c{next(self._labels)}",
            endpoint,
            head=upgrade.head,
            context=self._neighbours,
            identify=partial(self._authentication.identify_hello, upgrade.head, endpoint.peer),
            user_id=upgrade.user_id,
        )
        self.connections[endpoint] = connection
        if self._instruments.connection_opened is not None:
            self._instruments.connection_opened(connection.label)
        name, text = "vanished", "its task was cancelled"
        try:
            name, text = await connection.run()
        finally:
            del self.connections[endpoint]
            self._departures.unpark_all()
            self.aborted += connection.aborted
            self.goodbyes += not connection.aborted
            if self._instruments.connection_closed is not None:
                self._instruments.connection_closed(connection.label, connection.path, name)
        log(logging.DEBUG, "%s ended: %s (%s)", connection.path, name, text)

    def _check_open(self) -> None:
        if self.refusing.is_set():
            raise RuntimeClosed("expected an open runtime, it is closed")

    # --- those that are here ------------------------------------------------------

    @property
    def sockets(self) -> int:
        """The sockets that are served, connections and others."""
        return len(self._blocks)

    @property
    def handshakes(self) -> int:
        """The sockets that are served and are no connections, or not yet."""
        return len(self._blocks) - len(self.connections)

    @property
    def is_around(self) -> bool:
        """True if the current task is inside of what serves a connection."""
        return any(block.is_around for block in self._blocks.values())

    def revoke(self, user_id: str) -> int:
        """End a user's connections with ``revoked``; also those that will turn out to be this user's.

        A socket does not get what it has not taken yet, because the user may
        not read it any more. Returns the number of connections there were.
        """
        self._authentication.revoke(user_id)
        theirs = [connection for connection in self.connections.values() if connection.user_id == user_id]
        for connection in theirs:
            connection.end("revoked", "")
            if connection.writing:
                connection.abort()
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
