"""The other side of an ASGI application, in its own loop: it says and hears what a test wants."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from actors.asgi.courier import Bell
from actors.asgi.translation import ASGIMessage

Scope = dict[str, Any]


def websocket_scope(*offers: str, path: str = "/ws", **fields: Any) -> Scope:
    """The scope of an upgrade, as a server on loopback gives it."""
    return {
        "type": "websocket",
        "path": path,
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000")],
        "subprotocols": list(offers),
        "client": ("127.0.0.1", 4321),
        "server": ("127.0.0.1", 8000),
        "extensions": {"websocket.http.response": {}},
        **fields,
    }


def http_scope(path: str, method: str = "GET", **fields: Any) -> Scope:
    """The scope of a request."""
    return {**websocket_scope(path=path), "type": "http", "method": method, "extensions": {}, **fields}


class Exchange:
    """The messages of one ASGI connection."""

    def __init__(self, make_bell: Callable[[], Bell]) -> None:
        self.sent: list[ASGIMessage] = []
        """What the application has sent."""
        self.fails_at = ""
        """The type of message that the server cannot take."""
        self.holds: Bell | None = None
        """Keeps each send until it is set."""
        self._said: deque[ASGIMessage] = deque([{"type": "websocket.connect"}])
        self._make_bell = make_bell
        self._bell = make_bell()

    # --- as the server --------------------------------------------------------

    async def receive(self) -> ASGIMessage:
        """Give the application the next message."""
        await self._until(lambda: bool(self._said))
        return self._said.popleft()

    async def send(self, message: ASGIMessage) -> None:
        """Take a message of the application."""
        if message["type"] == self.fails_at:
            raise OSError("the client has gone")
        if self.holds is not None:
            await self.holds.wait()
        self.sent.append(message)
        self._ring()

    # --- as the client --------------------------------------------------------

    def say(self, message: dict[str, Any]) -> None:
        """Send a text message."""
        self.put({"type": "websocket.receive", "text": json.dumps(message)})

    def put(self, message: ASGIMessage) -> None:
        """Send any message."""
        self._said.append(message)
        self._ring()

    def leave(self, code: int = 1000) -> None:
        """Go."""
        self.put({"type": "websocket.disconnect", "code": code})

    async def sent_type(self, kind: str) -> ASGIMessage:
        """The first message of a type, once it was sent."""
        await self._until(lambda: any(message["type"] == kind for message in self.sent))
        return next(message for message in self.sent if message["type"] == kind)

    def texts(self) -> list[dict[str, Any]]:
        """The text messages so far."""
        return [json.loads(message["text"]) for message in self.sent if message["type"] == "websocket.send"]

    async def said(self, op: str) -> dict[str, Any]:
        """The first message of the protocol with an op, once it was sent."""
        await self._until(lambda: any(text.get("op") == op for text in self.texts()))
        return next(text for text in self.texts() if text.get("op") == op)

    async def attach(self, token: str | None) -> None:
        """Say hello, and wait until all was sent."""
        await self.sent_type("websocket.accept")
        self.say({"op": "hello", "v": 1} | ({} if token is None else {"token": token}))
        await self.said("caught_up")

    async def events(self, count: int) -> list[dict[str, Any]]:
        """So many events, once they were sent."""
        await self._until(lambda: len(self._events()) >= count)
        return self._events()

    def _events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for text in self.texts():
            found += text["events"] if text.get("op") == "batch" else [text] if "type" in text else []
        return found

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            await self._bell.wait()

    def _ring(self) -> None:
        bell, self._bell = self._bell, self._make_bell()
        bell.set()


def answer_of(exchange: Exchange) -> tuple[int, str]:
    """The status and the body of an answer, of a request or in place of an upgrade."""
    kind = "http.response" if exchange.sent[0]["type"].startswith("http") else "websocket.http.response"
    start, *bodies = exchange.sent
    assert [start["type"], *{body["type"] for body in bodies}] == [f"{kind}.start", f"{kind}.body"]
    assert [body["more_body"] for body in bodies] == [True] * (len(bodies) - 1) + [False]
    return start["status"], b"".join(body["body"] for body in bodies).decode()
