"""A network that can be cut: a TCP proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio


class Proxy:
    """Passes bytes on between its port and a server, as long as it is told to."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        """Where the server is; may be changed, for the connections to come."""
        self.port = 0
        self.connections = 0
        """How many there were."""
        self.mute = trio.Event()
        """When set, the server's bytes get lost, and the connections stay."""
        self._links: set[trio.CancelScope] = set()
        self._whole = True

    @property
    def url(self) -> str:
        """The endpoint, through the proxy."""
        return f"http://127.0.0.1:{self.port}/ws"

    def cut(self) -> None:
        """End every connection, and take no new one until :meth:`mend`."""
        self._whole = False
        self.drop()

    def drop(self) -> None:
        """End every connection."""
        for link in list(self._links):
            link.cancel()

    def mend(self) -> None:
        """Take connections again."""
        self._whole = True
        self.mute = trio.Event()

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on a free port of loopback."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        await trio.serve_listeners(self._link, listeners, task_status=_Started(task_status))

    async def _link(self, near: trio.SocketStream) -> None:
        if not self._whole:
            await trio.aclose_forcefully(near)
            return
        self.connections += 1
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError), trio.CancelScope() as scope:
            self._links.add(scope)
            far = await trio.open_tcp_stream(*self.target)
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, near, far, None, scope)
                nursery.start_soon(self._pass, far, near, self.mute, scope)
        self._links.discard(scope)

    async def _pass(
        self, source: trio.SocketStream, sink: trio.SocketStream, mute: trio.Event | None, scope: trio.CancelScope
    ) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                if mute is None or not mute.is_set():
                    await sink.send_all(data)
        scope.cancel()


class _Started(trio.TaskStatus[object]):
    """Says that it has started, and nothing of what trio says then."""

    def __init__(self, status: trio.TaskStatus[None]) -> None:
        self._status = status

    def started(self, value: object = None) -> None:
        """The listeners listen."""
        self._status.started()


@asynccontextmanager
async def proxy(target: tuple[str, int]) -> AsyncIterator[Proxy]:
    """A proxy in front of a server while the body runs."""
    async with trio.open_nursery() as nursery:
        opened = Proxy(target)
        await nursery.start(opened.serve)
        yield opened
        nursery.cancel_scope.cancel()
