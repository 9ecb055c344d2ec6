"""The courier: what it carries, what it drops, and how a server that fails ends a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.asgi.courier import Courier
from actors.asgi.translation import bytes_of, close_of
from actors.delivery.frames import text_frame
from actors.errors import RuntimeClosed
from actors.wire.control_frames import close_frame
from actors.wire.http import response
from tests.asgi.test_translation import SWITCH
from tests.support.asgi import Exchange, answer_of, http_scope, websocket_scope
from tests.support.raw import ACTORS


@attrs.define
class Far:
    """A tunnel that says what it is told."""

    told: list[Any] = attrs.field(factory=list)

    async def feed(self, data: bytes) -> None:
        self.told.append(data)

    def stop(self) -> None:
        self.told.append("stop")

    def took(self, size: int) -> None:
        self.told.append(size)

    def snap(self) -> None:
        self.told.append("snap")


def courier_of(exchange: Exchange, scope: dict[str, Any] | None = None) -> Courier:
    scope = websocket_scope(ACTORS) if scope is None else scope
    return Courier(scope, receive=exchange.receive, send=exchange.send, make_bell=trio.Event)


def types(exchange: Exchange) -> list[str]:
    return [message["type"].removeprefix("websocket.") for message in exchange.sent]


async def test_carried_out() -> None:
    """What the runtime writes is sent as it comes, up to the end; each bag is said to be taken once it is."""
    exchange, far = Exchange(trio.Event), Far()
    courier = courier_of(exchange)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(courier.carry_out, far)
        courier.deliver(SWITCH)
        await wait_all_tasks_blocked()
        courier.deliver(text_frame(b"a")[:1])
        courier.deliver(text_frame(b"a")[1:] + text_frame(b"b"))
        courier.end(False)
    assert types(exchange) == ["accept", "send", "send"]
    assert far.told == [len(SWITCH), 1, 5]
    courier.settle()


async def test_a_close_is_the_servers() -> None:
    """Once a Close is handed over the server sees to the rest: the runtime is told that it was answered."""
    exchange, far = Exchange(trio.Event), Far()
    courier = courier_of(exchange)
    courier.deliver(SWITCH + close_frame(1012, "bye"))
    courier.end(False)
    await courier.carry_out(far)
    assert types(exchange) == ["accept", "close"]
    assert far.told == [close_of(1012, ""), "stop", len(SWITCH) + 7]
    assert courier.lingers


async def test_aborted() -> None:
    """What was not sent is dropped; a send that is under way is waited for, because it is the server's."""
    exchange, far = Exchange(trio.Event), Far()
    courier = courier_of(exchange)
    exchange.holds = trio.Event()
    courier.deliver(SWITCH + text_frame(b"a"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(courier.carry_out, far)
        await wait_all_tasks_blocked()
        courier.end(True)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        exchange.holds.set()
    assert types(exchange) == ["accept"]
    assert not courier.lingers
    await courier.cut()
    assert exchange.sent[-1] == {"type": "websocket.close", "code": 1011, "reason": "given up"}


async def test_carried_in() -> None:
    """What the client says is brought one by one, up to its end."""
    exchange, far = Exchange(trio.Event), Far()
    exchange.say({"a": 1})
    exchange.leave(4000)
    exchange.say({"after": "the end"})
    await courier_of(exchange).carry_in(far)
    said = bytes_of({"type": "websocket.receive", "text": '{"a": 1}'})
    assert far.told == [said, close_of(4000, ""), "stop"]


async def test_a_request_has_no_way_in() -> None:
    """No answer depends on a body: none is read."""
    exchange, far = Exchange(trio.Event), Far()
    courier = courier_of(exchange, http_scope("/x"))
    await courier.carry_in(far)
    courier.deliver(response(200, "yes"))
    courier.end(False)
    await courier.carry_out(far)
    assert answer_of(exchange) == (200, "yes\n")
    assert far.told == [len(response(200, "yes"))]


async def test_a_server_that_raises() -> None:
    """A server that takes nothing more has lost its client, whatever it raises: the tunnel breaks, and that is all."""
    exchange, far = Exchange(trio.Event), Far()
    exchange.fails_at = "websocket.send"
    courier = courier_of(exchange)
    courier.deliver(SWITCH + text_frame(b"a"))
    await courier.carry_out(far)
    assert far.told == ["snap"]
    courier.settle()
    courier.settle(RuntimeClosed("its client has heard from it"))


async def test_a_server_that_does_not_give() -> None:
    """So it is for what the client says."""
    exchange, far = Exchange(trio.Event), Far()

    async def receive() -> dict[str, Any]:
        raise OSError("the client has gone")

    courier = Courier(websocket_scope(), receive=receive, send=exchange.send, make_bell=trio.Event)
    await courier.carry_in(far)
    assert far.told == ["snap"]


async def test_a_client_that_is_gone_before_it_is_answered() -> None:
    """So it is for an upgrade that the server no longer takes; what the runtime raised then is the caller's."""
    exchange, far = Exchange(trio.Event), Far()
    exchange.fails_at = "websocket.accept"
    courier = courier_of(exchange)
    courier.deliver(SWITCH)
    await courier.carry_out(far)
    assert far.told == ["snap"]
    courier.settle()
    with pytest.raises(RuntimeClosed):
        courier.settle(RuntimeClosed("nothing was said"))


def test_cancelled_on_asyncio() -> None:
    """A cancellation by the host is none of the server's errors, and passes."""

    async def main() -> None:
        exchange, far = Exchange(asyncio.Event), Far()
        courier = Courier(websocket_scope(), receive=exchange.receive, send=exchange.send, make_bell=asyncio.Event)
        exchange.sent.clear()
        tasks = [asyncio.create_task(courier.carry_in(far)), asyncio.create_task(courier.carry_out(far))]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 2

    asyncio.run(main())
