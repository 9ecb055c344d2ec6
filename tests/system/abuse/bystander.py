"""A bystander: a device that is sent events all the while, gets each of them, and must not notice anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

import actors
from tests.support.raw import Peer
from tests.support.served import Served

LIMITS = actors.Limits(
    request_head_seconds=3.0,
    close_seconds=0.7,
    connections_per_user=200,
    sessions_per_user=400,
    inbound_bytes=24 * 1024,
)
"""For many hostile peers at once, all of one user.

Three seconds for a request: a peer that says nothing is soon sent away, and a hundred that upgrade at once, on a
busy machine, are not.
"""


@asynccontextmanager
async def bystander(server: Served) -> AsyncIterator[None]:
    """Emit events to a device while the body runs; each arrives, in its place, and is acked."""
    over = False

    async def watch() -> None:
        number = 0
        async with server.peer() as peer:
            await peer.attach("alice")
            attached.set()
            while not over:
                number += 1
                await _deliver_one(server, peer, number)
            await peer.leave()

    attached = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await attached.wait()
        yield
        over = True


async def _deliver_one(server: Served, peer: Peer, number: int) -> None:
    (receipt,) = await server.emit(1)
    event = await peer.next_event()
    assert (event["offset"], event["seq"]) == (number, number)
    await peer.ack(number)
    await receipt.reached(actors.Stage.ACKED)


async def besiege(server: Served, contact: Callable[[Peer], Awaitable[None]], times: int) -> None:
    """So many hostile contacts, all at once."""

    async def once() -> None:
        async with server.peer() as peer:
            await contact(peer)

    async with trio.open_nursery() as nursery:
        for _ in range(times):
            nursery.start_soon(once)


async def unharmed(server: Served) -> None:
    """Check that nothing is left behind: no connection, no socket, no failure, no device."""
    await server.all_gone()
    while server.runtime.tree.server.sockets:
        await trio.lowlevel.checkpoint()
    assert server.failures() == []
    assert server.runtime.devices("mallory") == server.runtime.devices("alice") == 0
    assert server.runtime.audit().balanced
