"""The server of a command: it prints its address, or the reason why it cannot listen, in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from actors.connections.actor import Connection
from actors.errors import StoreError
from actors.runtime import Runtime, open_runtime
from actors.server.authentication import Authenticate, trust
from actors.stores.sqlite.store import SQLiteStore
from actors.tools.terminal import CannotStart, StreamFailed, complain


@asynccontextmanager
async def listening(
    host: str, port: int, authenticate: Authenticate = trust, *, path: Path | None = None, **options: Any
) -> AsyncIterator[tuple[Runtime, str, trio.Nursery]]:
    """Open a runtime with ``options`` and serve it; yield it, its URL, and a nursery that ends with the body.

    The URL is written to standard error as well. ``path`` is the file of its store, ``None`` for one in memory.

    Raises, not in a group, :class:`~actors.tools.terminal.CannotStart` when the store cannot be opened and when the
    address cannot be bound or is not allowed, and :class:`~actors.tools.terminal.StreamFailed` when the URL cannot
    be written.
    """
    refusal: CannotStart | StreamFailed | None = None
    async with _opened(path, authenticate=authenticate, **options) as runtime, trio.open_nursery() as nursery:
        try:
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


def connections(runtime: Runtime) -> tuple[Connection, ...]:
    """Return every open connection, including those before their hello."""
    return tuple(runtime.tree.server.connections.values())


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
