"""The door: from an accepted socket to a connection of a known user, or a refusal that says why.

There is no shared fate here. Each socket has a task and a barrier of its own;
what a peer does before or after the upgrade ends that peer's connection.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from ipaddress import ip_address
from typing import Literal

import attrs
import trio

from actors.bounded import LogThrottle
from actors.checks import NotAwaitable, awaitable
from actors.connections.actor import Connection, ConnectionContext
from actors.context import Context
from actors.errors import PeerError, RuntimeClosed, Unencodable
from actors.events.event import check_identifier
from actors.kernel.failures import Barrier, log
from actors.kernel.nesting import Block
from actors.protocol.closing import TABLE
from actors.protocol.messages import SUBPROTOCOL, TICKET_PREFIX
from actors.server.origins import Origin, is_allowed, page_of_host
from actors.wire.endpoint import Endpoint, SocketEndpoint, StreamEndpoint
from actors.wire.http import HeadReader, HTTPRefusal, Page, RequestHead, check_upgrade, response
from actors.wire.listeners import listen_path, listen_tcp, shut
from actors.wire.tls import TLSEndpoint, check_context

COOKIE = "actors_token"
"""The cookie that carries a credential."""

_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""The system has no room for another connection: wait, and try again."""

_GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EINTR})
"""The connection that was to be accepted is gone already (accept(2)): take the next."""

_ACCEPTS_PER_TURN = 64

_MISUSES = 16
"""Kinds of answers that ``authenticate`` may not give, of which each is said in a period."""

_USE = f"/ws is a WebSocket of {SUBPROTOCOL}; try: actors watch ws://HOST:PORT/ws --token TOKEN"
_PAGE = "\nA page to try it with comes with open_runtime(pages=actors.web.pages())"
"""What to do where there is nothing."""

_SECRET_CHARACTERS = 8
"""A credential of fewer is none, and its characters are in every text."""


@attrs.frozen
class Credentials:
    """What a client presents; never taken from the query string, which ends up in logs."""

    token: str = attrs.field(repr=False)
    source: Literal["hello", "ticket", "cookie"]
    peer: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    """The request's headers, by lower-case name."""


Authenticate = Callable[[Credentials], Awaitable[str | None]]
"""Says which user credentials belong to, or ``None`` for nobody. Runs in the connection's task."""


Service = Callable[[Endpoint, RequestHead], Awaitable[None]]
"""Serves an upgrade request to a path of its own, from the answer to the end of the connection."""


async def trust(credentials: Credentials) -> str | None:
    """Take the token for the user's name, if it can be one: for demonstrations on one machine."""
    with suppress(Unencodable):
        check_identifier("token", credentials.token)
        return credentials.token
    return None


@attrs.frozen
class Access:
    """The rules by which a client is let in: who it is, and from which origin's pages."""

    authenticate: Authenticate
    origins: frozenset[Origin | str] | None
    """``None`` allows pages of the same host and port."""


class Server:
    """Accepts, authenticates, hands over; and knows who is connected."""

    def __init__(
        self,
        context: Context,
        neighbours: ConnectionContext,
        access: Access,
        pages: Mapping[str, Page],
        services: Mapping[str, Service],
        devices_of: Callable[[str], int],
    ) -> None:
        self.connections: dict[Endpoint, Connection] = {}
        self._neighbours = neighbours
        self._authenticate = access.authenticate
        self._origins = access.origins
        self._pages = pages
        self._services = services
        """What is upgraded at paths other than ``/ws``; the application is not asked who it is."""
        self._limits = limits = context.limits
        self._environment = context.environment
        self._failures = context.failures
        self._devices_of = devices_of
        self._labels = itertools.count(1)
        self._checks: dict[object, set[str]] = {}
        """For each question to the application who somebody is: the users revoked since it was asked."""
        self._blocks: dict[Endpoint, Block] = {}
        """Where each socket is served; the application is asked there who a client is, and what it may."""
        self._misused = LogThrottle(_MISUSES, limits.warning_seconds)
        self._full = LogThrottle(len(_FULL), limits.warning_seconds)
        self._arriving = 0
        """Sockets that were accepted and whose tasks have not begun."""
        self._doors: set[ExitStack] = set()
        self.goodbyes = 0
        """Connections that have ended and could be told why."""
        self.aborted = 0
        """Connections that have ended and could not."""
        self._refusing = trio.Event()
        self._closing = trio.Event()
        self._left = trio.Event()
        """Somebody has left, or a door was shut, since it was last looked at."""

    # --- listening ------------------------------------------------------------

    async def serve(
        self,
        host: str,
        port: int,
        path: str | bytes | os.PathLike[str] | None,
        ssl_context: ssl.SSLContext | None,
        task_status: trio.TaskStatus[tuple[str, int] | str],
    ) -> None:
        """Listen until cancelled or closed; then see the guests out, and close."""
        self._check_open()
        if ssl_context is not None:
            check_context(ssl_context)
        if path is None and self._authenticate is trust and not _is_loopback(host):
            text = f"expected a loopback address while tokens are not checked, got {host!r}; pass authenticate"
            raise ValueError(text)
        backlog = self._limits.accept_backlog
        private = self._authenticate is trust  # and so each account of this machine could be any user
        at_path = None if path is None else await listen_path(path, backlog, private=private)
        listeners = await listen_tcp(host, port, backlog) if at_path is None else [at_path.socket]
        with ExitStack() as door:
            self._doors.add(door)
            door.callback(self._forget, door)
            for listener in listeners:
                door.callback(shut, listener)
            if at_path is not None:
                door.callback(at_path.remove)
            guests: dict[Endpoint, trio.CancelScope] = {}
            async with trio.open_nursery() as nursery:
                try:
                    async with trio.open_nursery() as accepting:
                        for listener in listeners:
                            accepting.start_soon(self._accept, listener, ssl_context, nursery, guests)
                        task_status.started(_address(listeners[0]) if at_path is None else at_path.path)
                        await self._refusing.wait()
                        accepting.cancel_scope.cancel()
                    door.close()
                    await self._closing.wait()
                finally:
                    door.close()
                    await self._see_out(guests)

    async def handle(self, stream: trio.abc.Stream | Endpoint) -> None:
        """Serve one connection that the host accepted, to its end.

        A :class:`trio.SocketStream` gives up its socket; any other stream is
        pumped. Cancelled, the connection is closed as it stands.
        """
        self._check_open()
        if isinstance(stream, trio.SocketStream):
            sock = socket.socket(fileno=stream.socket.detach())
            await self._receive(SocketEndpoint(sock))
        elif isinstance(stream, trio.abc.Stream):
            with self._bearing(endpoint := StreamEndpoint(stream)):
                async with trio.open_nursery() as nursery:
                    await nursery.start(endpoint.run)
                    await self._receive(endpoint)
                    nursery.cancel_scope.deadline = trio.current_time() + self._limits.close_seconds
        else:
            await self._receive(stream)

    def revoke(self, user_id: str) -> int:
        """End a user's connections with ``revoked``; also those that will turn out to be this user's.

        What a socket has not taken yet, it does not get. Returns how many
        connections there were.
        """
        for revoked in self._checks.values():
            revoked.add(user_id)
        theirs = [connection for connection in self.connections.values() if connection.user_id == user_id]
        for connection in theirs:
            connection.end("revoked", "")
            if connection.writing:
                connection.abort()
        return len(theirs)

    def refuse(self) -> None:
        """Accept nothing more: no socket, no upgrade. ``/healthz`` says so on the connections that are here."""
        self._refusing.set()

    def close(self) -> None:
        """Accept nothing more, and end every connection with ``shutting_down``."""
        self.refuse()
        self._closing.set()
        for connection in tuple(self.connections.values()):
            connection.end("shutting_down", "")

    async def shut(self) -> None:
        """Wait until every door is shut, once :meth:`refuse` was called."""
        await self._until_gone(self._doors)

    async def gone(self) -> None:
        """Wait until every connection has ended."""
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
        return Barrier(lambda error: self._failures.report("listeners", f"a connection from {endpoint.peer}", error))

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
            raise PeerError("unavailable", TABLE["unavailable"].text)
        if user_id is None or user_id == "":
            raise refusal
        if user_id in revoked:
            raise PeerError("revoked", TABLE["revoked"].text)
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
        secret = credentials.token
        self._failures.report("listeners/authenticate", handling, error, hide=lambda text: _without(secret, text))

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
