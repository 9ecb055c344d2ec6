"""An application with a runtime below ``/live``, as the tests' servers serve it; it says what it sees."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

import actors
import actors.web
from actors.asgi import Realtime

SEEN: list[tuple[str, str]] = []
"""Where the credentials stood that the application was asked about, and what they were."""


async def who(credentials: actors.Credentials) -> str | None:
    """Believe a token; find a user in the request where there is none."""
    SEEN.append((credentials.source, credentials.token))
    if credentials.source == "request":
        known = None if credentials.scope is None else credentials.scope.get("user")
        return known or credentials.cookie("session")
    if credentials.token == "raises":
        raise LookupError("the users are away")
    return None if credentials.token == "nobody" else credentials.token


async def assistant(run: Any, message: actors.Message) -> str:
    """Answer in so many steps, each of which takes its time."""
    for n in range(message.payload.get("steps", 3)):
        await run.emit("step", {"n": n})
        seconds = message.payload.get("seconds", 0)
        if trio.lowlevel.in_trio_task():
            await trio.sleep(seconds)
        else:
            await asyncio.sleep(seconds)
    return "done"


LIMITS = actors.Limits(
    connections_per_user=3,
    write_deadline_seconds=0.5,
    ping_seconds=0.5,
    pong_seconds=0.7,
    sweep_seconds=0.05,
    close_seconds=1.0,
    retained_events=20_000,
    retained_bytes=64 * 1024 * 1024,
)

realtime = Realtime(
    authenticate=who,
    from_request=True,
    authorize=actors.claim_new,
    on_message=assistant,
    limits=LIMITS,
    pages=actors.web.pages(),
    drain_seconds=float(os.environ.get("DRAIN_SECONDS", "5")),
    port=0,
)


async def look(function: Callable[[actors.Runtime], Any]) -> Any:
    """Look at the runtime, in its loop."""
    runtime = realtime.runtime
    if isinstance(runtime, actors.Runtime):
        return function(runtime)
    return await runtime.bridge.ask(function, runtime.runtime)


async def state(request: Request) -> JSONResponse:
    """Say how the runtime is."""

    def find(runtime: actors.Runtime) -> dict[str, Any]:
        server = runtime.tree.server
        return {
            "connections": len(server.connections),
            "held": server.held,
            "sockets": server.sockets,
            "failures": [str(failure) for failure in runtime.failures],
            "balanced": runtime.audit().balanced,
        }

    return JSONResponse({"address": realtime.address, "seen": SEEN, **await look(find)})


async def emit(request: Request) -> JSONResponse:
    """Emit events for a user; says their ids."""
    query = request.query_params
    user_id, size = query["user"], int(query.get("size", "0"))
    thread = realtime.runtime.thread(f"thread-of-{user_id}")
    numbers = range(int(query.get("count", "1")))
    receipts = [await thread.emit("tick", {"n": n, "x": "x" * size}, user_id=user_id) for n in numbers]
    return JSONResponse([receipt.event_id for receipt in receipts])


async def explain(request: Request) -> JSONResponse:
    """Say where an event is."""
    return JSONResponse(await look(lambda runtime: str(runtime.explain(request.query_params["event"]))))


async def revoke(request: Request) -> JSONResponse:
    """End a user's connections."""
    return JSONResponse(await look(lambda runtime: runtime.revoke(request.query_params["user"])))


async def drain(request: Request) -> JSONResponse:
    """Drain before the server is told to stop, as a ``preStop`` hook does."""
    return JSONResponse(str(await realtime.drain()))


async def mine(websocket: WebSocket) -> None:
    """Serve a user that this endpoint knows."""
    await realtime.serve(websocket, user_id=websocket.query_params["user"])


async def accepted(websocket: WebSocket) -> None:
    """Accept too early: a mistake."""
    await websocket.accept()
    await realtime.serve(websocket, user_id="alice")


class Users:
    """A middleware that knows users by a header."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            user = dict(scope["headers"]).get(b"x-user")
            scope = {**scope, "user": None if user is None else user.decode()}
        await self._inner(scope, receive, send)


app = Users(
    Starlette(
        lifespan=realtime.lifespan,
        routes=[
            Mount("/live", realtime),
            Route("/state", state),
            Route("/emit", emit, methods=["POST"]),
            Route("/explain", explain),
            Route("/revoke", revoke, methods=["POST"]),
            Route("/drain", drain, methods=["POST"]),
            WebSocketRoute("/mine", mine),
            WebSocketRoute("/accepted", accepted),
        ],
    )
)
