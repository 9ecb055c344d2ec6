"""A dialled server's answer to an upgrade request, read under a limit and checked.

It is read here because the engine buffers a refusal's body without a limit, and
fails on a wrong answer with an error of its own. The engine gets an answer that
this module has written.
"""

from __future__ import annotations

import base64
import hashlib
from http import HTTPStatus

import attrs
import h11

from actors.kernel.failures import printable

HEAD_BYTES = 16 * 1024
"""The largest head of an answer, interim answers included. Common servers send less than 1 KiB."""
BODY_BYTES = 512
"""Length to which the body of a refusal is cut."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SHOWN_CHARACTERS = 80
_HTTP = b"HTTP/1."
_TLS_ALERT = b"\x15\x03"
_READABLE = frozenset({"", "text/plain", "application/json", "application/problem+json"})
"""Types of bodies that a person can read on one line, unlike a page."""


class UpgradeRefused(Exception):
    """Any other answer than an agreement."""

    def __init__(self, text: str, status: int | None = None, *, final: bool = False) -> None:
        super().__init__(text)
        self.status = status
        """The HTTP status, of a refusal in HTTP."""
        self.final = final
        """True if the server speaks another subprotocol."""


@attrs.frozen
class Upgraded:
    """An agreement: an answer as the engine expects it, and the bytes after the server's own."""

    answer: bytes
    rest: bytes


class UpgradeAnswerReader:
    """A parser that collects bytes until they are the answer to one upgrade request.

    After the head of a refusal it waits for the body: :attr:`refusing` is true
    from then on, and the caller may call :meth:`end` at any time.
    """

    def __init__(self, request: bytes) -> None:
        headers = _headers_of(request)
        self.refusing: bool = False
        self._key = headers.get("sec-websocket-key", "")
        self._offers = _tokens(headers.get("sec-websocket-protocol", ""))
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._connection.send(h11.Request(method="GET", target="/", headers=_REQUEST_HEADERS))
        self._connection.send(h11.EndOfMessage())
        self._first = b""
        self._size_bytes = 0
        self._refusal: h11.Response | None = None
        self._body = b""

    def feed(self, data: bytes) -> Upgraded | None:
        """Add bytes, at most some KiB at once; returns the agreement once it is complete.

        Raises :class:`UpgradeRefused` for anything else.
        """
        self._first += data[: _SHOWN_CHARACTERS - len(self._first)]
        self._size_bytes += len(data)
        if not _HTTP.startswith(self._first) and not self._first.startswith(_HTTP):
            raise UpgradeRefused(self._unexpected())  # at once, because another protocol's head may never end
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.InformationalResponse) and event.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                    return self._agree(event)
                self._take(event)
        except h11.RemoteProtocolError:
            if self._refusal is not None:
                self.end()
            raise UpgradeRefused(self._unexpected()) from None
        if self._refusal is None and self._size_bytes > HEAD_BYTES:
            raise UpgradeRefused(self._unexpected())
        return None

    def end(self) -> None:
        """End, at the end of the connection or of the wait for a body. Raises :class:`UpgradeRefused`."""
        if self._refusal is not None:
            raise UpgradeRefused(_described(self._refusal, self._body), self._refusal.status_code)
        if self._size_bytes:
            raise UpgradeRefused(f"{self._unexpected()}, and then the end")
        raise UpgradeRefused("expected an upgrade, the connection ended")

    def _take(self, event: object) -> None:
        """Take a part of an answer that is no agreement."""
        if isinstance(event, h11.Response):
            self._refusal, self.refusing = event, True
        elif isinstance(event, h11.Data):
            self._body += bytes(event.data)[: BODY_BYTES - len(self._body)]
        if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or len(self._body) >= BODY_BYTES:
            self.end()

    def _agree(self, event: h11.InformationalResponse) -> Upgraded:
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        for name, expected in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
            got = headers.get(name.lower())
            if expected.lower() not in map(str.lower, _tokens(got or "")):
                raise UpgradeRefused(f"expected {name}: {expected} of an upgrade, got {_shown(got)}")
        if headers.get("sec-websocket-accept") != _accept_of(self._key):
            got = headers.get("sec-websocket-accept")
            raise UpgradeRefused(f"expected the Sec-WebSocket-Accept that answers our key, got {_shown(got)}")
        if "sec-websocket-extensions" in headers:
            raise UpgradeRefused(f"expected no extension, got {_shown(headers['sec-websocket-extensions'])}")
        chosen = headers.get("sec-websocket-protocol")
        if chosen is not None and chosen not in self._offers:
            offers = ", ".join(self._offers) or "none"
            raise UpgradeRefused(f"expected the subprotocol {offers}, got {_shown(chosen)}", final=True)
        return Upgraded(_answer(self._key, chosen), bytes(self._connection.trailing_data[0]))

    def _unexpected(self) -> str:
        if self._first.startswith(_TLS_ALERT):
            return "expected an answer in HTTP/1.1, got TLS: the address may be one of wss: or https:"
        if self._first.startswith(_HTTP) and self._size_bytes > HEAD_BYTES:
            return f"expected an answer in HTTP/1.1 with a head of at most {HEAD_BYTES} bytes, got more"
        return f"expected an answer in HTTP/1.1, got {_shown(self._first.decode('latin-1'))}"


_REQUEST_HEADERS = [("Host", "actors"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
"""The headers of the request that h11 needs to parse the answer."""


def _described(refusal: h11.Response, body: bytes) -> str:
    """Describe a refusal on one line: its status, and its body, if that is for people."""
    status = refusal.status_code
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in refusal.headers}
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if 300 <= status < 400 and "location" in headers:
        return f"expected an upgrade, got {status}: the address is {_shown(headers['location'])}"
    text = " ".join(body.decode(errors="replace").split())
    if kind not in _READABLE or text.startswith("<"):
        return f"expected an upgrade, got {status} with a page ({_shown(kind or 'HTML')}), which is no WebSocket"
    return f"expected an upgrade, got {status}" + (f": {printable(text)}" if text else "")


def _answer(key: str, subprotocol: str | None) -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {_accept_of(key)}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _accept_of(key: str) -> str:
    """Return the accept value of a key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def _headers_of(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _tokens(value: str) -> tuple[str, ...]:
    return tuple(token for part in value.split(",") if (token := part.strip()))


def _shown(text: str | None) -> str:
    """Return a text for an error, on one line and not too long."""
    if text is None:
        return "none"
    cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return printable(cut)
