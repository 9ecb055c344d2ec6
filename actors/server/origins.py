"""Web origins: which pages may connect, as browsers name them (RFC 6454) and as proxies pass that on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs
import idna

DEFAULT_PORTS = {"http": 80, "https": 443}
"""The ports that stand for one that is left out (RFC 9110, sections 4.2.1 and 4.2.2)."""

ANY = "*"

_FORM = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[^][/?#@:\s,*\\%]*)(?::(?P<port>[0-9]*))?"
)
_HOST = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[^][/?#@:\s,]+)(?::(?P<port>[0-9]*))?")
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_NUMERIC = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)\.?")
"""A host that browsers read as an IPv4 address, or not at all (WHATWG URL, section 3.5)."""
_OPAQUE = frozenset({"about", "blob", "data", "javascript", "ws", "wss"})
"""Schemes that no page's origin has."""


@attrs.frozen(kw_only=True)
class Origin:
    """The origin of a page."""

    scheme: str
    host: str
    """In lower case and ASCII, without the brackets of an IPv6 address; empty of a local file."""
    port: int | None
    """``None`` for the scheme's own."""


def parse_origin(text: str) -> Origin:
    """Read an origin, however it is spelt. Raises ValueError, which says what is wrong with it."""
    if text.strip().lower() == "null":
        raise ValueError("every local file and sandboxed frame has it")
    form = _FORM.fullmatch(text.lower())
    if form is None:
        raise ValueError("a scheme, '://', a host, and a port if it is not the scheme's own, and nothing else")
    scheme = form["scheme"]
    if scheme in _OPAQUE:
        raise ValueError(f"a page's own scheme, which is never {scheme}")
    if not form["host"] and scheme != "file":
        raise ValueError("a host is missing")
    port = int(form["port"]) if form["port"] else None
    if port is not None and not 0 < port < 65_536:
        raise ValueError("a port is from 1 to 65535")
    return Origin(scheme=scheme, host=_host(form["host"]), port=None if port == DEFAULT_PORTS.get(scheme) else port)


def allowed(origins: str | Iterable[str] | None) -> frozenset[Origin | str] | None:
    """Read an allow-list; a string is one origin. ``None`` is none, which allows pages of the same host.

    Raises ValueError for an entry that no page can match, TypeError for what
    is no text.
    """
    if origins is None:
        return None
    if not isinstance(origins, str) and (isinstance(origins, bytes | bytearray) or not isinstance(origins, Iterable)):
        raise TypeError(f"origins: expected a collection of web origins, or None, got {type(origins).__name__}")
    return frozenset(map(_entry, [origins] if isinstance(origins, str) else origins))


def is_allowed(origin: str, allow_list: frozenset[Origin | str]) -> bool:
    """True if an ``Origin`` header is one of an allow-list."""
    if ANY in allow_list:
        return True
    try:
        return parse_origin(origin) in allow_list
    except ValueError:
        return False


def page_of_host(origin: str, host: str) -> str | None:
    """The host of a page, if it comes from where a request goes: the same host and port as in its ``Host`` header.

    A port left out is the default one of the *page's* scheme: behind a proxy
    that ends TLS, a request says ``Host: x`` or ``Host: x:443`` and comes from
    ``https://x``. Letter case, and the dot that ends an absolute name, make no
    difference.
    """
    asked = _HOST.fullmatch(host.lower())
    try:
        page = parse_origin(origin)
        if asked is None or page.scheme not in DEFAULT_PORTS:
            return None
        theirs = page.host.rstrip("."), page.port or DEFAULT_PORTS[page.scheme]
        ours = _host(asked["host"]).rstrip("."), int(asked["port"] or DEFAULT_PORTS[page.scheme])
    except ValueError:
        return None
    return theirs[0] if theirs == ours else None


def is_loopback(host: str) -> bool:
    """True if a host is this machine, and can be no other: ``localhost``, or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _entry(entry: object) -> Origin | str:
    if not isinstance(entry, str):
        raise TypeError(f"origins: expected text such as 'https://chat.example.com', got {entry!r}")
    if entry == ANY:
        return ANY
    try:
        return parse_origin(entry)
    except ValueError as error:
        text = f"origins: expected '*', or an origin such as 'https://chat.example.com' ({error}), got {entry!r}"
        raise ValueError(text) from None


def _host(host: str) -> str:
    """A host as browsers write it. Raises ValueError."""
    if host.startswith("["):
        return IPv6Address(host[1:-1]).compressed
    if not host.isascii():
        return _in_ascii(host)
    if host and _NUMERIC.fullmatch(host):
        return str(IPv4Address(host))
    if host and not _NAME.fullmatch(host):
        raise ValueError(f"{host} is the name of no host")
    return host


def _in_ascii(host: str) -> str:
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"{host} is the name of no host: {error}") from None
