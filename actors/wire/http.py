"""The request before the upgrade: read by h11, under a limit; and the answers that are not an upgrade."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Literal

import attrs
import h11
from wsproto.utilities import generate_accept_token

from actors.errors import ActorsError

RefusalReason = Literal[
    "bad_request",
    "cut",
    "draining",
    "not_found",
    "not_loopback",
    "origin",
    "revoked",
    "subprotocol",
    "tls",
    "too_big",
    "too_many",
    "too_many_devices",
    "too_slow",
    "unauthenticated",
    "unavailable",
]
"""A reason for which a request does not become a connection, for programs: a fixed word, and nothing of the client's.

``cut`` is a request that was dropped while it was looked at, ``tls`` a peer that did not agree on keys.
"""


class HTTPRefusal(ActorsError):
    """A request that the server answers with a status instead of an upgrade."""

    def __init__(
        self,
        status: int,
        text: str,
        *,
        reason: RefusalReason = "bad_request",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(text)
        self.status = status
        self.reason: RefusalReason = reason
        self.headers = headers


@attrs.frozen(kw_only=True)
class RequestHead:
    """A request line and its headers, read here, or by the server of a host that hands the connection over."""

    method: str
    path: str
    headers: dict[str, str] = attrs.field(repr=False)
    """Headers by lower-case name; repeated ones are joined by commas, cookies by semicolons. ``host`` is that of the
    request's target where it names one."""
    rest: bytes = attrs.field(default=b"", repr=False)
    """Bytes after the head."""
    version: str = "1.1"
    scope: Mapping[str, Any] | None = attrs.field(default=None, repr=False, eq=False)
    """The ASGI scope of a request that an ASGI server has read."""

    def switch(self, subprotocol: str | None) -> bytes:
        """Return the answer that agrees to the upgrade, after which the connection speaks WebSocket.

        For a request that ``check_upgrade`` has let by.
        """
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + generate_accept_token(self.headers["sec-websocket-key"].encode("ascii")),
        ]
        if subprotocol is not None:
            lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode("ascii"))
        return b"\r\n".join([*lines, b"", b""])

    def offers(self) -> tuple[str, ...]:
        """Return the subprotocols that the client offers."""
        return _tokens(self.headers.get("sec-websocket-protocol", ""))

    def cookie(self, name: str) -> str | None:
        """Return the value of the first cookie of a name."""
        return cookie_of(self.headers, name)


class HeadReader:
    """A parser that collects bytes until they are a request head."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=most_bytes)
        self._size_bytes = 0
        self._blank = b"\r\n"
        """The rest of an empty line that may come before the request, and is ignored (RFC 9112, section 2.2)."""

    def feed(self, data: bytes) -> RequestHead | None:
        """Add bytes; returns the head once it is complete.

        Raises :class:`HTTPRefusal` for anything else (400), a head that is too
        large (431), and one of another version of HTTP (505): the preface of an
        HTTP/2 client without an upgrade looks like a request.
        """
        self._size_bytes += len(data)
        data = self._past_blank(data)
        if not data:
            return None
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            status = 431 if self._size_bytes > self._most_bytes else error.error_status_hint
            reason = str(error).partition(":")[0]  # the rest of it quotes the line, which may hold a credential
            text = f"expected an HTTP/1.1 request of at most {self._most_bytes} bytes; {reason}"
            raise HTTPRefusal(status, text, reason="too_big" if status == 431 else "bad_request") from None
        if not isinstance(event, h11.Request):
            return None
        if not event.http_version.startswith(b"1."):
            text = f"expected HTTP/1.1, got HTTP/{event.http_version.decode('ascii')}"
            raise HTTPRefusal(505, text)
        rest = self._connection.trailing_data[0]
        size = self._size_bytes - len(rest)
        if size > self._most_bytes:
            text = f"expected a request head of at most {self._most_bytes} bytes, got {size}"
            raise HTTPRefusal(431, text, reason="too_big")
        return _head(event, bytes(rest))

    def _past_blank(self, data: bytes) -> bytes:
        while self._blank and data:
            if data[0] == self._blank[0]:
                self._blank, data = self._blank[1:], data[1:]
            else:
                self._blank = b""
        return data


def cookie_of(headers: Mapping[str, str], name: str) -> str | None:
    """Return the value of the first cookie of a name in a request's headers.

    Not with the standard library's parser, because it drops all cookies
    when one is malformed, and a page has cookies of many origins.
    """
    for pair in headers.get("cookie", "").split(";"):
        key, equals, value = pair.partition("=")
        if equals and key.strip() == name:
            # Headers are decoded as Latin-1, and browsers send UTF-8; other bytes name no user.
            return _unquoted(value.strip()).encode("latin-1").decode(errors="replace")
    return None


def check_upgrade(head: RequestHead) -> None:
    """Raise :class:`HTTPRefusal` unless a request is a WebSocket upgrade."""
    headers = head.headers
    upgrade = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
    protocols, options = _lowered(headers.get("upgrade", "")), _lowered(headers.get("connection", ""))
    if "websocket" not in protocols or "upgrade" not in options:
        raise HTTPRefusal(
            426, "expected a WebSocket upgrade (Connection: Upgrade, Upgrade: websocket)", headers=upgrade
        )
    if head.method != "GET":
        raise HTTPRefusal(400, f"expected GET for a WebSocket upgrade, got {head.method}")
    if head.version < "1.1":
        raise HTTPRefusal(400, f"expected HTTP/1.1 for a WebSocket upgrade, got {head.version}")
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise HTTPRefusal(400, "expected a WebSocket upgrade without a body, got one with a body")
    version = headers.get("sec-websocket-version")
    if version != "13":
        raise HTTPRefusal(426, f"expected Sec-WebSocket-Version 13, got {version}", headers=upgrade)
    try:
        key = base64.b64decode(headers.get("sec-websocket-key", ""), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 16:
        raise HTTPRefusal(400, "expected a Sec-WebSocket-Key of 16 bytes in base64")


def response(status: int, text: str, headers: tuple[tuple[str, str], ...] = (), *, body: bool = True) -> bytes:
    """Build a whole response, after which the connection closes. In plain text, so that no browser runs a request
    that it quotes."""
    content = f"{text}\n".encode()
    return _response(status, content, "text/plain; charset=utf-8", (*headers, _AS_DECLARED), body=body)


@attrs.frozen
class Page:
    """A file that is served at a path: a page, its style, its script."""

    content: bytes
    content_type: str

    def response(self, *, body: bool = True) -> bytes:
        """Build the whole response. A page loads from its own server alone, and no page may frame it."""
        return _response(200, self.content, self.content_type, _PAGE_HEADERS, body=body)


_AS_DECLARED = ("X-Content-Type-Options", "nosniff")
_PAGE_HEADERS = (
    ("Cache-Control", "no-cache"),
    ("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    _AS_DECLARED,
    ("Referrer-Policy", "no-referrer"),
)


def _response(
    status: int, content: bytes, content_type: str, headers: tuple[tuple[str, str], ...], *, body: bool
) -> bytes:
    fields = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(content))),
        ("Connection", "close"),
        *headers,
    ]
    connection = h11.Connection(h11.SERVER)
    head = connection.send(h11.Response(status_code=status, headers=fields, reason=HTTPStatus(status).phrase.encode()))
    return (head or b"") + (content if body else b"")


def joined(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Join header fields by lower-case name: repeated ones by commas, cookies by semicolons."""
    headers: dict[str, str] = {}
    for name, value in fields:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}{_JOINTS.get(key, ', ')}{text}" if key in headers else text
    return headers


def _head(event: h11.Request, rest: bytes) -> RequestHead:
    headers = joined(event.headers)
    path, host = _target(event.target.decode("ascii"))
    if host is not None:
        headers["host"] = host
    return RequestHead(
        method=event.method.decode("ascii"),
        path=path,
        headers=headers,
        rest=rest,
        version=event.http_version.decode("ascii"),
    )


_JOINTS = {"cookie": "; "}
"""Separators of repeated headers other than a list's comma (RFC 9110, section 5.3): cookies may contain commas (RFC
9113, section 8.2.3)."""


def _target(target: str) -> tuple[str, str | None]:
    """Return the path of a request's target, and the host of one in absolute form.

    A server must take that form, and its host counts more than the Host header
    (RFC 9112, section 3.2.2).
    """
    resource, _, _query = target.partition("?")
    scheme, separator, rest = resource.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        return resource, None
    host, _, path = rest.partition("/")
    if not host or "@" in host:
        raise HTTPRefusal(
            400, "expected a host in the URL that is asked for, and no user's name (RFC 9110, section 4.2)"
        )
    return f"/{path}", host


def _unquoted(value: str) -> str:
    """Return a cookie's value without its quotes, which are a pair or none (RFC 6265, section 4.1.1)."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _tokens(value: str) -> tuple[str, ...]:
    return tuple(token for part in value.split(",") if (token := part.strip()))


def _lowered(value: str) -> tuple[str, ...]:
    return tuple(token.lower() for token in _tokens(value))
