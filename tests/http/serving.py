"""The API on a real port, in the loop of the test, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import attrs
import httpx
import msgspec
import trio

import actors
from actors.http import Keys, open_api, serve
from actors.http.app import Api
from actors.http.calls import Bounds
from actors.http.keys import Key
from actors.wire.http import Page

PATIENCE_SECONDS = 60.0
"""No test waits longer for anything: a safety net against hangs, not a measurement."""

PRODUCER, OPERATOR, SUPPORT, MAIL = "key-of-producer-1", "key-of-operator-1", "key-of-support-01", "key-of-mail-00001"

KEYS = Keys(
    {
        PRODUCER: Key(name="producer"),
        OPERATOR: Key(name="operator", admin=True),
        SUPPORT: Key(name="support", threads=("support-",)),
        MAIL: Key(name="mail", users=("team-a/",)),
    }
)


@attrs.define
class Door:
    """The API, where it listens, and a client."""

    runtime: actors.Runtime
    api: Api
    address: tuple[str, int]
    client: httpx.AsyncClient
    nursery: trio.Nursery

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Send a request; the status and the answer."""
        if body is not None:
            options["json"] = body
        came = await self.client.request(method, path, **options)
        assert came.headers["content-type"] == "application/json"
        return came.status_code, came.json()

    async def refusal(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str]:
        """Send a request that is refused; the status and the row's name."""
        status, told = await self.ask(method, path, body, **options)
        error = told["error"]
        assert set(error) == {"code", "name", "temporary", "message"}
        assert error["temporary"] == (4000 <= error["code"] < 4500)
        assert error["message"]
        return status, error["name"]

    async def lines(self, text: bytes, query: str = "") -> list[Any]:
        """Send lines; the lines of the answer."""
        came = await self.client.post(f"/v1/events{query}", content=text, headers={"content-type": LINES})
        assert came.status_code == 200, came.text
        return [msgspec.json.decode(line) for line in came.content.splitlines()]

    async def raw(self, method: str, path: str, body: bytes = b"", *headers: str) -> tuple[int, bytes]:
        """Send a request on a connection of its own, its path as it is; the status and the body."""
        kind = ["Content-Type: application/json"] if body else []
        request = head(method, path, f"Content-Length: {len(body)}", *kind, *headers, "Connection: close")
        async with await self.stream() as stream:
            await stream.send_all(request + body)
            first, _, rest = (await answer_of(stream)).partition(b"\r\n\r\n")
        return int(first.split(b" ", 2)[1]), rest

    async def runtime_address(self) -> Any:
        """Where devices connect; it begins to listen with the first call."""
        return await self.nursery.start(self.runtime.serve)

    async def stream(self) -> trio.SocketStream:
        """A connection, nothing said yet."""
        return await trio.open_tcp_stream(*self.address)


LINES = "application/x-ndjson"


@asynccontextmanager
async def door(
    *,
    keys: Keys | None = None,
    key: str | None = None,
    bounds: Bounds | None = None,
    pages: Mapping[str, Page] = MappingProxyType({}),
    **options: Any,
) -> AsyncIterator[Door]:
    """Serve the API of a runtime that is opened with ``options``, on a free port."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            actors.open_runtime(**options) as runtime,
            open_api(runtime, keys=keys, bounds=bounds, pages=pages) as api,
            trio.open_nursery() as nursery,
        ):
            start = partial(serve, api, private=keys is None, bounds=bounds)
            address = await nursery.start(start)
            url = f"http://{address[0]}:{address[1]}"
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_SECONDS) as client:
                yield Door(runtime, api, address, client, nursery)
            nursery.cancel_scope.cancel()


def head(method: str, path: str, *headers: str) -> bytes:
    """A request's head, as bytes."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode()


async def answer_of(stream: trio.SocketStream) -> bytes:
    """Read until the server closes the connection."""
    came = b""
    async for chunk in stream:
        came += chunk
    return came


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens soon."""
    while True:
        if condition():
            return
        await trio.sleep(0.005)
