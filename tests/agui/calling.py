"""ASGI requests to the endpoint without a server, in virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

import actors
from actors.agui import Endpoint, open_endpoint

USER = "alice"


class Caller:
    """One request, and what is answered."""

    def __init__(self, endpoint: Endpoint, method: str, *, query: str = "", token: str | None = USER) -> None:
        headers = [(b"content-type", b"application/json")]
        if token is not None:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": "/agui",
            "query_string": query.encode(),
            "headers": headers,
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 5),
        }
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.text = b""
        self.over = trio.Event()
        self._endpoint = endpoint
        self._to_server, self._receive = trio.open_memory_channel[dict[str, Any]](100)
        self._bell = trio.Event()

    async def call(self) -> None:
        """Have the request answered."""
        await self._endpoint(self.scope, self._receive.receive, self._send)
        self.over.set()
        self._ring()

    def body(self, body: bytes, *, more: bool = False) -> None:
        """Send a part of the body."""
        self._to_server.send_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """Go away."""
        self._to_server.send_nowait({"type": "http.disconnect"})

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the stream so far."""
        parts = self.text.decode().split("\n\n")
        return [json.loads(part.removeprefix("data: ")) for part in parts if part.startswith("data: ")]

    @property
    def types(self) -> list[str]:
        """Their types."""
        return [event["type"] for event in self.events]

    @property
    def error(self) -> str:
        """The name of the problem that was answered."""
        return str(json.loads(self.text)["error"]["name"])

    async def until(self, type_: str, count: int = 1) -> dict[str, Any]:
        """Wait for an event of a type, or so many; returns the first."""
        while self.types.count(type_) < count:
            assert not self.over.is_set(), self.text
            await self._bell.wait()
        return next(event for event in self.events if event["type"] == type_)

    async def _send(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.text += message["body"]
        self._ring()

    def _ring(self) -> None:
        self._bell.set()
        self._bell = trio.Event()


def asked(text: str | None = "hi", **fields: Any) -> bytes:
    """A RunAgentInput."""
    messages = [] if text is None else [{"id": f"u-{text}", "role": "user", "content": text}]
    given = {"threadId": "t1", "runId": "mine", "messages": messages, "tools": [], "context": [], "state": {}}
    return json.dumps({**given, "forwardedProps": {}, **fields}).encode()


class Opened:
    """A runtime, its endpoint, and requests to it."""

    def __init__(self, runtime: actors.Runtime, endpoint: Endpoint, nursery: trio.Nursery) -> None:
        self.runtime = runtime
        self.endpoint = endpoint
        self._nursery = nursery

    def post(self, body: bytes = b"", **options: Any) -> Caller:
        """Begin a POST with this body."""
        caller = Caller(self.endpoint, "POST", **options)
        caller.body(body or asked())
        self._nursery.start_soon(caller.call)
        return caller

    def get(self, **options: Any) -> Caller:
        """Begin to follow a thread."""
        caller = Caller(self.endpoint, "GET", **{"query": "threadId=t1", **options})
        self._nursery.start_soon(caller.call)
        return caller

    async def answered(self, caller: Caller) -> Caller:
        """Wait for the end of an answer."""
        await caller.over.wait()
        return caller

    async def ask(self, method: str, **options: Any) -> Caller:
        """Make a request that has no body, and wait for its answer."""
        caller = Caller(self.endpoint, method, **options)
        await caller.call()
        return caller


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Opened]:
    """Open a runtime and the endpoint; nothing of ours may fail meanwhile."""
    with trio.fail_after(600):
        async with (
            trio.open_nursery() as nursery,
            actors.open_runtime(**{"authorize": actors.claim_new, **options}) as runtime,
            open_endpoint(runtime) as endpoint,
        ):
            yield Opened(runtime, endpoint, nursery)
            nursery.cancel_scope.cancel()
