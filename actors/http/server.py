"""The server of the API: anycorn in the runtime's own Trio loop, on a port that is not for the public.

Trio accepts and anycorn serves what was accepted, because anycorn's own loop
ends with the first error of ``accept``: then a flood at the devices' door, which
takes the last descriptor of the process, would end this one, and the process.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import anyio.abc
import trio
from anycorn import Config
from anycorn.tcp_server import tcp_server_handler
from anycorn.typing import ConnectionState
from anycorn.utils import wrap_app
from anycorn.worker_context import WorkerContext
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.http.calls import PRIVATE, Bounds
from actors.kernel.failures import Barrier, describe, log
from actors.server.origins import is_loopback
from actors.wire.listeners import listen_tcp

_BACKLOG = 128
_BUFFER_BYTES = 256 << 10
"""The kernel's buffer of one socket, so that a client that reads nothing is found before 4 MB of answers are in it."""
_KEEPALIVE_SECONDS = 15
_GRACE_SECONDS = 3.0


async def serve(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    private: bool,
    bounds: Bounds | None = None,
    until: Callable[[], Awaitable[None]] = trio.sleep_forever,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an API until ``until`` returns, and then until its requests have ended, for three seconds at most.

    ``private`` says that keys are not checked, so that only loopback may be
    listened on. ``await nursery.start(serve, …)`` returns the bound address.
    Cancelled, it cuts its requests off. Raises ValueError for what is no
    address and for one that is not allowed, OSError for one that cannot be
    bound.
    """
    if private and not is_loopback(host):
        raise ValueError(f"expected a loopback address while keys are not checked, got {host!r}")
    bounds = Bounds() if bounds is None else bounds
    sockets = await listen_tcp(host, port, _BACKLOG)
    address = sockets[0].getsockname()[:2]
    for one in sockets:
        _bound(one, bounds.write_seconds)
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(one)) for one in sockets]
    config, context = _config(bounds), WorkerContext(None)

    async def marked(scope: Scope, receive: Receive, send: Send) -> None:
        scope[PRIVATE] = private
        await app(scope, receive, send)

    serve_stream = tcp_server_handler(wrap_app(cast("Any", marked), 0, "asgi"), config, context, ConnectionState({}))

    async def handle(stream: trio.SocketStream) -> None:
        with Barrier(_log_failure):
            await serve_stream(await anyio.abc.SocketStream.from_socket(stream.socket.detach()))

    async with config.log, trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(partial(trio.serve_listeners, handle, listeners, handler_nursery=connections))
            task_status.started(address)
            await until()
            accepting.cancel_scope.cancel()
        await context.terminated.set()
        connections.cancel_scope.deadline = trio.current_time() + _GRACE_SECONDS


def _log_failure(error: BaseException) -> None:
    log(logging.ERROR, "a connection of the API failed: %s", describe(error))


def _config(bounds: Bounds) -> Config:
    config = Config()
    config.errorlog = logging.getLogger("actors.http")
    config.loglevel = "WARNING"
    config.keep_alive_timeout = bounds.head_seconds
    config.include_server_header = False
    return config


def _bound(listener: socket.socket, write_seconds: float) -> None:
    """Bound what one client can hold: sockets that are accepted take these options from the one that listens.

    The kernel ends a connection of which the peer takes nothing for that long,
    because an ASGI server waits for it without end, also when it is told to
    stop. Where the kernel has no such option, that is how it is.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_USER_TIMEOUT", int(write_seconds * 1_000)),
        ("TCP_KEEPIDLE", _KEEPALIVE_SECONDS),
        ("TCP_KEEPINTVL", _KEEPALIVE_SECONDS // 3),
        ("TCP_KEEPCNT", 3),
    ):
        if (option := getattr(socket, name, None)) is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
