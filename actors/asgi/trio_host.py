"""A runtime in the loop of an ASGI server that runs on Trio."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from actors.asgi.courier import LINGER_SECONDS, Courier, Receive, Send
from actors.asgi.host import ASGIApp, Plan
from actors.asgi.translation import ASGIMessage, Scope, head_of, peer_of
from actors.asgi.tunnel import Tunnel
from actors.kernel.failures import cancels, open_interruptible_nursery
from actors.runtime import Runtime, open_runtime
from actors.server.drain import DrainReport, RunsPolicy


class TrioHost:
    """The ASGI server's tasks, and the runtime beside them. See :class:`~actors.asgi.host.Host`."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.address: tuple[str, int] | None = None
        self.apps: dict[str, ASGIApp] = {}

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, path: str, user_id: str | None) -> None:
        """Serve one request to its end; see :class:`~actors.asgi.host.Host`."""
        courier = Courier(scope, receive=receive, send=_yielding(send), make_bell=trio.Event)
        tunnel = Tunnel(peer_of(scope), deliver=courier.deliver, end=courier.end)
        raised: list[BaseException] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_carry, courier, tunnel)
            try:
                await self.runtime.handle(tunnel, head=head_of(scope, path), user_id=user_id)
            except BaseException as error:
                if cancels(error):
                    raise
                raised.append(error)  # and raised outside of the nursery, and so bare
            nursery.cancel_scope.cancel()
        courier.settle(*raised)

    async def drain(self, seconds: float, runs: RunsPolicy) -> DrainReport:
        """Drain the runtime."""
        return await self.runtime.drain(seconds, runs=runs)


@asynccontextmanager
async def open_trio_host(plan: Plan) -> AsyncIterator[TrioHost]:
    """Open a runtime, and what is beside it, in this task and its loop."""
    raised: BaseException | None = None
    async with open_runtime(**plan.options) as runtime, open_interruptible_nursery() as nursery:
        host = TrioHost(runtime)
        async with AsyncExitStack() as stack:
            for path, open_app in plan.apps.items():
                host.apps[path] = await stack.enter_async_context(open_app(runtime))
            if plan.place is not None:
                place = plan.place
                serve = partial(runtime.serve, place.host, place.port, prefix=place.prefix)
                host.address = await nursery.start(serve)
            try:
                yield host
            except BaseException as error:
                if cancels(error):
                    raise
                raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


async def _carry(courier: Courier, tunnel: Tunnel) -> None:
    """Carry both ways, until the runtime has said its last; then let go of the socket."""
    try:
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(_carry_in, courier, tunnel, scope)
            await courier.carry_out(tunnel)
            await courier.cut()
            scope.deadline = trio.current_time() + LINGER_SECONDS if courier.lingers else -math.inf
    finally:
        tunnel.release()


async def _carry_in(courier: Courier, tunnel: Tunnel, scope: trio.CancelScope) -> None:
    with scope:
        await courier.carry_in(tunnel)


def _yielding(send: Send) -> Send:
    """Send with a checkpoint after each message, because to a client that has gone some servers send without one."""

    async def send_and_yield(message: ASGIMessage) -> None:
        await send(message)
        await trio.lowlevel.checkpoint()

    return send_and_yield
