"""Slow devices lag behind at the log's expense, not the server's; one that takes a little still takes something."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

import actors
from tests.support.raw import ACTORS, Peer
from tests.support.served import Served, served
from tests.support.stores import bounds_of, state_of
from tests.system.devices.reader import Reading

HASTE = 15.0
"""The speed of these tests against life: the deadline of five seconds is a third of one, two kilobytes a second
thirty."""

PATIENCE = actors.Limits(
    write_deadline_seconds=5.0 / HASTE,
    ping_seconds=15.0 / HASTE,
    pong_seconds=10.0 / HASTE,
    sweep_seconds=1.0 / HASTE,
    close_seconds=0.2,
)

BYTES_PER_SECOND = 2048 * HASTE


class Sip(trio.abc.Stream):
    """A stream that is read slowly, and never more than a sip at once."""

    def __init__(self, below: trio.abc.Stream) -> None:
        self._below = below
        self.pace: float = math.inf

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._below.receive_some(256)
        await trio.sleep(len(data) / self.pace)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._below.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._below.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._below)


Kind = Callable[[Path], Any]
CONTEXTS: dict[str, ssl.SSLContext] = {}


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def narrow(address: tuple[str, int] | str) -> trio.SocketStream:
    """A connection with an end that keeps little, in packets as small as a network's: loopback's own are of 64 KiB."""
    unix = isinstance(address, str)
    sock = trio.socket.socket(trio.socket.AF_UNIX if unix else trio.socket.AF_INET)
    if not unix:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    await sock.connect(address)
    return trio.SocketStream(sock)


@asynccontextmanager
async def hosted(kind: str, folder: Path, **options: Any) -> AsyncIterator[tuple[Served, Peer, Sip]]:
    """A runtime that is reached in one of the ways there are, and a device behind a slow stream."""
    serve: dict[str, Any] = {"path": str(folder / "s")} if kind == "unix" else {}
    ours, theirs = contexts()
    if kind == "tls":
        serve["ssl_context"] = ours
    async with served(serve, **options) as server:
        address = server.address
        if kind == "stream":
            address = await hosting(server, ours)
        sip = Sip(await narrow(address))
        stream: trio.abc.Stream = sip
        if kind in {"tls", "stream"}:
            stream = trio.SSLStream(sip, theirs, server_hostname="localhost")
        yield server, Peer(stream), sip
        await sip.aclose()


async def hosting(server: Served, context: ssl.SSLContext) -> tuple[str, int]:
    """A host that does TLS itself, and hands over its streams."""

    async def handle(stream: trio.SocketStream) -> None:
        await server.runtime.handle(trio.SSLStream(stream, context, server_side=True))

    (listener,) = await server.nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
    address = listener.socket.getsockname()
    return address[0], address[1]


KINDS = ["tcp", "unix", "tls", "stream"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_a_large_event_to_a_slow_reader(kind: str, tmp_path: Path) -> None:
    """An event of a size that takes many write deadlines to read is read whole by a device that takes a little all
    the time."""
    async with hosted(kind, tmp_path, limits=PATIENCE) as (server, peer, sip):
        await peer.attach("alice")
        sip.pace = BYTES_PER_SECOND
        thread = server.runtime.thread("t1")
        with trio.fail_after(60):
            payload = {"x": "x" * 60_000}
            receipts = [await thread.emit("file", payload, user_id="alice") for _ in range(5)]
            assert (await peer.next_event())["payload"] == payload
            assert server.runtime.devices("alice") == 1
            sip.pace = math.inf
            assert [(await peer.next_event())["offset"] for _ in range(4)] == [2, 3, 4, 5]
            await peer.ack(5)
            await receipts[-1].reached(actors.Stage.ACKED)


@pytest.mark.parametrize("kind", KINDS)
async def test_who_takes_nothing_any_more(kind: str, tmp_path: Path) -> None:
    """A device that takes nothing any more is given up, whatever carries its bytes, and nothing is acked."""
    async with hosted(kind, tmp_path, limits=PATIENCE) as (server, peer, _sip):
        await peer.attach("alice")
        receipts: list[actors.Receipt] = []
        while server.runtime.devices("alice"):
            if len(receipts) < 400:
                receipts += await server.emit(10, size=8_000)
            await trio.sleep(0.01)
        await server.all_gone()
        assert actors.Stage.ACKED not in {receipt.stage for receipt in receipts}
        assert departures(server) & {"stalled", "silent"}
        assert server.failures() == []


def departures(server: Served, user_id: str = "alice") -> set[str]:
    """Why devices went."""
    return {one.name for one in server.runtime.tree.registry.presence(user_id).departures}


async def test_a_ping_behind_much_is_waited_for(tmp_path: Path) -> None:
    """A device that is asked whether it is there, behind more than it reads in that time, answers when it can."""
    limits = actors.Limits(ping_seconds=0.1, pong_seconds=0.15, sweep_seconds=0.02, write_deadline_seconds=5.0)
    async with hosted("tcp", tmp_path, limits=limits) as (server, peer, sip):
        await peer.attach("alice")
        await server.emit(4, size=15_000)
        sip.pace = 100_000
        for _ in range(2):
            ping = await peer.next_op("ping")
            assert ping["head"] == 4
            await peer.say({"op": "pong"})
        assert server.runtime.devices("alice") == 1


async def test_memory_is_bounded_whatever_stalls() -> None:
    """Behind ten devices that read nothing there is one log of one size, and a write's worth for each."""
    limits = actors.Limits(retained_bytes=200_000)
    async with served(limits=limits) as server, trio.open_nursery() as nursery:
        for _ in range(10):
            await nursery.start(stalling, server)
        for _ in range(20):
            await server.emit(20, size=10_000)
            await trio.lowlevel.checkpoint()
        kept = [one._transport.backlog_bytes for one in server.runtime.tree.server.connections.values()]
        assert len(kept) == 10
        assert max(kept) <= limits.write_bytes + 11_000
        assert state_of(server.runtime.tree.store).logs["alice"].size_bytes <= limits.retained_bytes
        nursery.cancel_scope.cancel()


async def stalling(server: Served, task_status: trio.TaskStatus[None]) -> None:
    """A device that says hello and reads no more."""
    async with server.peer() as peer:
        await peer.attach("alice")
        task_status.started()
        await trio.sleep_forever()


async def test_lagging_in_batches_and_gaps() -> None:
    """A device behind a stream of tokens gets them joined, what left the log as a gap, and nothing twice."""
    limits = actors.Limits(retained_events=60, delta_window_ms=0)
    async with served(limits=limits) as server, server.peer() as peer:
        reading = Reading()
        await peer.open(ACTORS)
        reading.welcomed(await peer.hello("alice", **{"from": "low"}))
        await server.runtime.bind("t1", "alice")
        text = ""
        while not reading.gaps:
            text = await tokens(server, text, 200)
            head = bounds_of(server.runtime.tree.store, "alice").head
            while reading.offset < head:
                reading.take(await peer.next_message())
                await peer.ack(reading.offset)
        assert any(last > first for first, last in reading.seen if (first, last) not in reading.gaps)
        assert server.failures() == []


async def tokens(server: Served, text: str, count: int) -> str:
    """Emit numbered words of a run, with something large among them; returns all that was said."""
    thread = server.runtime.thread("t1")
    for n in range(count):
        word = f"{n} "
        await thread.emit("agent_delta", {"text": word}, run_id="r1")
        text += word
        if n % 20 == 0:
            await thread.emit("file", {"x": "x" * 20_000})
    return text
