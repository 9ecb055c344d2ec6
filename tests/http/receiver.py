"""A program elsewhere that takes webhooks, on a real port, in the loop of the test."""

from __future__ import annotations

import base64
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Any

import attrs
import httpx
import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from actors.environment import Environment
from actors.http import serve
from actors.http.app import _live
from actors.http.webhook import Patience, Webhook

SECRET = b"0123456789abcdef"

Reply = Callable[[Any], Awaitable[Any]]
"""Makes the answer to a request, an ASGI application, from its body."""


@attrs.define
class Receiver:
    """What came, and what is answered."""

    url: str
    reply: Reply
    came: list[Any] = attrs.field(factory=list)
    ids: list[str] = attrs.field(factory=list)
    traces: list[str | None] = attrs.field(factory=list)
    gone: trio.Event = attrs.field(factory=trio.Event)
    """Set when a client went before its answer was whole."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request, and check its signature."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        check_signature(dict(request.headers), body)
        self.traces.append(request.headers.get("traceparent"))
        self.ids.append(request.headers["webhook-id"])
        self.came.append(msgspec.json.decode(body))
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                self.gone.set()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            response = await self.reply(self.came[-1])
            await response(scope, receive, send)
            nursery.cancel_scope.cancel()


def check_signature(headers: dict[str, str], body: bytes) -> None:
    """Verify as the Standard Webhooks specification says."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, signed, sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def always(response: Response) -> Reply:
    """Answer each request alike."""

    async def reply(body: Any) -> Response:
        return response

    return reply


def reply_with(value: Any, status: int = 200) -> Response:
    """An answer of one object."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


@asynccontextmanager
async def receiver(reply: Reply) -> AsyncIterator[Receiver]:
    """Listen while the block runs."""
    async with trio.open_nursery() as nursery:
        one = Receiver("", reply)
        host, port = await nursery.start(partial(serve, one, private=True))
        one.url = f"http://{host}:{port}/hook"
        yield one
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def webhook(url: str, **patience: float) -> AsyncIterator[Webhook]:
    """A webhook with little patience."""
    known = {"answer_seconds": 5.0, "total_seconds": 5.0, "first_pause_seconds": 0.01, "most_pause_seconds": 0.02}
    async with httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None)) as client:  # noqa: S113 - Patience bounds it
        yield Webhook(
            url, secret=SECRET, client=client, environment=Environment(), patience=Patience(**(known | patience))
        )
