"""The address of a server: from the URL that a person writes to the one that a client dials."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from actors.events.surrogates import half_in

PATH = "/ws"
"""The default path of a server's WebSocket."""

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
"""URL schemes and the WebSocket scheme that each stands for: a server has its page and its WebSocket on one port."""

_UNQUOTED = "/?%:@!$&'()*+,;=~[]"
"""Characters of a path or a query that are not escaped; ``%`` is among them, so that escapes stay as they are."""


_USER = re.compile(r"([a-zA-Z]+:)?//[^/?#]*@")


def address_of(url: str) -> str:
    """Return the WebSocket URL for a URL as a person has it: ``http:`` stands for ``ws:``, no path for ``/ws``.

    So the address that a server prints for its page works as well. A fragment
    and surrounding spaces are dropped. Raises :class:`ValueError` for any other
    text, and for a URL with a password, because it would end up in logs;
    :class:`TypeError` for anything but a string.
    """
    if not isinstance(url, str):
        raise TypeError(f"url: expected a string like wss://host/ws, got {type(url).__name__}")
    if (half := half_in(url)) is not None:
        raise ValueError(f"url: expected text that UTF-8 can encode, got {half}")
    parts = _split(url.strip())
    if _USER.match(url.strip()):
        raise ValueError("expected a URL like wss://host/ws, without a password, got one with a password")
    if parts is None or parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(f"expected a URL like wss://host/ws, without a password, got {url!r}")
    path = parts.path if parts.path.strip("/") else PATH
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, quote(path, _UNQUOTED), quote(parts.query, _UNQUOTED), ""))


def _split(url: str) -> SplitResult | None:
    """Split a URL into its parts; ``None`` if it cannot be split, or its host or port is impossible."""
    try:
        parts = urlsplit(url)
        is_host = not re.search(r"\s", parts.netloc) and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    return parts if is_host else None
