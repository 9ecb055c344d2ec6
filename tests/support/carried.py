"""A socket of which another server of the program is said to carry the messages."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from actors.wire.endpoint import SocketEndpoint
from tests.support.raw import Peer
from tests.support.served import Served


@attrs.define
class Held:
    """A carrier that lets go of its sockets when a test says so."""

    name: str = "a carrier"
    released: trio.Event = attrs.field(factory=trio.Event)

    async def wait_released(self) -> None:
        await self.released.wait()


class Carried(SocketEndpoint):
    """A socket with a carrier."""

    def __init__(self, sock: socket.socket, carrier: Held) -> None:
        super().__init__(sock)
        self._carrier = carrier

    @property
    def carrier(self) -> Held:  # type: ignore[override] # one of a socket has none
        return self._carrier


@asynccontextmanager
async def carried(server: Served, carrier: Held, **options: Any) -> AsyncIterator[Peer]:
    """A peer whose socket the host hands over, and carries; ``options`` are those of ``handle``."""
    ours, theirs = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))

    async def handle() -> None:
        await server.runtime.handle(Carried(ours, carrier), **options)

    async with stream:
        server.nursery.start_soon(handle)
        yield Peer(stream)
