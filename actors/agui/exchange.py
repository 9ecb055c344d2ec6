"""One HTTP request of an ASGI server, and its answer: JSON, or a stream of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

import msgspec
import trio

from actors.agui.messages import AguiEvent
from actors.agui.problems import RAISED, Refused, answer_of
from actors.asgi.courier import Receive, Send
from actors.asgi.translation import Scope
from actors.wire.http import joined

MOST_BYTES = 8 * 1024 * 1024
"""The longest request: a client sends all of its messages with each, and a thread keeps as many as its log retains."""

_JSON = (b"content-type", b"application/json")
_STREAM = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back
)
_HERE = b":\n\n"
"""A comment, which every client passes over."""

Header = tuple[bytes, bytes]


class Exchange:
    """A request, and what was answered so far."""

    def __init__(self, scope: Scope, *, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.headers: dict[str, str] = joined(scope["headers"])
        self._receive = receive
        self._send = send
        self._started = False

    def __repr__(self) -> str:
        return f"<Exchange {self.scope['method']} {self.scope['path']}{' answered' if self._started else ''}>"

    @property
    def token(self) -> str | None:
        """The token that the client presents."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def parameter(self, name: str) -> str | None:
        """Return a parameter of the query, if it is there."""
        found = parse_qs(self.scope.get("query_string", b"").decode("ascii", "replace"), errors="replace")
        return found[name][0] if name in found else None

    async def body(self) -> bytes:
        """Read the body. Raises Refused for one that is too long, or that does not come to its end."""
        parts, size, more = [], 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Refused("bad_request", "expected a whole body")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MOST_BYTES:
                raise Refused("too_big", f"expected at most {MOST_BYTES} bytes")
            more = message.get("more_body", False)
        return b"".join(parts)

    @asynccontextmanager
    async def until_it_leaves(self) -> AsyncIterator[None]:
        """Cancel the block when the client goes away; what it began goes on. What is refused in it comes out bare."""
        refused: Exception | None = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while (await self._receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                yield
            except RAISED as error:
                refused = error
            nursery.cancel_scope.cancel()
        if refused is not None:
            raise refused

    async def say(self, events: Iterable[AguiEvent]) -> None:
        """Send events of a stream, the first of them after its head; none are a sign that it is there."""
        body = b"".join(b"data: %b\n\n" % msgspec.json.encode(event) for event in events) or _HERE
        if not self._started:
            await self._start(200, _STREAM)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def finish(self) -> None:
        """End a stream."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def answer(self, status: int, body: object, *more: Header) -> None:
        """Answer with JSON."""
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        await self._start(status, (_JSON, *more))
        await self._send({"type": "http.response.body", "body": encoded, "more_body": False})

    async def refuse(self, error: Exception, *more: Header) -> None:
        """Answer with the problem that an error is: as JSON, or, behind what was said, as the end of a run."""
        status, body = answer_of(error)
        if not self._started:
            retry = ((b"retry-after", b"1"),) if status in {429, 503} else ()
            await self.answer(status, body, *retry, *more)
            return
        told = msgspec.json.decode(body)["error"]
        await self.say([{"type": "RUN_ERROR", "message": told["message"], "code": told["name"]}])
        await self.finish()

    async def _start(self, status: int, headers: Iterable[Header]) -> None:
        self._started = True
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})
