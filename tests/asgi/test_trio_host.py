"""A runtime in the loop of a server on Trio, of which a test plays the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import actors
from actors.asgi.host import Place, Plan
from actors.asgi.trio_host import TrioHost, open_trio_host
from tests.support.asgi import Exchange, Scope, answer_of, http_scope, websocket_scope
from tests.support.raw import ACTORS, connected, upgrade_request

PATIENCE_SECONDS = 60.0


@attrs.define
class House:
    """A host, and a nursery for the requests of its server."""

    host: TrioHost
    nursery: trio.Nursery

    def begin(self, scope: Scope, path: str = "/ws", user_id: str | None = None) -> Exchange:
        """Begin a request."""
        exchange = Exchange(trio.Event)
        serve = partial(self.host.serve, path=path, user_id=user_id)
        self.nursery.start_soon(serve, scope, exchange.receive, exchange.send)
        return exchange


@asynccontextmanager
async def housed(place: Place | None = None, **options: Any) -> AsyncIterator[House]:
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_trio_host(Plan(options=options, place=place, apps={})) as host, trio.open_nursery() as nursery:
            yield House(host, nursery)
            nursery.cancel_scope.cancel()


async def test_a_device() -> None:
    """A device of the protocol connects, is sent events, acks them, and leaves; nothing of it stays."""
    async with housed() as house:
        exchange = house.begin(websocket_scope(ACTORS))
        await exchange.attach("alice")
        assert exchange.sent[0]["subprotocol"] == ACTORS
        receipt = await house.host.runtime.thread("t1").emit("tick", {}, user_id="alice")
        assert [event["event_id"] for event in await exchange.events(1)] == [receipt.event_id]
        exchange.say({"op": "ack", "offset": 1})
        await receipt.reached(actors.Stage.ACKED)
        exchange.leave()
        await wait_all_tasks_blocked()
        assert (len(house.nursery.child_tasks), house.host.runtime.devices("alice")) == (0, 0)


async def test_a_request() -> None:
    """Health is answered, and whatever else there is."""
    async with housed() as house:
        exchange = house.begin(http_scope("/healthz"), "/healthz")
        await wait_all_tasks_blocked()
        assert answer_of(exchange) == (200, "ok\n")


async def test_a_user_that_the_host_knows() -> None:
    """Its device says hello without a token."""
    async with housed() as house:
        exchange = house.begin(websocket_scope(ACTORS), user_id="alice")
        await exchange.attach(None)
        assert house.host.runtime.devices("alice") == 1


async def test_ended_by_the_runtime(autojump_clock: MockClock) -> None:
    """The runtime's Close ends the request although the client does not answer, after a moment."""
    async with open_trio_host(Plan(options={}, place=None, apps={})) as host:
        async with trio.open_nursery() as nursery:
            exchange = House(host, nursery).begin(websocket_scope(ACTORS))
            await exchange.attach("alice")
            host.runtime.revoke("alice")
            assert (await exchange.sent_type("websocket.close"))["code"] == 4504
            begin = trio.current_time()
        assert trio.current_time() - begin < 3


async def test_cancelled_by_the_server() -> None:
    """A server that cancels a request closes its connection as it stands; the runtime goes on."""
    async with open_trio_host(Plan(options={}, place=None, apps={})) as host:
        async with trio.open_nursery() as nursery:
            house = House(host, nursery)
            exchange = house.begin(websocket_scope(ACTORS))
            await exchange.attach("alice")
            nursery.cancel_scope.cancel()
        assert host.runtime.devices("alice") == 0
        assert "close" not in exchange.sent[-1]["type"]
        assert list(host.runtime.failures) == []


async def test_a_runtime_that_is_closed() -> None:
    """Once the runtime is closed nothing was said, and the caller hears it."""
    async with housed() as house:
        await house.host.drain(1.0, "finish")
        exchange = Exchange(trio.Event)
        with pytest.raises(actors.RuntimeClosed):
            await house.host.serve(websocket_scope(), exchange.receive, exchange.send, path="/ws", user_id=None)
        assert exchange.sent == []


async def test_a_port_of_its_own() -> None:
    """Beside the mount the runtime listens on a port."""
    async with housed(Place(host="127.0.0.1", port=0, prefix="/live")) as house:
        assert house.host.address is not None
        async with connected(house.host.address) as peer:
            assert (await peer.ask(upgrade_request(ACTORS, path="/live/ws"))).status == 101
            await peer.hello("alice")
            assert house.host.runtime.devices("alice") == 1


async def test_what_the_body_raises_comes_out_bare() -> None:
    """The application's own exception is not wrapped, with a port or without."""
    for place in (None, Place(host="127.0.0.1", port=0)):
        with pytest.raises(ZeroDivisionError):
            async with open_trio_host(Plan(options={}, place=place, apps={})):
                raise ZeroDivisionError
