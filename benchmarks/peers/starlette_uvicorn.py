"""The peer Starlette on uvicorn: a WebSocket route, and the documented ``await websocket.send_text`` to each device."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks import process
from benchmarks.peers.asyncio_feed import Users
from benchmarks.peers.events import Numbering, encode
from benchmarks.peers.uvicorn_server import serve
from benchmarks.schedule import Due, Schedule


def run(schedule: Schedule) -> None:
    """Serve, and feed from the parent's START on."""
    users = Users[WebSocket]()
    numbering = Numbering()

    async def connected(websocket: WebSocket) -> None:
        path = websocket.url.path
        await websocket.accept()
        users.add(path, websocket)
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            users.remove(path, websocket)

    def sender() -> Callable[[Due], Awaitable[None]]:
        connections = users.by_number(schedule)

        async def send(due: Due) -> None:
            text = encode(numbering.event(due)).decode()
            for websocket in connections[due.user]:
                await websocket.send_text(text)

        return send

    serve(Starlette(routes=[WebSocketRoute("/{user}", connected)]), schedule, sender)


if __name__ == "__main__":
    run(process.begin(process.parser(__doc__).parse_args()))
