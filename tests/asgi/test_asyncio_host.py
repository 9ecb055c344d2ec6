"""A runtime in a thread of its own behind a server on asyncio, of which a test plays the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any

import attrs
import pytest
import trio

import actors
from actors import aio
from actors.asgi.asyncio_host import AsyncioHost, open_asyncio_host
from actors.asgi.courier import Receive, Send
from actors.asgi.host import ASGIApp, Place, Plan
from tests.support.asgi import Exchange, Scope, answer_of, http_scope, websocket_scope
from tests.support.raw import ACTORS

PATIENCE_SECONDS = 60.0


def on_asyncio(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run a test on asyncio, within its time."""

    @wraps(test)
    def run() -> None:
        async def main() -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await test()

        asyncio.run(main())

    del run.__wrapped__  # or the plugin for Trio takes it for one of its own
    return run


@attrs.define
class House:
    """A host, and the requests of its server."""

    host: AsyncioHost
    requests: list[asyncio.Task[None]] = attrs.field(factory=list)

    def begin(self, scope: Scope, path: str = "/ws", user_id: str | None = None) -> Exchange:
        """Begin a request."""
        exchange = Exchange(asyncio.Event)
        serve = partial(self.host.serve, path=path, user_id=user_id)
        self.requests.append(asyncio.create_task(serve(scope, exchange.receive, exchange.send)))
        return exchange


@asynccontextmanager
async def housed(place: Place | None = None, apps: Any = None, **options: Any) -> AsyncIterator[House]:
    async with open_asyncio_host(Plan(options=options, place=place, apps=apps or {})) as host:
        house = House(host)
        yield house
        for request in house.requests:
            request.cancel()
        await asyncio.gather(*house.requests, return_exceptions=True)


@on_asyncio
async def test_a_device() -> None:
    """A device of the protocol connects, is sent events, acks them, and leaves; nothing of it stays."""
    async with housed() as house:
        exchange = house.begin(websocket_scope(ACTORS))
        await exchange.attach("alice")
        receipt = await house.host.runtime.thread("t1").emit("tick", {}, user_id="alice")
        assert [event["event_id"] for event in await exchange.events(1)] == [receipt.event_id]
        exchange.say({"op": "ack", "offset": 1})
        await receipt.reached(actors.Stage.ACKED)
        exchange.leave()
        await house.requests[0]
        assert await house.host.runtime.devices("alice") == 0


@on_asyncio
async def test_a_run_and_its_handler() -> None:
    """A message is answered by the application's coroutine, in the loop of the server."""
    loop = asyncio.get_running_loop()

    async def assistant(run: aio.Run, message: actors.Message) -> str:
        assert asyncio.get_running_loop() is loop
        run.delta("hello")
        return "done"

    async with housed(on_message=assistant, authorize=actors.claim_new) as house:
        exchange = house.begin(websocket_scope(ACTORS))
        await exchange.attach("alice")
        exchange.say({"op": "send", "id": "c1", "thread_id": "t1", "payload": {}})
        types = [event["type"] for event in await exchange.events(4)]
        assert types == ["user_message", "agent_started", "agent_delta", "agent_completed"]


@on_asyncio
async def test_a_request() -> None:
    """Health is answered, and whatever else there is."""
    async with housed() as house:
        exchange = house.begin(http_scope("/healthz"), "/healthz")
        await house.requests[0]
        assert answer_of(exchange) == (200, "ok\n")


@on_asyncio
async def test_a_reader_that_stalls() -> None:
    """A send that hangs is waited for by its request alone; the runtime gives the device up, and counts its socket."""
    limits = actors.Limits(write_deadline_seconds=0.1, retained_bytes=1 << 24)
    async with housed(limits=limits) as house:
        exchange = house.begin(websocket_scope(ACTORS))
        await exchange.attach("alice")
        exchange.holds = asyncio.Event()
        server = house.host.runtime.runtime.tree.server
        while server.held == 0:
            await house.host.runtime.thread("t1").emit("tick", {"x": "x" * 100_000}, user_id="alice")
        assert await house.host.runtime.devices("alice") == 0
        exchange.holds.set()
        await house.requests[0]
        assert server.held == 0


@on_asyncio
async def test_cancelled_by_the_server() -> None:
    """A server that cancels a request closes its connection as it stands, and hears CancelledError."""
    async with housed() as house:
        exchange = house.begin(websocket_scope(ACTORS))
        await exchange.attach("alice")
        house.requests[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await house.requests[0]
        assert await house.host.runtime.devices("alice") == 0
        assert list(await house.host.runtime.failures()) == []


@on_asyncio
async def test_a_runtime_that_ends_first() -> None:
    """The end of the runtime ends the requests; those that come later hear that it is closed."""
    async with open_asyncio_host(Plan(options={}, place=None, apps={})) as host:
        house = House(host)
        exchange = house.begin(websocket_scope(ACTORS))
        await exchange.attach("alice")
    await house.requests[0]
    late = house.begin(websocket_scope(ACTORS))
    with pytest.raises(actors.RuntimeClosed):
        await house.requests[1]
    assert late.sent == []


@on_asyncio
async def test_a_port_of_its_own() -> None:
    """Beside the mount the runtime listens on a port, in its own thread."""
    async with housed(Place(host="127.0.0.1", port=0, prefix="/live")) as house:
        assert house.host.address is not None
        reader, writer = await asyncio.open_connection(*house.host.address)
        writer.write(b"GET /live/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()


@on_asyncio
async def test_an_application_of_the_other_loop() -> None:
    """An application in the runtime's loop is called from the server's, and waits for its messages there."""
    ended: list[bool] = []

    @asynccontextmanager
    async def open_app(runtime: actors.Runtime) -> AsyncIterator[ASGIApp]:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            assert trio.lowlevel.in_trio_task()
            body = (await receive())["body"]
            receipt = await runtime.thread("t1").emit("said", {"body": body.decode()})
            await send({"type": "http.response.body", "body": receipt.event_id.encode()})

        yield app
        ended.append(trio.lowlevel.in_trio_task())

    async with housed(apps={"/v1": open_app}) as house:
        exchange = Exchange(asyncio.Event)
        exchange.put({"type": "http.request", "body": b"x"})
        await exchange.receive()
        await house.host.apps["/v1"](http_scope("/v1/x"), exchange.receive, exchange.send)
        event_id = exchange.sent[0]["body"].decode()
        assert (await house.host.runtime.explain(event_id)).known
    assert ended == [True]
