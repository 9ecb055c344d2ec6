"""The handshake: from a socket's first byte to a request for a connection that is let in, or to an HTTP answer.

    TLS handshake ─ request head ┬ /ws                room, origin, subprotocol, credentials ─ Upgrade
                                 ├ /healthz, a page   answer
                                 └ a service          room, then the service's own

A host may have read the request, and know the user: then it begins there.

Each step may refuse, which is an answer, too: it says in words what was
expected. After an answer the server reads on for a moment (it lingers),
because closing a socket that has unread bytes resets it, and the reset would
overtake the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Protocol

import attrs
import trio

from actors.context import Context
from actors.errors import PeerError
from actors.protocol.client_messages import SUBPROTOCOL, TICKET_PREFIX
from actors.server.authentication import Authentication
from actors.server.origins import Origin, is_allowed, is_loopback, page_of_host
from actors.server.visit import PLAIN_ARRIVAL, Arrival
from actors.wire.endpoint import Endpoint
from actors.wire.http import HeadReader, HTTPRefusal, Page, RefusalReason, RequestHead, check_upgrade, response
from actors.wire.tls import Disagreement, TLSEndpoint

_USE = f"/ws is a WebSocket of {SUBPROTOCOL}; try: actors watch ws://HOST:PORT/ws --token TOKEN"
_PAGE = "\nA page to try it with comes with open_runtime(pages=actors.web.pages())"
"""Advice for a client that asks for a path where nothing is."""

_UNIDENTIFIED: dict[str, tuple[int, RefusalReason]] = {"unavailable": (503, "unavailable"), "revoked": (401, "revoked")}
"""The answers to a request of which the user is not found, by the row of the closing table; of any other row it is
that of credentials that were refused."""

_READ_BYTES = 16_384
_LINGER_READ_BYTES = 65_536

Service = Callable[[Endpoint, RequestHead], Awaitable[None]]
"""A handler of upgrade requests at a path of its own, from the answer to the end of the connection."""


@attrs.frozen
class Routes:
    """The answers at paths of the application's own."""

    pages: Mapping[str, Page]
    services: Mapping[str, Service]
    """Handlers of upgrades at paths other than ``/ws``; the application is not asked to authenticate there."""


Identify = Callable[[RequestHead, str, str | None], Awaitable[str]]
"""A function from a request, its peer and the token of a hello, if it has one, to a user; raises PeerError."""


@attrs.frozen(kw_only=True)
class Upgrade:
    """A request for a connection that is let in."""

    head: RequestHead
    user_id: str | None
    """``None`` where the hello is to name the user."""
    identify: Identify
    """The way to find the user of its hello."""


class Register(Protocol):
    """The connections of a server, as a handshake asks about them."""

    refusing: trio.Event
    """Set once nothing more is accepted."""

    @property
    def connections(self) -> Collection[Endpoint]:
        """The sockets that are connections."""
        ...

    @property
    def held(self) -> int:
        """The sockets that are connections no more, and still there."""
        ...

    def trouble(self) -> object | None:
        """Return the store's trouble, if there is any."""
        ...

    def devices_of(self, user_id: str, /) -> int:
        """Count the connections of one user."""
        ...


class Handshake:
    """The handshakes of one server: each reads a request, and answers it or lets it in."""

    def __init__(
        self,
        context: Context,
        register: Register,
        *,
        authentication: Authentication,
        origins: frozenset[Origin | str] | None,
        routes: Routes,
    ) -> None:
        self._limits = context.limits
        self._instruments = context.instruments
        self._register = register
        self._authentication = authentication
        self._origins = origins
        self._pages = routes.pages
        self._services = routes.services

    async def run(self, endpoint: Endpoint, arrival: Arrival = PLAIN_ARRIVAL) -> Upgrade | None:
        """Take a socket from its first byte; ``None`` once it was answered, or has gone.

        An upgrade is returned without a checkpoint after there was found to be
        room for it, so that a caller that registers it at once keeps the bound.
        """
        try:
            head = await self._first_request(endpoint) if arrival.head is None else arrival.head
        except HTTPRefusal as refusal:
            await self._refuse(endpoint, refusal)
            return None
        if head is None:
            return None
        try:
            return await self._respond(endpoint, head, arrival)
        except HTTPRefusal as refusal:
            await self._refuse(endpoint, refusal, head)
            return None

    def note_cut(self, head: RequestHead) -> None:
        """Tell of a request that is dropped without an answer, because what serves it was cancelled."""
        self._note_refused(0, "draining" if self._register.refusing.is_set() else "cut", head)

    def _note_refused(self, status: int, reason: RefusalReason, head: RequestHead | None = None) -> None:
        if self._instruments.handshake_refused is not None:
            self._instruments.handshake_refused(status, reason, None if head is None else head.headers.get("origin"))

    # --- reading ----------------------------------------------------------------

    async def _first_request(self, endpoint: Endpoint) -> RequestHead | None:
        """Read the request within its time; ``None`` from a peer that goes, or has to, before it is whole."""
        seconds = self._limits.request_head_seconds
        try:
            with trio.fail_after(seconds):
                if isinstance(endpoint, TLSEndpoint):
                    await endpoint.handshake()
                return await self._read_head(endpoint)
        except trio.TooSlowError:
            refusal = HTTPRefusal(408, f"expected a whole request within {seconds:g} s", reason="too_slow")
            await self._refuse(endpoint, refusal, linger_seconds=0)  # it had its time
            return None
        except Disagreement:
            self._note_refused(0, "tls")
            return None

    async def _read_head(self, endpoint: Endpoint) -> RequestHead | None:
        reader = HeadReader(self._limits.request_head_bytes)
        while True:
            data = endpoint.receive(_READ_BYTES)
            if data is None:  # and only then wait: with TLS, the handshake may have brought the request along
                await endpoint.wait_readable()
            elif not data:
                return None
            elif (head := reader.feed(data)) is not None:
                return head

    # --- deciding ---------------------------------------------------------------

    async def _respond(self, endpoint: Endpoint, head: RequestHead, arrival: Arrival) -> Upgrade | None:
        """Do what a request asks for. Raises HTTPRefusal."""
        # A path elsewhere is empty, which no service and no page has.
        path = head.path.removeprefix(arrival.prefix) if head.path.startswith(f"{arrival.prefix}/") else ""
        if path == "/ws":
            check_upgrade(head)
            self._check_server(head, is_known=arrival.user_id is not None)
            return await self._admit(endpoint, head, arrival.user_id)
        if path in self._services:
            check_upgrade(head)
            self._check_server(head, is_known=arrival.user_id is not None)
            self._check_room()
            await self._services[path](endpoint, head)
        elif path == "/healthz":
            status, text = self._health()
            await self._answer(endpoint, response(status, text, body=head.method != "HEAD"))
        else:
            page = self._page(head, path, arrival.prefix)
            await self._answer(endpoint, page.response(body=head.method != "HEAD"))
        return None

    def _health(self) -> tuple[int, str]:
        if self._register.refusing.is_set():
            return 503, "draining"
        trouble = self._register.trouble()
        return (200, "ok") if trouble is None else (503, f"nothing can be stored: {trouble}")

    def _page(self, head: RequestHead, path: str, prefix: str) -> Page:
        page = self._pages.get(path)
        if page is None:
            paths = ", ".join(prefix + path for path in ("/ws", "/healthz", *self._services, *self._pages))
            text = f"expected one of {paths}, got {head.path}\n{_USE}{'' if self._pages else _PAGE}"
            raise HTTPRefusal(404, text, reason="not_found")
        if head.method not in ("GET", "HEAD"):
            raise HTTPRefusal(405, f"expected GET or HEAD, got {head.method}", headers=(("Allow", "GET, HEAD"),))
        return page

    async def _admit(self, endpoint: Endpoint, head: RequestHead, user_id: str | None) -> Upgrade:
        """Let a request in, or raise HTTPRefusal; ``user_id`` is the user that the host knows."""
        self._check_room()
        self._check_origin(head, is_known=user_id is not None)
        offers = [offer for offer in head.offers() if not offer.startswith(TICKET_PREFIX)]
        if offers and SUBPROTOCOL not in offers:
            text = f"expected the subprotocol {SUBPROTOCOL} or none, got {', '.join(offers)}"
            raise HTTPRefusal(400, text, reason="subprotocol")
        identify: Identify = self._authentication.identify_hello
        if user_id is None:
            user_id = await self._identify(endpoint, head, plain=not offers)
        else:
            identify = _knowing(user_id)
        if not offers:
            self._check_devices(user_id)
        self._check_room()  # again, because that took its time
        return Upgrade(head=head, user_id=user_id, identify=identify)

    async def _identify(self, endpoint: Endpoint, head: RequestHead, *, plain: bool) -> str | None:
        """Authenticate a request."""
        try:
            return await self._authentication.identify_request(head, endpoint.peer, plain=plain)
        except PeerError as error:
            status, reason = _UNIDENTIFIED.get(error.name, (401, "unauthenticated"))
            raise HTTPRefusal(status, str(error), reason=reason) from None
        except trio.Cancelled:
            self.note_cut(head)
            raise

    def _check_devices(self, user_id: str | None) -> None:
        """Refuse a plain client whose user has no room now; any other is told at its hello."""
        most = self._limits.connections_per_user
        if user_id is not None and self._register.devices_of(user_id) >= most:
            raise HTTPRefusal(429, f"expected at most {most} connections of one user", reason="too_many_devices")

    def _check_room(self) -> None:
        if self._register.refusing.is_set():
            text = "expected a server that stays, this one is shutting down"
            raise HTTPRefusal(503, text, reason="draining", headers=(("Retry-After", "1"),))
        if len(self._register.connections) + self._register.held >= self._limits.connections:
            text = f"expected at most {self._limits.connections} connections, this is one more"
            raise HTTPRefusal(503, text, reason="too_many", headers=(("Retry-After", "5"),))

    def _check_server(self, head: RequestHead, *, is_known: bool) -> None:
        """Refuse what an ASGI server hands over that other machines may reach, while tokens are not checked."""
        if is_known or head.scope is None or not self._authentication.is_trusting:
            return
        server = head.scope.get("server")
        if server is None or server[1] is None or not is_loopback(server[0]):
            text = "expected a server on a loopback address while tokens are not checked; pass authenticate"
            raise HTTPRefusal(403, text, reason="not_loopback")

    def _check_origin(self, head: RequestHead, *, is_known: bool) -> None:
        """Ask the allow-list if there is one; else the page must come from the same host and port.

        While tokens are not checked the host must be a loopback address, too,
        because a stranger's page can be of a name that leads here (DNS
        rebinding); but not where the host knows the user (``is_known``). A
        client that is no page sends no origin, and is let by.
        """
        origin, host = head.headers.get("origin"), head.headers.get("host", "")
        if origin is None:
            return
        if self._origins is not None:
            if not is_allowed(origin, self._origins):
                raise HTTPRefusal(403, f"expected a page of an allowed origin, got {origin}", reason="origin")
            return
        page_host = page_of_host(origin, host)
        if page_host is None:
            text = f"expected a page of an allowed origin, which without a list is {host}, got {origin}"
            raise HTTPRefusal(403, text, reason="origin")
        if self._authentication.is_trusting and not is_known and not is_loopback(page_host):
            text = "expected a page of an allowed origin, on a loopback address while tokens are not checked"
            raise HTTPRefusal(403, f"{text}, got {origin}", reason="origin")

    # --- answering --------------------------------------------------------------

    async def _refuse(
        self,
        endpoint: Endpoint,
        refusal: HTTPRefusal,
        head: RequestHead | None = None,
        *,
        linger_seconds: float | None = None,
    ) -> None:
        """Refuse a request in words, and tell the instruments of it."""
        self._note_refused(refusal.status, refusal.reason, head)
        body = head is None or head.method != "HEAD"
        answer = response(refusal.status, str(refusal), refusal.headers, body=body)
        await self._answer(endpoint, answer, linger_seconds)

    async def _answer(self, endpoint: Endpoint, answer: bytes, linger_seconds: float | None = None) -> None:
        """Send an answer, and read on until the peer has closed, or ``close_seconds`` have passed."""
        gone = suppress(trio.BrokenResourceError, trio.ClosedResourceError)
        seconds = self._limits.close_seconds if linger_seconds is None else linger_seconds
        with trio.move_on_after(seconds), gone:
            while answer:
                answer = answer[endpoint.send(answer) :]
                if answer:
                    await endpoint.wait_writable()
            endpoint.finish()
            while endpoint.receive(_LINGER_READ_BYTES) != b"":
                await endpoint.wait_readable()


def _knowing(user_id: str) -> Identify:
    """Answer each hello with the user that the host knows: what token is in it makes no difference."""

    async def identify(head: RequestHead, peer: str, token: str | None) -> str:
        return user_id

    return identify
