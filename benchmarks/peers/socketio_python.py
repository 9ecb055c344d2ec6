"""The peer python-socketio on uvicorn: a room for each user, and the documented ``await sio.emit(..., to=room)``.

Its devices have the WebSocket transport alone, as its page on performance advises where all of them can.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import socketio

from benchmarks import process
from benchmarks.peers.events import Numbering
from benchmarks.peers.uvicorn_server import serve
from benchmarks.schedule import Due, Schedule


def run(schedule: Schedule) -> None:
    """Serve, and feed from the parent's START on."""
    sio = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])
    numbering = Numbering()

    async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str]) -> None:
        await sio.enter_room(sid, auth["user"])

    sio.on("connect", connect)

    def sender() -> Callable[[Due], Awaitable[None]]:
        async def send(due: Due) -> None:
            await sio.emit("event", msgspec.to_builtins(numbering.event(due)), to=f"user-{due.user}")

        return send

    serve(socketio.ASGIApp(sio), schedule, sender)


if __name__ == "__main__":
    run(process.begin(process.parser(__doc__).parse_args()))
