"""An ASGI application on uvicorn, with what its page on settings has for speed: uvloop, httptools, and of the
WebSocket implementations the one without a task for each connection's protocol (``websockets-sansio``).

Access log, compression and pings are off, because the peers beside it write, compress and ping nothing either.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
import uvloop

from benchmarks.peers.asyncio_feed import play
from benchmarks.schedule import Due, Schedule


def serve(application: Any, schedule: Schedule, sender: Callable[[], Callable[[Due], Awaitable[None]]]) -> None:
    """Serve an application, and feed from the parent's START on."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        access_log=False,
        log_level="error",
        lifespan="off",
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        serving = asyncio.create_task(server.serve([listener]))
        await play(schedule, listener.getsockname()[1], sender)
        server.should_exit = server.force_exit = True
        await serving

    uvloop.run(run())
