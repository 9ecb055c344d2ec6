"""The peer picows on uvloop: a WebSocket in C, of which its own page says that it is the fastest for asyncio.

A listener for each connection, ``transport.send`` at once, nothing retained, as in the server of its README.
"""

from __future__ import annotations

from collections.abc import Callable

import uvloop
from picows import WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from benchmarks import process
from benchmarks.peers.asyncio_feed import Users, play
from benchmarks.peers.events import Numbering, encode
from benchmarks.schedule import Due, Schedule


class Device(WSListener):  # type: ignore[misc]  # its types are not read, because it is not installed everywhere
    """One connection, which is among its user's while it is open."""

    def __init__(self, users: Users[WSTransport], path: str) -> None:
        super().__init__()
        self._users = users
        self._path = path

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin."""
        self._users.add(self._path, transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """End."""
        self._users.remove(self._path, transport)


async def run(schedule: Schedule) -> None:
    """Serve, and feed from the parent's START on."""
    users = Users[WSTransport]()
    numbering = Numbering()

    def accept(request: WSUpgradeRequest) -> Device:
        return Device(users, request.path.decode())

    def sender() -> Callable[[Due], None]:
        connections = users.by_number(schedule)

        def send(due: Due) -> None:
            text = encode(numbering.event(due))
            for transport in connections[due.user]:
                transport.send(WSMsgType.TEXT, text)

        return send

    server = await ws_create_server(accept, "127.0.0.1", 0, backlog=4096)
    await play(schedule, server.sockets[0].getsockname()[1], sender)
    server.close()


if __name__ == "__main__":
    uvloop.run(run(process.begin(process.parser(__doc__).parse_args())))
