"""The server of the API: anycorn in the runtime's own Trio loop, on a port that is not for the public."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from anycorn import Config
from anycorn import serve as serve_asgi
from starlette.types import ASGIApp

from actors.http.calls import Bounds
from actors.server.origins import is_loopback
from actors.wire.listeners import listen_tcp

_BACKLOG = 128
_BUFFER_BYTES = 256 << 10
"""The kernel's buffer of one socket, so that a client that reads nothing is found before 4 MB of answers are in it."""
_KEEPALIVE_SECONDS = 15


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
    listeners = await listen_tcp(host, port, _BACKLOG)
    address = listeners[0].getsockname()[:2]
    config = _config(listeners, Bounds() if bounds is None else bounds)

    started: Any = _Started(task_status, address)
    await serve_asgi(cast("Any", app), config, shutdown_trigger=until, task_status=started, mode="asgi")


class _Started:
    """Takes anycorn's word that it listens, and passes the address on."""

    def __init__(self, task_status: trio.TaskStatus[tuple[str, int]], address: tuple[str, int]) -> None:
        self._task_status = task_status
        self._address = address

    def started(self, _: object = None) -> None:
        self._task_status.started(self._address)


def _config(listeners: list[socket.socket], bounds: Bounds) -> Config:
    """Return a configuration for sockets that listen, which are anycorn's from now on."""
    for listener in listeners:
        _bound(listener, bounds.write_seconds)
    config = Config()
    config.bind = [f"fd://{listener.detach()}" for listener in listeners]
    config.errorlog = logging.getLogger("actors.http")
    config.loglevel = "WARNING"
    config.keep_alive_timeout = bounds.head_seconds
    config.include_server_header = False
    config.alpn_protocols = ["http/1.1"]
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
