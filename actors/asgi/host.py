"""The host of a runtime under ASGI: what an application sees of it, on Trio as on asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import attrs

from actors.asgi.courier import Receive, Send
from actors.asgi.translation import Scope
from actors.runtime import Runtime
from actors.server.drain import DrainReport, RunsPolicy

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[object]]

OpenApp = Callable[[Runtime], AbstractAsyncContextManager[ASGIApp]]
"""A function that opens an application beside a runtime, in its loop, which is Trio's: ``actors.http.open_api``."""


@attrs.frozen(kw_only=True)
class Place:
    """A port of the runtime's own, beside the mount."""

    host: str
    port: int
    prefix: str = ""


@attrs.frozen(kw_only=True)
class Plan:
    """The parts that a host opens in the application's lifespan."""

    options: Mapping[str, Any]
    """Those of ``open_runtime``."""
    place: Place | None
    apps: Mapping[str, OpenApp]
    """Applications in the runtime's loop, by the path below which they are."""


class Host(Protocol):
    """An open runtime, and the loop in which the ASGI server calls."""

    runtime: Any
    """The runtime, as the host's code uses it: an ``actors.Runtime``, or an ``actors.aio.Runtime``."""
    address: tuple[str, int] | None
    """The port of the runtime's own."""
    apps: dict[str, ASGIApp]
    """The applications in the runtime's loop, for the host's."""

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, path: str, user_id: str | None) -> None:
        """Serve one request to its end. Raises RuntimeClosed, before anything was sent, once the runtime is closed."""

    async def drain(self, seconds: float, runs: RunsPolicy) -> DrainReport:
        """Drain the runtime."""
        ...
