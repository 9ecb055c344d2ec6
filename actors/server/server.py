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
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial

import attrs
import trio

from actors.connections.actor import Connection, ConnectionContext
from actors.context import Context
from actors.errors import RuntimeClosed
from actors.kernel.failures import Barrier, log
from actors.kernel.nesting import Block
<<<<<<< HEAD
from actors.server.authentication import Authenticate, Authentication
from actors.server.handshake import Handshake, Service, Upgrade
from actors.server.listener import Listener
from actors.server.origins import Origin
=======
from actors.protocol.client_messages import SUBPROTOCOL, TICKET_PREFIX
from actors.protocol.codes import CLOSINGS
from actors.server.origins import Origin, is_allowed, page_of_host
>>>>>>> 1ead133 (Keep close codes and refusals in one module, as two tables of one kind of row)
from actors.wire.endpoint import Endpoint, SocketEndpoint, StreamEndpoint
from actors.wire.http import Page


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
        pages: Mapping[str, Page],
        services: Mapping[str, Service],
        devices_of: Callable[[str], int],
    ) -> None:
        self.connections: dict[Endpoint, Connection] = {}
        self.devices_of = devices_of
        """Counts the connections of one user."""
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
        self._labels = itertools.count(1)
        self._blocks: dict[Endpoint, Block] = {}
        """Where each socket is served, because the application is asked there to authenticate and to authorize."""
        self._departures = trio.lowlevel.ParkingLot()
        self._authentication = authentication = Authentication(context, access.authenticate)
        self._handshake = Handshake(
            context, self, authentication, origins=access.origins, pages=pages, services=services
        )
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
            upgrade.head,
            self._neighbours,
            identify=partial(self._authentication.identify_hello, upgrade.head, endpoint.peer),
            user_id=upgrade.user_id,
        )
        self.connections[endpoint] = connection
        try:
            name, text = await connection.run()
        finally:
            del self.connections[endpoint]
            self._departures.unpark_all()
            self.aborted += connection.aborted
            self.goodbyes += not connection.aborted
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
<<<<<<< HEAD
        while self.connections:
            await self._departures.park()
=======
        await self._until_gone(self.connections)

    @property
    def is_around(self) -> bool:
        """True if the current task is inside of what serves a connection."""
        return any(block.is_around for block in self._blocks.values())

    @property
    def _sockets(self) -> int:
        return len(self._blocks)

    def _check_open(self) -> None:
        if self._refusing.is_set():
            raise RuntimeClosed("expected an open runtime, it is closed")

    async def _accept(
        self,
        listener: socket.socket,
        ssl_context: ssl.SSLContext | None,
        nursery: trio.Nursery,
        guests: dict[Endpoint, trio.CancelScope],
    ) -> None:
        """Accept for ever. What concerns one connection or passes is retried; anything else propagates."""
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(_ACCEPTS_PER_TURN):
                try:
                    sock, _address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _FULL:
                        self._report_full(error)
                        await trio.sleep(self._limits.accept_retry_seconds)
                    elif error.errno not in _GONE:
                        raise
                else:
                    if self._arriving + self._sockets - len(self.connections) >= self._limits.handshakes:
                        sock.close()
                    else:
                        self._arriving += 1
                        nursery.start_soon(self._welcome, SocketEndpoint(sock), ssl_context, guests)

    def _report_full(self, error: OSError) -> None:
        """Say that the system has no room, and of what, once in a period."""
        if self._full.take(error.errno, self._environment.clock()) is not None:
            seconds = self._limits.accept_retry_seconds
            log(logging.ERROR, "accept: %s; trying again every %g s", error, seconds)

    async def _welcome(
        self, endpoint: Endpoint, ssl_context: ssl.SSLContext | None, guests: dict[Endpoint, trio.CancelScope]
    ) -> None:
        """One guest, in a scope of its own: a cancelled server sees its guests out one by one."""
        self._arriving -= 1
        if ssl_context is not None:
            endpoint = TLSEndpoint(endpoint, ssl_context)
        with trio.CancelScope(shield=True) as scope:
            guests[endpoint] = scope
            try:
                await self._receive(endpoint)
            finally:
                del guests[endpoint]
                self._left.set()

    async def _see_out(self, guests: dict[Endpoint, trio.CancelScope]) -> None:
        """End this door's connections politely, and after a moment at once."""
        for endpoint, scope in tuple(guests.items()):
            if endpoint in self.connections:
                self.connections[endpoint].end("shutting_down", "")
            else:  # it has not said what it wants
                scope.cancel()
        with trio.move_on_after(self._limits.close_seconds * 2, shield=True):
            await self._until_gone(guests)
        for scope in guests.values():
            scope.cancel()

    def _forget(self, door: ExitStack) -> None:
        self._doors.remove(door)
        self._left.set()

    async def _until_gone(self, those: Collection[object]) -> None:
        while those:
            if self._left.is_set():
                self._left = trio.Event()
            await self._left.wait()

    # --- one socket -------------------------------------------------------------

    async def _receive(self, endpoint: Endpoint) -> None:
        """Take a socket from its first byte to its last."""
        self._blocks[endpoint] = Block.begin()
        gone = suppress(trio.BrokenResourceError, trio.ClosedResourceError)
        try:
            with self._bearing(endpoint), gone, closing(endpoint):
                try:
                    await self._admit(endpoint)
                except HTTPRefusal as refusal:
                    await self._decline(endpoint, refusal)
        finally:
            del self._blocks[endpoint]

    def _bearing(self, endpoint: Endpoint) -> Barrier:
        """Let a failure of ours, of a service or of a stream that the host gave us cost this peer alone."""
        return Barrier(lambda error: self._record("listeners", f"a connection from {endpoint.peer}", error))

    async def _admit(self, endpoint: Endpoint) -> None:
        patience_seconds = self._limits.request_head_seconds
        try:
            with trio.fail_after(patience_seconds):
                if isinstance(endpoint, TLSEndpoint):
                    await endpoint.handshake()
                head = await self._read_head(endpoint)
        except trio.TooSlowError:
            refusal = HTTPRefusal(408, f"expected a whole request within {patience_seconds:g} s")
            await self._decline(endpoint, refusal, linger_seconds=0)  # it had its time
            return
        if head is None:
            return
        try:
            await self._respond(endpoint, head)
        except HTTPRefusal as refusal:
            await self._decline(endpoint, refusal, body=head.method != "HEAD")

    async def _respond(self, endpoint: Endpoint, head: RequestHead) -> None:
        if head.path == "/healthz":
            status, text = (503, "draining") if self._refusing.is_set() else (200, "ok")
            await self._answer(endpoint, response(status, text, body=head.method != "HEAD"))
        elif head.path == "/ws":
            await self._upgrade(endpoint, head)
        elif head.path in self._services:
            check_upgrade(head)
            self._check_room()
            await self._services[head.path](endpoint, head)
        else:
            await self._show(endpoint, head)

    async def _show(self, endpoint: Endpoint, head: RequestHead) -> None:
        page = self._pages.get(head.path)
        if page is None:
            paths = ", ".join(["/ws", "/healthz", *self._services, *self._pages])
            raise HTTPRefusal(404, f"expected one of {paths}, got {head.path}\n{_USE}{'' if self._pages else _PAGE}")
        if head.method not in ("GET", "HEAD"):
            raise HTTPRefusal(405, f"expected GET or HEAD, got {head.method}", (("Allow", "GET, HEAD"),))
        await self._answer(endpoint, page.response(body=head.method != "HEAD"))

    async def _read_head(self, endpoint: Endpoint) -> RequestHead | None:
        """The request head, or ``None`` from a peer that goes before it said anything."""
        reader = HeadReader(self._limits.request_head_bytes)
        while True:
            data = endpoint.receive(16_384)
            if data is None:  # and only then wait: with TLS, the handshake may have brought the request along
                await endpoint.wait_readable()
            elif not data:
                return None
            elif (head := reader.feed(data)) is not None:
                return head

    async def _upgrade(self, endpoint: Endpoint, head: RequestHead) -> None:
        check_upgrade(head)
        self._check_admission(head)
        offers = [offer for offer in head.offers() if not offer.startswith(TICKET_PREFIX)]
        if offers and SUBPROTOCOL not in offers:
            raise HTTPRefusal(400, f"expected the subprotocol {SUBPROTOCOL} or none, got {', '.join(offers)}")
        user_id = await self._identify_request(endpoint, head, plain=not offers)
        self._check_admission(head)  # again: that took its time

        async def identify(token: str | None) -> str:
            return await self._identify_hello(endpoint, head, token)

        label = f"c{next(self._labels)}"
        connection = Connection(label, endpoint, head, self._neighbours, identify=identify, user_id=user_id)
        self.connections[endpoint] = connection
        try:
            name, text = await connection.run()
        finally:
            del self.connections[endpoint]
            self._left.set()
            self.aborted += connection.aborted
            self.goodbyes += not connection.aborted
        log(logging.DEBUG, "%s ended: %s (%s)", connection.path, name, text)

    def _check_admission(self, head: RequestHead) -> None:
        self._check_room()
        origin = head.headers.get("origin")
        if origin is not None:
            self._check_origin(origin, head.headers.get("host", ""))

    def _check_room(self) -> None:
        if self._refusing.is_set():
            raise HTTPRefusal(503, "expected a server that stays, this one is shutting down", (("Retry-After", "1"),))
        if len(self.connections) >= self._limits.connections:
            text = f"expected at most {self._limits.connections} connections, this is one more"
            raise HTTPRefusal(503, text, (("Retry-After", "5"),))

    def _check_origin(self, origin: str, host: str) -> None:
        """Ask the allow-list if there is one; else the page must come from the same host and port.

        While tokens are not checked the host must be a loopback address, too:
        a stranger's page can be of a name that leads here (DNS rebinding).
        """
        if self._origins is not None:
            if not is_allowed(origin, self._origins):
                raise HTTPRefusal(403, f"expected a page of an allowed origin, got {origin}")
            return
        page_host = page_of_host(origin, host)
        if page_host is None:
            raise HTTPRefusal(
                403, f"expected a page of an allowed origin, which without a list is {host}, got {origin}"
            )
        if self._authenticate is trust and not _is_loopback(page_host):
            text = "expected a page of an allowed origin, on a loopback address while tokens are not checked"
            raise HTTPRefusal(403, f"{text}, got {origin}")

    # --- who it is ----------------------------------------------------------------

    async def _identify_request(self, endpoint: Endpoint, head: RequestHead, *, plain: bool) -> str | None:
        """The user whom the request itself names; a plain client must, any other may leave it to its hello."""
        credentials = _from_ticket(head, endpoint.peer) or (_from_cookie(head, endpoint.peer) if plain else None)
        if credentials is None:
            if plain:
                text = f"expected a cookie {COOKIE}, or the subprotocol {SUBPROTOCOL} and a token in its hello"
                raise HTTPRefusal(401, text)
            return None
        try:
            user_id = await self._identify(credentials)
        except PeerError as error:
            raise HTTPRefusal(503 if error.name == "unavailable" else 401, str(error)) from None
        if plain and self._devices_of(user_id) >= self._limits.connections_per_user:
            raise HTTPRefusal(429, f"expected at most {self._limits.connections_per_user} connections of one user")
        return user_id

    async def _identify_hello(self, endpoint: Endpoint, head: RequestHead, token: str | None) -> str:
        """The user whom a hello names; without a token in it, the request's cookie speaks."""
        if token is not None:
            credentials: Credentials | None = Credentials(token, "hello", endpoint.peer, head.headers)
        else:
            credentials = _from_cookie(head, endpoint.peer)
        if credentials is None:
            raise PeerError("unauthenticated", f"hello: expected a token, a ticket or a cookie {COOKIE}, got none")
        return await self._identify(credentials)

    async def _identify(self, credentials: Credentials) -> str:
        """Ask the application. Raises PeerError when it refuses, fails or takes too long.

        It is not asked about an empty credential: that is none, and would be a
        default value's or a blank line's in somebody's table of users.
        """
        refusal = PeerError("unauthenticated", f"expected valid credentials in the {credentials.source}")
        if not credentials.token.strip():
            raise refusal
        limit = self._limits.authenticate_seconds
        with self._checking() as revoked:
            user_id: str | None = None
            known = False
            with Barrier(lambda error: self._record_check(credentials, error)):
                with trio.fail_after(limit):
                    user_id = await awaitable("authenticate", self._authenticate(credentials))
                if user_id is not None and user_id != "":
                    check_identifier("user_id", user_id)
                known = True
        if not known:
            raise PeerError("unavailable", CLOSINGS["unavailable"].text)
        if user_id is None or user_id == "":
            raise refusal
        if user_id in revoked:
            raise PeerError("revoked", CLOSINGS["revoked"].text)
        return user_id

    @contextmanager
    def _checking(self) -> Iterator[set[str]]:
        """The users who are revoked meanwhile."""
        key = object()
        self._checks[key] = set()
        try:
            yield self._checks[key]
        finally:
            del self._checks[key]

    def _record_check(self, credentials: Credentials, error: BaseException) -> None:
        """Record a failure of ``authenticate``; an answer of the wrong kind once in a period.

        Because the function has to be mended for that, and until then each
        attempt of each device would say the same.
        """
        is_misuse = isinstance(error, NotAwaitable | Unencodable)
        if is_misuse and self._misused.take(str(error), self._environment.clock()) is None:
            return
        handling = f"a {credentials.source} from {credentials.peer}"
        self._record("listeners/authenticate", handling, error, secret=credentials.token)

    def _record(self, path: str, handling: str, error: BaseException, secret: str = "") -> None:
        at = self._environment.wall_clock()
        self._failures.record(failure_of(path, handling, error, at, lambda text: _without(secret, text)))

    async def _decline(
        self, endpoint: Endpoint, refusal: HTTPRefusal, *, body: bool = True, linger_seconds: float | None = None
    ) -> None:
        answer = response(refusal.status, str(refusal), refusal.headers, body=body)
        await self._answer(endpoint, answer, linger_seconds)

    async def _answer(self, endpoint: Endpoint, answer: bytes, linger_seconds: float | None = None) -> None:
        """Send a response and read on until the peer has closed, so that the response is not lost to a reset."""
        gone = suppress(trio.BrokenResourceError, trio.ClosedResourceError)
        patience_seconds = self._limits.close_seconds if linger_seconds is None else linger_seconds
        with trio.move_on_after(patience_seconds), gone:
            while answer:
                answer = answer[endpoint.send(answer) :]
                if answer:
                    await endpoint.wait_writable()
            endpoint.finish()
            while endpoint.receive(65_536) != b"":
                await endpoint.wait_readable()


def _without(secret: str, text: str) -> str:
    """A failure's text without the credential: ``users[token]`` says it in its KeyError."""
    if len(secret) < _SECRET_CHARACTERS:
        return text
    for form in (secret, repr(secret)[1:-1]):
        text = text.replace(form, "[credential]")
    return text


def _from_ticket(head: RequestHead, peer: str) -> Credentials | None:
    for offer in head.offers():
        if offer.startswith(TICKET_PREFIX):
            return Credentials(offer.removeprefix(TICKET_PREFIX), "ticket", peer, head.headers)
    return None


def _from_cookie(head: RequestHead, peer: str) -> Credentials | None:
    token = head.cookie(COOKIE)
    return None if not token else Credentials(token, "cookie", peer, head.headers)


def _address(listener: socket.socket) -> tuple[str, int]:
    name = listener.getsockname()
    return name[0], name[1]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
>>>>>>> 1ead133 (Keep close codes and refusals in one module, as two tables of one kind of row)
