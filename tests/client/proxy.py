"""A TCP proxy that treats connections badly, each by a plan: cuts, resets, stalls, refuses."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal

import attrs
import trio

Harm = Literal["none", "refuse", "cut", "reset", "stall", "late"]


@attrs.frozen
class Plan:
    """What happens to one connection, once so many bytes have passed in one direction."""

    harm: Harm = "none"
    """``cut`` ends it in good order, ``reset`` with a RST; ``stall`` passes nothing on for a while and then cuts it;
    ``late`` does so, too, and passes on what had been said meanwhile."""
    up: float = float("inf")
    """Bytes from the client that pass."""
    down: float = float("inf")
    """Bytes from the server that pass."""
    stall_seconds: float = 0.0


HARMLESS = Plan()


@attrs.define
class Proxy:
    """A proxy in front of a port of this machine."""

    target: tuple[str, int]
    plan: Callable[[], Plan]
    """What is to happen to the next connection."""
    port: int = 0
    connections: int = 0
    harmed: dict[str, int] = attrs.field(factory=dict)
    """How often what has happened."""
    open: list[trio.CancelScope] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://127.0.0.1:{self.port}/ws"

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection, from its beginning to the end it gets."""
        self.connections += 1
        plan = self.plan()
        if plan.harm == "refuse":
            self._note("refuse")
            _reset(client)
            return
        try:
            server = await trio.open_tcp_stream(*self.target)
        except OSError:
            _reset(client)
            return
        with trio.CancelScope() as scope:
            self.open.append(scope)
            async with client, server:
                await self._pass_on(client, server, plan)

    def cut(self) -> None:
        """End all connections of the moment."""
        for scope in self.open:
            scope.cancel()
        self.open.clear()

    async def _pass_on(self, client: trio.SocketStream, server: trio.SocketStream, plan: Plan) -> None:
        over: list[bool] = []

        async def pump(source: trio.SocketStream, sink: trio.SocketStream, allowance: float) -> None:
            over.append(await _pump(source, sink, allowance))
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, client, server, plan.up)
            nursery.start_soon(pump, server, client, plan.down)
        if any(over):
            await self._harm(client, server, plan)

    async def _harm(self, client: trio.SocketStream, server: trio.SocketStream, plan: Plan) -> None:
        self._note(plan.harm)
        if plan.harm in {"stall", "late"}:
            await trio.sleep(plan.stall_seconds)
        if plan.harm == "late":
            with trio.move_on_after(plan.stall_seconds):
                await _pump(client, server, float("inf"))
        if plan.harm == "reset":
            _reset(client)
            _reset(server)

    def _note(self, harm: str) -> None:
        self.harmed[harm] = self.harmed.get(harm, 0) + 1


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, allowance: float) -> bool:
    """Pass bytes on; true when as many as are allowed have passed, false when one end has gone."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while allowance > 0:
            data = await source.receive_some(int(min(allowance, 65_536)))
            if not data:
                return False
            await sink.send_all(data)
            allowance -= len(data)
        return True
    return False


def _reset(stream: trio.SocketStream) -> None:
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@asynccontextmanager
async def proxied(target: tuple[str, int], plan: Callable[[], Plan] = lambda: HARMLESS) -> AsyncIterator[Proxy]:
    """A proxy in front of a server, while the body runs."""
    proxy = Proxy(target, plan)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, proxy.serve, 0)
        proxy.port = listeners[0].socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()


def weather(chance: random.Random, most_bytes: int, stall_seconds: float) -> Callable[[], Plan]:
    """Plans at random: one in ten connections is left alone."""

    def plan() -> Plan:
        harm: Harm = chance.choice(["none", "refuse", "cut", "cut", "cut", "reset", "reset", "stall", "stall", "late"])
        nbytes = chance.randint(0, chance.choice([400, most_bytes]))
        seconds = chance.uniform(0, stall_seconds)
        if harm == "none":
            return HARMLESS
        if chance.random() < 0.3:
            return Plan(harm, up=nbytes // 2, stall_seconds=seconds)
        return Plan(harm, down=nbytes, stall_seconds=seconds)

    return plan
