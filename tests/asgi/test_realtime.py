"""The runtime as an application: its lifespan, its paths, and whom it lets in without being told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import actors
from actors import aio
from actors.asgi import Realtime
from actors.asgi.courier import Receive, Send
from actors.asgi.host import ASGIApp
from tests.asgi.test_asyncio_host import on_asyncio
from tests.support.asgi import Exchange, Scope, answer_of, http_scope, websocket_scope
from tests.support.raw import ACTORS


async def who(credentials: actors.Credentials) -> str | None:
    return credentials.token


async def asked(realtime: Realtime, scope: Scope) -> tuple[int, str]:
    """The answer to a request."""
    exchange = Exchange(trio.Event)
    await realtime(scope, exchange.receive, exchange.send)
    return answer_of(exchange)


# --- the lifespan -------------------------------------------------------------------


async def test_a_lifespan() -> None:
    """Within it there is a runtime, and without it there is none, which is said in words; it can be lived again."""
    realtime = Realtime()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"lifespan=realtime\.lifespan"):
            _ = realtime.runtime
        with pytest.raises(RuntimeError, match="whose lifespan has begun"):
            await asked(realtime, http_scope("/healthz"))
        async with realtime.lifespan():
            assert isinstance(realtime.runtime, actors.Runtime)
            assert realtime.address is None
            assert await asked(realtime, http_scope("/healthz")) == (200, "ok\n")
            with pytest.raises(RuntimeError, match="one lifespan at a time"):
                async with realtime.lifespan():
                    pass


@on_asyncio
async def test_a_lifespan_on_asyncio() -> None:
    """On asyncio it is the runtime of that loop."""
    realtime = Realtime(port=0)
    async with realtime.lifespan():
        assert isinstance(realtime.runtime, aio.Runtime)
        assert realtime.address is not None


async def test_the_lifespan_protocol() -> None:
    """An application that is nothing else lives by the messages of the server."""
    realtime, exchange = Realtime(), Exchange(trio.Event)
    await exchange.receive()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(realtime, {"type": "lifespan"}, exchange.receive, exchange.send)
        exchange.put({"type": "lifespan.startup"})
        await exchange.sent_type("lifespan.startup.complete")
        assert realtime.runtime.devices("alice") == 0
        exchange.put({"type": "lifespan.shutdown"})
        await exchange.sent_type("lifespan.shutdown.complete")


async def test_a_lifespan_that_cannot_begin() -> None:
    """What is wrong with the options is told to the server, and raised."""
    exchange = Exchange(trio.Event)
    with pytest.raises(ValueError, match="concurrency"):
        await Realtime(concurrency="often")({"type": "lifespan"}, exchange.receive, exchange.send)
    assert exchange.sent[0]["type"] == "lifespan.startup.failed"
    assert "concurrency: expected one of" in exchange.sent[0]["message"]


async def test_what_a_lifespan_leaves_is_delivered(autojump_clock: trio.testing.MockClock) -> None:
    """On the way out runs finish, within the time of the drain."""
    ended: list[str] = []

    async def assistant(run: actors.Run, message: actors.Message) -> None:
        await trio.sleep(1)
        ended.append("run")

    realtime = Realtime(on_message=assistant, authorize=actors.claim_new, drain_seconds=5)
    async with realtime.lifespan():
        await realtime.runtime.thread("t1").send({}, user_id="alice", authorize=True)
        await wait_all_tasks_blocked()
    assert ended == ["run"]


async def test_drained_once() -> None:
    """A second drain, as of a hook and of the lifespan's end, has nothing to do; so has one without a runtime."""
    realtime = Realtime()
    assert await realtime.drain() is None
    async with realtime.lifespan():
        assert str(await realtime.drain(1)).startswith("drained: 0 events")
        assert await realtime.drain() is None
        assert await asked(realtime, websocket_scope()) == (
            503,
            "expected a server that stays, this one is shutting down\n",
        )
        assert (await asked(realtime, http_scope("/healthz")))[0] == 503
        assert realtime.runtime.statistics().handshakes_refused == {(503, "draining"): 1}


@pytest.mark.parametrize("seconds", [-1, float("nan"), "10"])
def test_a_time_that_is_none(seconds: Any) -> None:
    """What is no time to drain in is refused at once."""
    with pytest.raises((ValueError, TypeError), match="drain_seconds"):
        Realtime(drain_seconds=seconds)


# --- paths ----------------------------------------------------------------------------


async def test_below_a_mount() -> None:
    """What a framework mounts is told the whole path, and finds its own part of it."""
    async with (realtime := Realtime()).lifespan():
        mounted = http_scope("/live/healthz", root_path="/live")
        assert await asked(realtime, mounted) == (200, "ok\n")
        status, text = await asked(realtime, http_scope("/live/ws", root_path="/live"))
        assert (status, "WebSocket upgrade" in text) == (426, True)
        assert (await asked(realtime, http_scope("/live", root_path="/live")))[0] == 404


async def test_applications_beside_it() -> None:
    """An application is opened with the runtime, asked below its own path, and closed before it."""
    happened: list[Any] = []

    @asynccontextmanager
    async def open_app(runtime: actors.Runtime) -> AsyncIterator[ASGIApp]:
        async def app(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
            happened.append((scope["root_path"], scope["path"]))

        yield app
        happened.append(repr(runtime))

    realtime = Realtime(apps={"/v1": open_app})
    exchange = Exchange(trio.Event)
    async with realtime.lifespan():
        for path in ("/live/v1/events", "/live/v1"):
            await realtime(http_scope(path, root_path="/live"), exchange.receive, exchange.send)
        assert (await asked(realtime, http_scope("/live/v1x", root_path="/live")))[0] == 404
    assert happened[:2] == [("/live", "/live/v1/events"), ("/live", "/live/v1")]
    assert "closed" not in happened[2]


# --- who it is ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "is_let_in"),
    [
        (("127.0.0.1", 8000), True),
        (("::1", 8000), True),
        (("192.168.0.7", 8000), False),
        (("/run/app.sock", None), False),
        (None, False),
    ],
)
async def test_without_authenticate(server: tuple[str, int | None] | None, *, is_let_in: bool) -> None:
    """While tokens are not checked only this machine may connect, as on the own port: others are refused in words."""
    async with (realtime := Realtime()).lifespan():
        scope = websocket_scope(ACTORS, server=server)
        if is_let_in:
            exchange = Exchange(trio.Event)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(realtime, scope, exchange.receive, exchange.send)
                await exchange.attach("alice")
                nursery.cancel_scope.cancel()
        else:
            status, text = await asked(realtime, scope)
            assert (status, "pass authenticate" in text) == (403, True)
            assert realtime.runtime.statistics().handshakes_refused == {(403, "not_loopback"): 1}
        assert (await asked(realtime, http_scope("/healthz", server=server)))[0] == 200


class Endpoint:
    """A WebSocket as frameworks hand it to an endpoint."""

    def __init__(self, exchange: Exchange, **fields: Any) -> None:
        self.scope = websocket_scope(ACTORS, path="/mine", **fields)
        self.receive = exchange.receive
        self.send = exchange.send


async def test_a_user_that_the_host_knows() -> None:
    """Where the host knows the user no token is asked for, wherever the server listens; and what can be none is an
    error of the call."""
    exchange = Exchange(trio.Event)
    async with (realtime := Realtime()).lifespan():
        with pytest.raises(actors.Unencodable, match="user_id"):
            await realtime.serve(Endpoint(exchange), user_id="")
        async with trio.open_nursery() as nursery:
            endpoint = Endpoint(exchange, server=("192.168.0.7", 80))
            nursery.start_soon(lambda: realtime.serve(endpoint, user_id="alice"))
            await exchange.attach("mallory")
            assert realtime.runtime.devices("alice") == 1
            nursery.cancel_scope.cancel()


async def test_an_endpoint_without_a_user() -> None:
    """An endpoint may leave it to the runtime to find out who it is."""
    exchange = Exchange(trio.Event)
    async with (realtime := Realtime(authenticate=who)).lifespan(), trio.open_nursery() as nursery:
        nursery.start_soon(realtime.serve, Endpoint(exchange))
        await exchange.attach("alice")
        assert realtime.runtime.devices("alice") == 1
        nursery.cancel_scope.cancel()


@on_asyncio
async def test_drained_by_a_trigger() -> None:
    """Cancelled, as by a server that ends for another reason, the trigger drains nothing."""
    realtime = Realtime()
    async with realtime.lifespan():
        waiting = asyncio.create_task(realtime.drained())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await realtime.drain(1)) is not None
