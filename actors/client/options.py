"""The options of a session, checked before anything is started; and its token, for each connection."""

from __future__ import annotations

import inspect
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import trio

from actors.checks import check_function, check_instance, check_word, described, kind
from actors.client.address import address_of
from actors.client.items import State
from actors.environment import Environment, check_seconds
from actors.events.event import check_text, check_whole
from actors.events.items import Cursor
from actors.kernel.failures import Barrier, describe, printable
from actors.protocol.client_messages import TEXT_CHARACTERS, Origin

Token = str | Callable[[], Awaitable[str | None] | str | None]
"""A token; or a function, ``async`` or not, that returns one for each connection, or ``None`` to rely on a cookie."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?!\s)[^\x00-\x08\x0a-\x1f\x7f]*(?<!\s)")
"""Header names and values that HTTP can carry (RFC 9110, section 5)."""
_RESERVED = re.compile(r"host|connection|upgrade|content-length|transfer-encoding|sec-websocket-.*", re.IGNORECASE)
"""Headers that the upgrade sets itself."""

_ERROR_CHARACTERS = 1_024
"""Length to which the text of an exception from a token function is cut."""


class NoToken(Exception):
    """The lack of a token for this connection, with the reason."""


def _checked(check: Callable[[str, Any], None]) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    """Make a field's validator of a check that takes a name and a value."""
    return lambda _, attribute, value: check(attribute.name, value)


def _check_token(name: str, value: object) -> None:
    if value is None or callable(value):
        return
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a string, a function that gives one, or None, got {kind(value)}")
    check_text(name, value)
    if len(value) > TEXT_CHARACTERS:
        raise ValueError(f"{name}: expected at most {TEXT_CHARACTERS:,} characters, got {len(value):,}")


def _check_cursor(name: str, value: object) -> None:
    if value is None:
        return
    check_instance(name, value, Cursor)
    assert isinstance(value, Cursor)
    check_text(f"{name}.epoch", value.epoch)
    check_whole(f"{name}.offset", value.offset, 0)
    if len(value.epoch) > TEXT_CHARACTERS:
        text = f"{name}.epoch: expected at most {TEXT_CHARACTERS:,} characters, got {len(value.epoch):,}"
        raise ValueError(text)


def _check_headers(name: str, value: object) -> None:
    """Check that HTTP can carry the headers; no message shows a value, because it may be secret."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: expected a mapping from names to values, got {kind(value)}")
    for header, text in value.items():
        if not isinstance(header, str) or not isinstance(text, str):
            raise TypeError(f"{name}: expected strings, got {kind(text)} as {described(header)}")
        if not _HEADER_NAME.fullmatch(header):
            raise ValueError(f"{name}: expected a name of letters, digits and hyphens, got {header!r}")
        if _RESERVED.fullmatch(header):
            raise ValueError(f"{name}: expected names that the upgrade does not have itself, got {header!r}")
        if not _HEADER_VALUE.fullmatch(text):
            raise ValueError(f"{name}: expected a value of {header} on one line, without spaces around it")
        check_text(f"{name}[{header!r}]", text)


def _check_context(name: str, value: object) -> None:
    if value is None:
        return
    check_instance(name, value, ssl.SSLContext)
    assert isinstance(value, ssl.SSLContext)
    if value.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError(f"{name}: expected an ssl.SSLContext of a client (Purpose.SERVER_AUTH), got one of a server")


def _check_patience(name: str, value: object) -> None:
    check_seconds(name, value)
    if value == 0:
        raise ValueError(f"{name}: expected more than 0 seconds, in which nothing can be reached, got {value}")


@attrs.frozen(kw_only=True)
class Options:
    """The arguments of :func:`~actors.client.connect`.

    Raises TypeError for a value of the wrong type, ValueError for one that makes no sense.
    """

    url: str = attrs.field(converter=address_of)
    token: Token | None = attrs.field(repr=False, validator=_checked(_check_token))
    cursor: Cursor | None = attrs.field(validator=_checked(_check_cursor))
    origin: Origin = attrs.field(validator=_checked(lambda name, value: check_word(name, value, Origin)))
    headers: Mapping[str, str] = attrs.field(repr=False, validator=_checked(_check_headers))
    ssl_context: ssl.SSLContext | None = attrs.field(validator=_checked(_check_context))
    connect_seconds: float = attrs.field(validator=_checked(_check_patience))
    queued_items: int = attrs.field(validator=_checked(lambda name, value: check_whole(name, value, 1)))
    queued_bytes: int = attrs.field(validator=_checked(lambda name, value: check_whole(name, value, 1)))
    on_state: Callable[[State], None] = attrs.field(
        validator=_checked(lambda name, value: check_function(name, value, "state"))
    )
    environment: Environment = attrs.field(
        validator=_checked(lambda name, value: check_instance(name, value, Environment))
    )

    def __attrs_post_init__(self) -> None:
        """Refuse an option that would have no effect."""
        if self.ssl_context is not None and not self.url.startswith("wss:"):
            raise ValueError("ssl_context: expected none for a URL without TLS (ws: or http:), got one")


async def token_of(options: Options, deadline: float) -> str | None:
    """Return the token for one connection, calling the function if it is one.

    Raises :class:`NoToken` when the function raises, returns something that is
    no token, or has not returned by the deadline.
    """
    source = options.token
    if source is None or isinstance(source, str):
        return source
    errors: list[BaseException] = []
    with trio.CancelScope(deadline=deadline), Barrier(errors.append):
        result = source()
        token: Any = await result if inspect.isawaitable(result) else result
        if callable(token):
            raise TypeError(f"token: expected a string or None, got {kind(token)}")
        _check_token("token", token)
        return token  # type: ignore[no-any-return] # it was checked
    if errors:
        raise NoToken(f"no token: {printable(describe(errors[0])[:_ERROR_CHARACTERS])}")
    raise NoToken(f"no token: expected one within {options.connect_seconds:g} s")
