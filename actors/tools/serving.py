"""The server of a command: it prints its address, or the reason why it cannot listen, in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from actors.connections.actor import Connection
from actors.control import serve as serve_control
from actors.errors import StoreError
from actors.runtime import Runtime, open_runtime
from actors.server.authentication import Authenticate, trust
from actors.stores.sqlite.store import SQLiteStore
from actors.tools.control_place import AUTO, NONE, ControlPlace
from actors.tools.terminal import CannotStart, StreamFailed, complain


@asynccontextmanager
async def listening(
    host: str,
    port: int,
    authenticate: Authenticate = trust,
    *,
    path: Path | None = None,
    control: ControlPlace = NONE,
    **options: Any,
) -> AsyncIterator[tuple[Runtime, str, trio.Nursery]]:
    """Open a runtime with ``options`` and serve it; yield it, its URL, and a nursery that ends with the body.

    The URL is written to standard error as well. ``path`` is the file of its store, ``None`` for one in memory;
    ``control`` is the place of its control socket.

    Raises, not in a group, :class:`~actors.tools.terminal.CannotStart` when the store cannot be opened and when the
    address cannot be bound or is not allowed, and :class:`~actors.tools.terminal.StreamFailed` when the URL cannot
    be written.
    """
    refusal: CannotStart | StreamFailed | None = None
    async with _opened(path, authenticate=authenticate, **options) as runtime, trio.open_nursery() as nursery:
        try:
            await _open_control(runtime, control, nursery)
            url = await _listen(runtime, host, port, nursery)
            complain(f"listening on {url}")
            yield runtime, url, nursery
        except (CannotStart, StreamFailed) as error:
            refusal = error
        nursery.cancel_scope.cancel()
    if refusal is not None:
        raise refusal


@asynccontextmanager
async def _opened(path: Path | None, **options: Any) -> AsyncIterator[Runtime]:
    """Open a runtime over a store; only what keeps it from opening is a CannotStart."""
    is_open = False
    try:
        async with open_runtime(store=None if path is None else SQLiteStore(path), **options) as runtime:
            is_open = True
            yield runtime
    except StoreError as error:
        if is_open:
            raise
        raise CannotStart(str(error)) from None


async def _listen(runtime: Runtime, host: str, port: int, nursery: trio.Nursery) -> str:
    """Serve in the background; returns the URL of the endpoint."""
    try:
        address = await nursery.start(runtime.serve, host, port)
    except OSError as error:
        raise CannotStart(f"cannot listen on {_joined(host, port)}: {error.strerror or error}") from None
    except UnicodeError as error:
        raise CannotStart(f"cannot listen on {_joined(host, port)}: expected a host name, {error}") from None
    except ValueError:
        text = "expected a loopback address, since tokens are not checked; 'actors serve --tokens FILE' checks them"
        raise CannotStart(f"cannot listen on {_joined(host, port)}: {text}") from None
    assert isinstance(address, tuple), "a TCP port has an address of two parts"
    return f"ws://{_joined(*address)}/ws"


async def _open_control(runtime: Runtime, place: ControlPlace, nursery: trio.Nursery) -> None:
    """Serve the control socket in the background. One that was asked for must open; without the other a server does its
    work, and says so."""
    if place == NONE:
        return
    try:
        await nursery.start(serve_control, runtime, None if place == AUTO else place)
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else error
        if place != AUTO:
            raise CannotStart(f"--control {place}: {text}") from None
        complain(f"actors: no control socket: {text}")


def connections(runtime: Runtime) -> tuple[Connection, ...]:
    """Return every open connection, including those before their hello."""
    return tuple(runtime.tree.server.connections.values())


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
