"""The runtime as an ASGI application: mounted, or called from an endpoint of the host's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import trio

from actors.asgi.asyncio_host import open_asyncio_host
from actors.asgi.courier import Receive, Send
from actors.asgi.host import Host, OpenApp, Place, Plan
from actors.asgi.signals import drain_first, wait_for_signal
from actors.asgi.translation import Scope, path_of, refusal
from actors.asgi.trio_host import open_trio_host
from actors.environment import check_seconds
from actors.errors import RuntimeClosed
from actors.events.event import check_identifier
from actors.kernel.failures import describe
from actors.server.drain import DrainReport, RunsPolicy

_DRAIN_SECONDS = 10.0
"""As many as a process supervisor gives before it kills, with room: systemd 90, Kubernetes 30, Docker 10."""


class WebSocket(Protocol):
    """A WebSocket that a framework has brought to an endpoint, as those of Starlette and FastAPI: nothing is answered
    yet."""

    scope: Any

    async def receive(self) -> Any:
        """Return the next message of the ASGI server."""

    async def send(self, message: Any) -> None:
        """Send a message to the ASGI server."""


class Realtime:
    """A runtime below a path of an ASGI application.

    ``options`` are those of :func:`actors.open_runtime`; its functions are
    written for the loop of the ASGI server, Trio or asyncio. ``port``, with
    ``host`` and ``prefix``, is a port of the runtime's own besides. ``apps`` are opened beside
    the runtime, in its loop, and asked below their paths, which they see:
    ``{"/v1": actors.http.open_api}``. Where the
    server can be reached from other machines, ``authenticate`` is needed, as it
    is on the own port.
    """

    def __init__(
        self,
        *,
        drain_seconds: float = _DRAIN_SECONDS,
        host: str = "127.0.0.1",
        port: int | None = None,
        prefix: str = "",
        apps: Mapping[str, OpenApp] | None = None,
        **options: Any,
    ) -> None:
        check_seconds("drain_seconds", drain_seconds)
        self.drain_seconds = drain_seconds
        """The time in which the runtime goes away."""
        place = None if port is None else Place(host=host, port=port, prefix=prefix)
        self._plan = Plan(options=options, place=place, apps={} if apps is None else apps)
        self._host: Host | None = None
        self._drained = False

    def __repr__(self) -> str:
        return f"<Realtime {'not open' if self._host is None else repr(self._host.runtime)}>"

    # --- the runtime ------------------------------------------------------------

    @property
    def runtime(self) -> Any:
        """The open runtime: an ``actors.Runtime`` on Trio, an ``actors.aio.Runtime`` on asyncio.

        Raises RuntimeError outside of the lifespan.
        """
        return self._open().runtime

    @property
    def address(self) -> tuple[str, int] | None:
        """The host and the port of the runtime's own, where it has one."""
        return self._open().address

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Open the runtime around the life of an application: ``FastAPI(lifespan=realtime.lifespan)``.

        Only the outermost application's lifespan is run by ASGI servers: an
        application that has one of its own enters this in it. On the way out
        what is left to deliver is, within ``drain_seconds``.
        """
        if self._host is not None:
            raise RuntimeError("expected one lifespan at a time, this one has begun")
        opened: Callable[[Plan], AbstractAsyncContextManager[Host]]
        opened = open_trio_host if trio.lowlevel.in_trio_task() else open_asyncio_host
        async with opened(self._plan) as host:
            self._host = host
            try:
                if trio.lowlevel.in_trio_task():
                    yield
                else:
                    with drain_first(self.drain):
                        yield
                await self.drain()
            finally:
                self._host, self._drained = None, False

    async def drain(self, deadline_seconds: float | None = None, *, runs: RunsPolicy = "finish") -> DrainReport | None:
        """Go away in good order, as ``Runtime.drain`` does: for a hook that runs before the server is stopped.

        Within ``drain_seconds``, if no other time is given. ``None`` if that
        has begun before, or nothing is open.
        """
        if self._host is None or self._drained:
            return None
        self._drained = True
        return await self._host.drain(self.drain_seconds if deadline_seconds is None else deadline_seconds, runs)

    async def drained(self) -> None:
        """Wait for SIGTERM or SIGINT, then drain: the ``shutdown_trigger`` of Hypercorn and anycorn, run from code."""
        await wait_for_signal()
        await self.drain()

    # --- ASGI -------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve an ASGI connection: a request, a WebSocket, or the lifespan of an application that is nothing else."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = path_of(scope)
        for prefix, app in self._open().apps.items():
            if path.startswith(f"{prefix}/") or path == prefix:
                await app(scope, receive, send)
                return
        await self._serve(scope, receive, send, path, None)

    async def serve(self, websocket: WebSocket, *, user_id: str | None = None) -> None:
        """Serve a WebSocket of an endpoint of the host's own, to its end, for a user that the host knows.

        The endpoint must not have accepted it: who it is, where its page comes
        from and what it speaks is answered here. Raises
        :class:`~actors.errors.Unencodable` for what can be no user, and
        RuntimeError for a WebSocket of Starlette's that was accepted.
        """
        if user_id is not None:
            check_identifier("user_id", user_id)
        state = getattr(websocket, "application_state", None)
        if state is not None and state.name != "CONNECTING":
            text = "expected a WebSocket that the endpoint has neither accepted nor closed, because the runtime answers"
            raise RuntimeError(text)
        await self._serve(websocket.scope, websocket.receive, websocket.send, "/ws", user_id)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, path: str, user_id: str | None) -> None:
        try:
            await self._open().serve(scope, receive, send, path=path, user_id=user_id)
        except RuntimeClosed:
            await _say(refusal(scope, 503, "expected a server that stays, this one is shutting down"), send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Live the lifespan of an application that is nothing else."""
        await receive()
        begun = False
        try:
            async with self.lifespan():
                begun = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except BaseException as error:
            await send({"type": f"lifespan.{'shutdown' if begun else 'startup'}.failed", "message": describe(error)})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    def _open(self) -> Host:
        if self._host is None:
            text = "expected an application whose lifespan has begun: FastAPI(lifespan=realtime.lifespan)"
            raise RuntimeError(f"{text}, or async with realtime.lifespan(app) in its own")
        return self._host


async def _say(messages: list[dict[str, Any]], send: Send) -> None:
    for message in messages:
        await send(message)
