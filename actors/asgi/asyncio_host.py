"""A runtime in a thread of its own, behind an ASGI server that runs on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import trio

from actors import aio
from actors.aio.bridge import Bridge
from actors.asgi.courier import LINGER_SECONDS, Courier, Receive, Send
from actors.asgi.host import ASGIApp, Plan
from actors.asgi.translation import ASGIMessage, Scope, head_of, peer_of
from actors.asgi.tunnel import Tunnel
from actors.errors import RuntimeClosed
from actors.server.drain import DrainReport, RunsPolicy


class _Far:
    """A tunnel in the runtime's loop, from this one."""

    def __init__(self, bridge: Bridge, tunnel: Tunnel) -> None:
        self._bridge = bridge
        self._tunnel = tunnel

    async def feed(self, data: bytes) -> None:
        """Bring bytes of the client, and wait until they were received."""
        with suppress(RuntimeClosed):
            await self._bridge.call(self._tunnel.feed, data)

    def stop(self) -> None:
        """Tell that the client sends nothing more."""
        with suppress(RuntimeClosed):
            self._bridge.soon(self._tunnel.stop)

    def took(self, size: int) -> None:
        """Tell that the ASGI server has taken so many bytes."""
        with suppress(RuntimeClosed):
            self._bridge.soon(self._tunnel.took, size)

    def snap(self) -> None:
        """Tell that the ASGI server takes nothing more."""
        with suppress(RuntimeClosed):
            self._bridge.soon(self._tunnel.snap)

    def release(self) -> None:
        """Tell that the courier is back."""
        with suppress(RuntimeClosed):
            self._bridge.soon(self._tunnel.release)


class AsyncioHost:
    """The ASGI server's tasks, and the runtime in its thread. See :class:`~actors.asgi.host.Host`."""

    def __init__(self, runtime: aio.Runtime) -> None:
        self.runtime = runtime
        self.address: tuple[str, int] | None = None
        self.apps: dict[str, ASGIApp] = {}
        self._bridge = runtime.bridge

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, path: str, user_id: str | None) -> None:
        """Serve one request to its end; see :class:`~actors.asgi.host.Host`."""
        courier = Courier(scope, receive=receive, send=send, make_bell=asyncio.Event)
        host = self._bridge.host
        tunnel = Tunnel(peer_of(scope), deliver=partial(host, courier.deliver), end=partial(host, courier.end))
        far = _Far(self._bridge, tunnel)
        raised: list[BaseException] = []

        async def handle() -> None:
            try:
                head = head_of(scope, path)
                await self._bridge.call(partial(self.runtime.runtime.handle, tunnel, head=head, user_id=user_id))
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError):
                    raise
                raised.append(error)  # and raised outside of the group, and so bare
            finally:
                courier.end(True)

        async with asyncio.TaskGroup() as group:
            coming = group.create_task(courier.carry_in(far))
            group.create_task(handle())
            try:
                await courier.carry_out(far)
                await courier.cut()
                if courier.lingers:
                    await asyncio.wait([coming], timeout=LINGER_SECONDS)
            finally:
                coming.cancel()
                far.release()
        courier.settle(*raised)

    async def drain(self, seconds: float, runs: RunsPolicy) -> DrainReport:
        """Drain the runtime."""
        return await self.runtime.drain(seconds, runs=runs)

    def carried(self, app: ASGIApp) -> ASGIApp:
        """Return an application of the runtime's loop as one of this loop."""

        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            visit = self._bridge.visit

            async def receive_here() -> ASGIMessage:
                return await visit(receive)

            async def send_here(message: ASGIMessage) -> None:
                await visit(send, message)

            await self._bridge.call(app, scope, receive_here, send_here)

        return call


@asynccontextmanager
async def open_asyncio_host(plan: Plan) -> AsyncIterator[AsyncioHost]:
    """Open a runtime in a thread of its own, and what is beside it."""
    async with aio.open_runtime(**plan.options) as runtime:
        host = AsyncioHost(runtime)
        bridge, inner = runtime.bridge, runtime.runtime
        leaving = trio.Event()

        async def hold(task_status: trio.TaskStatus[dict[str, ASGIApp]]) -> None:
            async with AsyncExitStack() as stack:
                opened = {path: await stack.enter_async_context(app(inner)) for path, app in plan.apps.items()}
                task_status.started(opened)
                await leaving.wait()

        async def begin() -> dict[str, ASGIApp]:
            opened: dict[str, ASGIApp] = await bridge.nursery.start(hold)
            return opened

        if plan.apps:
            host.apps = {path: host.carried(app) for path, app in (await bridge.call(begin)).items()}
        if plan.place is not None:
            host.address = await runtime.serve(plan.place.host, plan.place.port, prefix=plan.place.prefix)
        try:
            yield host
        finally:
            with suppress(RuntimeClosed):
                bridge.soon(leaving.set)
