"""Where a server is: from what a person writes to the URL that is dialled."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from actors.events.surrogates import half_in

PATH = "/ws"
"""Where a server of this project is, if nothing else is said."""

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
"""The page of a server and its WebSocket are on one port."""

_KEPT = "/?%:@!$&'()*+,;=~[]"
"""What is left as it is in a path or a query: the rest has to be escaped, and what is escaped stays so."""


_USER = re.compile(r"([a-zA-Z]+:)?//[^/?#]*@")


def address_of(url: str) -> str:
    """The URL of a WebSocket for a URL as a person has it: ``http:`` stands for ``ws:``, no path for ``/ws``.

    So the address that a server prints for its page leads to it as well. What
    is behind a ``#`` is of no use to a server, and neither are spaces around
    it. Raises :class:`ValueError` for what is no such URL, and for one with a
    password, which would end up in logs; :class:`TypeError` for what is no
    string.
    """
    if not isinstance(url, str):
        raise TypeError(f"url: expected a string like wss://host/ws, got {type(url).__name__}")
    if (half := half_in(url)) is not None:
        raise ValueError(f"url: expected text that UTF-8 can encode, got {half}")
    where = _split(url.strip())
    if _USER.match(url.strip()):
        raise ValueError("expected a URL like wss://host/ws, without a password, got one with a password")
    if where is None or where.scheme not in _SCHEMES or not where.hostname:
        raise ValueError(f"expected a URL like wss://host/ws, without a password, got {url!r}")
    path = where.path if where.path.strip("/") else PATH
    return urlunsplit((_SCHEMES[where.scheme], where.netloc, quote(path, _KEPT), quote(where.query, _KEPT), ""))


def _split(url: str) -> SplitResult | None:
    """A URL's parts; ``None`` for one that has none, or a host or port that cannot be."""
    try:
        where = urlsplit(url)
        is_host = not re.search(r"\s", where.netloc) and (where.port is None or where.port > 0)
    except ValueError:
        return None
    return where if is_host else None
