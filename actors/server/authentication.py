"""Authentication: from the credentials of a request, or of a hello, to a user.

The application decides. It is asked behind a barrier and within a time, in the
task of the connection, so that what it raises, and how long it takes, is that
connection's own. A user that is revoked while the application is being asked is
refused whatever it answers, because it may have looked before.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal

import attrs
import trio

from actors.checks import NotAwaitable, awaitable, check_instance
from actors.context import Context
from actors.errors import PeerError, Refused, Unencodable
from actors.events.event import check_identifier
from actors.kernel.bounded import Ration
from actors.kernel.failures import Barrier, text_of
from actors.observability.refusals import Refusal, Refusals
from actors.protocol.client_messages import SUBPROTOCOL, TICKET_PREFIX
from actors.protocol.codes import CLOSINGS
from actors.wire.http import RequestHead, cookie_of

COOKIE = "actors_token"
"""The cookie that carries a credential."""

_MISUSES = 16
"""Kinds of answers that ``authenticate`` may not give, of which each is reported once in a period."""

_SECRET_CHARACTERS = 8
"""A credential of fewer characters is not cut out of a text, because it may be a part of any word."""


Source = Literal["hello", "ticket", "cookie", "request"]


@attrs.frozen(kw_only=True)
class Credentials:
    """A token that a client presents, and where it stood; never in the query string, because that ends up in logs."""

    token: str = attrs.field(repr=False)
    """Empty where the source is the request."""
    source: Source
    """``request`` is the request as it is, of a client that presents nothing else, where that was asked for."""
    peer: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    """The request's headers, by lower-case name."""
    scope: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    """The ASGI scope, where an ASGI server has read the request: what middleware put there, as ``scope["session"]``
    and ``scope["user"]``."""

    def cookie(self, name: str) -> str | None:
        """Return the value of the request's first cookie of a name."""
        return cookie_of(self.headers, name)


Authenticate = Callable[[Credentials], Awaitable[str | None]]
"""The application's function from credentials to a user id, ``None`` for no user; runs in the connection's task."""


async def trust(credentials: Credentials) -> str | None:
    """Take the token for the user's name, if it can be one: for demonstrations on one machine."""
    with suppress(Unencodable):
        check_identifier("token", credentials.token)
        return credentials.token
    return None


@attrs.frozen(kw_only=True)
class Sources:
    """The parts of a request in which a server looks for credentials, beside tickets and hellos."""

    cookie: str = COOKIE
    """The cookie that carries a token."""
    request: bool = False
    """True if the application is asked about a request that presents nothing else."""

    def __attrs_post_init__(self) -> None:
        """Raise ValueError or TypeError for what no cookie is called, and for what is no yes and no no."""
        check_instance("cookie", self.cookie, str)
        check_instance("from_request", self.request, bool)
        if not _COOKIE_NAME.fullmatch(self.cookie):
            raise ValueError(f"cookie: expected the name of a cookie, got {self.cookie!r}")


_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 6265, section 4.1.1)."""

_DEFAULT = Sources()


class Authentication:
    """The checks of one server: credentials are found, and the application is asked which user they belong to."""

    def __init__(self, context: Context, authenticate: Authenticate, *, sources: Sources = _DEFAULT) -> None:
        self._limits = limits = context.limits
        self._clock = context.environment.clock
        self._failures = context.failures
        self._authenticate = authenticate
        self._sources = sources
        self._checks: dict[object, set[str]] = {}
        """For each question to the application: the users revoked since it was asked."""
        self._misused = Ration(_MISUSES, limits.warning_seconds)
        self._wall_clock = context.environment.wall_clock
        self.refusals: Refusals = Refusals(context)
        """The clients that were refused."""

    @property
    def is_trusting(self) -> bool:
        """True if tokens are not checked, so that every client may be any user."""
        return self._authenticate is trust

    async def identify_request(self, head: RequestHead, peer: str, *, plain: bool) -> str | None:
        """Find the user of a request, by its ticket, or by its cookie if it is a plain client's.

        A plain client must present one of them; of any other ``None`` leaves
        it to the hello. Raises PeerError when the user cannot be found.
        """
        credentials = _of_ticket(head, peer) or (self._of_request(head, peer) if plain else None)
        if credentials is not None:
            return await self._identify(credentials)
        if plain:
            cookie = self._sources.cookie
            text = f"expected a cookie {cookie}, or the subprotocol {SUBPROTOCOL} and a token in its hello"
            raise self._refused(peer, "request", "it presented no credentials", text)
        return None

    async def identify_hello(self, head: RequestHead, peer: str, token: str | None) -> str:
        """Find the user of a hello, by its token, or without one by its request. Raises PeerError."""
        credentials = self._of_request(head, peer) if token is None else _credentials(head, peer, "hello", token)
        if credentials is None:
            text = f"hello: expected a token, a ticket or a cookie {self._sources.cookie}, got none"
            raise self._refused(peer, "hello", "it presented no credentials", text)
        return await self._identify(credentials)

    def _of_request(self, head: RequestHead, peer: str) -> Credentials | None:
        """Return the cookie of a request, or else the request itself if the application is asked about those."""
        token = head.cookie(self._sources.cookie)
        if token:
            return _credentials(head, peer, "cookie", token)
        return _credentials(head, peer, "request", "") if self._sources.request else None

    def revoke(self, user_id: str) -> None:
        """Refuse a user in every check that is under way."""
        for revoked in self._checks.values():
            revoked.add(user_id)

    async def _identify(self, credentials: Credentials) -> str:
        """Ask the application. Raises PeerError when it refuses, fails or takes too long.

        It is not asked about an empty credential, because that is none, and
        could match a default value or a blank line in its table of users.
        """
        peer, source = credentials.peer, credentials.source
        text = f"expected valid credentials in the {source}"
        if not credentials.token.strip() and source != "request":
            raise self._refused(peer, source, "its credential is empty", text)
        with self._checking() as revoked:
            user_id: str | None = None
            why: Refused | None = None
            answered = False
            with Barrier(lambda error: self._report(credentials, error)):
                with trio.fail_after(self._limits.authenticate_seconds):
                    try:
                        user_id = await awaitable("authenticate", self._authenticate(credentials))
                    except Refused as error:
                        why = error
                if user_id is not None and user_id != "":
                    check_identifier("user_id", user_id)
                answered = True
        if not answered:
            raise PeerError("unavailable", CLOSINGS["unavailable"].text)
        if user_id is None or user_id == "":
            raise self._refused(peer, source, "authenticate found no user for it", text, why, credentials.token)
        if user_id in revoked:
            raise PeerError("revoked", CLOSINGS["revoked"].text)
        return user_id

    def _refused(
        self, peer: str, source: Source, reason: str, text: str, why: Refused | None = None, token: str = ""
    ) -> PeerError:
        """Note that a client was refused, and why, and return what it is told."""
        reason = reason if why is None else _without(token, text_of(why))
        user_id = None if why is None else why.user_id
        at = self._wall_clock()
        self.refusals.note(Refusal(peer=peer, source=source, reason=reason, at=at, user_id=user_id))
        return PeerError("unauthenticated", text)

    @contextmanager
    def _checking(self) -> Iterator[set[str]]:
        """Collect the users that are revoked meanwhile."""
        key = object()
        self._checks[key] = set()
        try:
            yield self._checks[key]
        finally:
            del self._checks[key]

    def _report(self, credentials: Credentials, error: BaseException) -> None:
        """Report a failure of ``authenticate``; an answer of the wrong kind once in a period.

        Because the function has to be mended for that, and until then each
        attempt of each device would say the same.
        """
        is_misuse = isinstance(error, NotAwaitable | Unencodable)
        if is_misuse and not self._misused.take(str(error), self._clock()):
            return
        handling = f"a {credentials.source} from {credentials.peer}"
        secret = credentials.token
        self._failures.report("listeners/authenticate", handling, error, hide=lambda text: _without(secret, text))


def _of_ticket(head: RequestHead, peer: str) -> Credentials | None:
    for offer in head.offers():
        if offer.startswith(TICKET_PREFIX):
            return _credentials(head, peer, "ticket", offer.removeprefix(TICKET_PREFIX))
    return None


def _credentials(head: RequestHead, peer: str, source: Source, token: str) -> Credentials:
    return Credentials(token=token, source=source, peer=peer, headers=head.headers, scope=head.scope)


def _without(secret: str, text: str) -> str:
    """Cut a credential out of a failure's text, because ``users[token]`` quotes it in its KeyError."""
    if len(secret) < _SECRET_CHARACTERS:
        return text
    for form in (secret, repr(secret)[1:-1]):
        text = text.replace(form, "[credential]")
    return text
