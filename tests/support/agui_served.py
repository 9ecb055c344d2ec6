"""The endpoint of AG-UI on a real ASGI server, in the test's own loop, while a test runs."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio
from anycorn import Config, serve

import actors
from actors.agui import open_endpoint
from actors.asgi import Realtime

PATIENCE_SECONDS = 60.0
"""No test waits longer for anything: a safety net against hangs, not a measurement."""


@attrs.frozen
class AguiServed:
    """A runtime below ``/``, and the endpoint at ``/agui``."""

    realtime: Realtime
    port: int

    @property
    def runtime(self) -> actors.Runtime:
        """The runtime."""
        runtime: actors.Runtime = self.realtime.runtime
        return runtime

    @property
    def url(self) -> str:
        """The address of the endpoint."""
        return f"http://127.0.0.1:{self.port}/agui"


@asynccontextmanager
async def agui_served(**options: Any) -> AsyncIterator[AguiServed]:
    """Serve a runtime that is opened with ``options``."""
    realtime = Realtime(
        apps={"/agui": open_endpoint}, **{"authorize": actors.claim_new, "drain_seconds": 0.3, **options}
    )
    config, stopping = Config(), trio.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    with trio.fail_after(PATIENCE_SECONDS):
        config.bind = [f"fd://{listener.detach()}"]
        config.errorlog = config.accesslog = None
        config.graceful_timeout = 0.1
        async with trio.open_nursery() as nursery:
            run = partial(serve, realtime, config, shutdown_trigger=stopping.wait)  # type: ignore[arg-type]
            nursery.start_soon(run)
            while realtime._host is None:  # noqa: ASYNC110 - the lifespan of a real server is waited for
                await trio.sleep(0.01)
            yield AguiServed(realtime, port)
            stopping.set()
            nursery.cancel_scope.deadline = trio.current_time() + 3.0
