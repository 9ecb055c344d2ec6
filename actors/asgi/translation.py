"""ASGI messages and a client's bytes, translated into each other. Sans-I/O, without Trio and without asyncio.

    scope                     ─ head_of ──▶  the request, as if it had been read here
    websocket.receive, …      ─ bytes_of ─▶  masked frames, as of a client
    websocket.accept, .send … ◀─ Reply ────  a 101 and frames, or an HTTP answer

So what decides, from the upgrade to the Close, is the code that serves the
runtime's own port, and sees no difference.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from actors.wire.http import RequestHead, joined, response

Scope = Mapping[str, Any]
ASGIMessage = dict[str, Any]

DENIAL = "websocket.http.response"
"""The extension by which a server can answer an upgrade with a status other than 403."""

_NOT_PASSED_ON = frozenset(
    {
        b"connection",
        b"content-length",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers about the connection, which is the server's; HTTP/2 has none of them for a WebSocket (RFC 8441)."""

_UPGRADE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
"""The headers of an upgrade. No client sees the answer to this key: its own is answered by the ASGI server."""

_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0x0, 0x1, 0x2, 0x8
_UNSENDABLE = frozenset({1004, 1005, 1006, 1015})
"""Codes that stand for the absence of one (RFC 6455, section 7.4.1); 1005 is said of lost sockets, too."""


def path_of(scope: Scope) -> str:
    """Return the path that is asked for, below the place where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    below = path[len(root) :]
    return below if root and path.startswith(root) and below[:1] in {"", "/"} else path


def head_of(scope: Scope, path: str) -> RequestHead:
    """Return the request of a scope, for a path of the runtime's own."""
    headers = joined((name, value) for name, value in scope["headers"] if name.lower() not in _NOT_PASSED_ON)
    is_upgrade = scope["type"] == "websocket"
    if is_upgrade:
        headers |= _UPGRADE
        if offers := scope.get("subprotocols"):
            headers["sec-websocket-protocol"] = ", ".join(offers)
    return RequestHead(method="GET" if is_upgrade else scope["method"], path=path, headers=headers, scope=scope)


def peer_of(scope: Scope) -> str:
    """Return the address of a scope's client, for logs."""
    client = scope.get("client")
    return "an ASGI client" if not client else f"{client[0]}:{client[1]}"


def bytes_of(message: ASGIMessage) -> bytes:
    """Return what a client would have sent for a message; of its disconnect the Close, if it sent one."""
    if message["type"] == "websocket.receive":
        text = message.get("text")
        if text is not None:
            return _frame(_TEXT, text.encode(errors="surrogatepass"))  # refused where bytes are checked
        return _frame(_BINARY, message.get("bytes") or b"")
    if message["type"] == "websocket.disconnect":
        return close_of(message.get("code") or 1005, message.get("reason") or "")
    return b""


def close_of(code: int, reason: str) -> bytes:
    """Return a client's Close; nothing for a code that none has."""
    if code in _UNSENDABLE or not 1000 <= code < 5000:
        return b""
    return _frame(_CLOSE, struct.pack("!H", code) + reason.encode()[:123].decode(errors="ignore").encode())


def _frame(opcode: int, payload: bytes) -> bytes:
    """Frame a message as a client does, with a mask that changes nothing."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65_536:
        header = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return header + b"\0\0\0\0" + payload


class Reply:
    """The answer of a runtime to one request: bytes as they come, as ASGI messages when they are whole."""

    def __init__(self, scope: Scope) -> None:
        self._is_http = scope["type"] == "http"
        self._can_deny = DENIAL in (scope.get("extensions") or {})
        self._rest = b""
        """Bytes that are not yet a whole head or frame."""
        self._speaks = False
        """True once the upgrade was agreed to, and frames follow."""
        self._answers = False
        """True once a status was said, and a body follows."""
        self._is_refused = False
        """True once a server without words for it was told to refuse: the words are for nothing."""
        self._opcode = _TEXT
        """The kind of the message of which fragments are collected."""
        self._fragments: list[bytes] = []

    def feed(self, data: bytes) -> list[ASGIMessage]:
        """Add bytes; returns the messages that are whole."""
        if self._is_refused:
            return []
        data = self._rest + data
        self._rest = b""
        if self._speaks:
            return self._frames(data)
        if self._answers:
            return self._body(data, more=True)
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self._rest = data
            return []
        lines = head.split(b"\r\n")
        status = int(lines[0].split(b" ")[1])
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])]
        if status == 101:
            self._speaks = True
            return [_acceptance(fields), *self._frames(rest)]
        start = self._start(status, fields)
        return start + self._body(rest, more=True) if rest and self._answers else start

    def end(self) -> list[ASGIMessage]:
        """Return the messages that are due once nothing more is written."""
        return self._body(b"", more=False) if self._answers else []

    def _start(self, status: int, fields: list[tuple[bytes, bytes]]) -> list[ASGIMessage]:
        """Begin an answer. A server that cannot give it to an upgrade is told to refuse, and says 403."""
        if not self._is_http and not self._can_deny:
            self._is_refused = True
            return [{"type": "websocket.close", "code": 1008, "reason": ""}]
        self._answers = True
        kind = "http.response.start" if self._is_http else f"{DENIAL}.start"
        headers = [(name, value) for name, value in fields if name != b"connection"]
        return [{"type": kind, "status": status, "headers": headers}]

    def _body(self, data: bytes, *, more: bool) -> list[ASGIMessage]:
        kind = "http.response.body" if self._is_http else f"{DENIAL}.body"
        return [{"type": kind, "body": data, "more_body": more}]

    def _frames(self, data: bytes) -> list[ASGIMessage]:
        """Take unmasked frames apart; the rest of one stays for later."""
        messages: list[ASGIMessage] = []
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1] & 0x7F, at + 2
            if size > 125:
                start += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : start])
            if start + size > end:
                break
            self._take(data[at], data[start : start + size], messages)
            at = start + size
        self._rest = data[at:]
        return messages

    def _take(self, first: int, payload: bytes, messages: list[ASGIMessage]) -> None:
        """Take one frame. Pings and pongs are the ASGI server's own business, and end here."""
        opcode, is_final = first & 0x0F, first & 0x80
        if opcode == _CLOSE:
            code = int.from_bytes(payload[:2]) if payload else 1000
            messages.append({"type": "websocket.close", "code": code, "reason": payload[2:].decode()})
        elif opcode in {_CONTINUATION, _TEXT, _BINARY}:
            if opcode != _CONTINUATION:
                self._opcode = opcode
            self._fragments.append(payload)
            if is_final:
                whole = payload if len(self._fragments) == 1 else b"".join(self._fragments)
                self._fragments = []
                said = {"text": whole.decode()} if self._opcode == _TEXT else {"bytes": whole}
                messages.append({"type": "websocket.send", **said})


def refusal(scope: Scope, status: int, text: str) -> list[ASGIMessage]:
    """Return a whole answer in words, of a request that no runtime sees."""
    reply = Reply(scope)
    headers = (("Retry-After", "1"),) if status == 503 else ()
    return [*reply.feed(response(status, text, headers, body=scope.get("method") != "HEAD")), *reply.end()]


def _acceptance(fields: list[tuple[bytes, bytes]]) -> ASGIMessage:
    subprotocol = next((value.decode("ascii") for name, value in fields if name == b"sec-websocket-protocol"), None)
    return {"type": "websocket.accept", "subprotocol": subprotocol, "headers": []}
