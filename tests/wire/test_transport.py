"""The transport: whole frames, in order, or no socket; over a pipe whose window the test opens and closes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.delivery.frames import text_frame
from actors.limits import Limits
from actors.wire.endpoint import SocketEndpoint
from actors.wire.tls import TLSEndpoint
from actors.wire.transport import Transport

LIMITS = Limits(write_deadline_seconds=5.0, control_bytes=100)
FRAMES = [text_frame(b"%d" % number * 50) for number in range(10)]


class Pipe:
    """An endpoint that takes as many bytes as the test has opened its window for."""

    carrier = None
    has_read_ahead = False

    def __init__(self, window: int = 0) -> None:
        self.peer = "a pipe"
        self.taken = bytearray()
        self.end = ""
        self.broken = False
        self.pending = 0
        self.incoming: list[bytes] = []
        self._window = window
        self._moved = trio.Event()

    def fileno(self) -> int:
        return -1

    def open(self, size: int) -> None:
        """Let more bytes through."""
        self._window += size
        self.stir()

    def snap(self) -> None:
        """Break, as when the peer has reset the connection."""
        self.broken = True
        self.stir()

    def pending_bytes(self) -> int:
        """The bytes that a system below this one keeps; the test lowers it as a slow peer would."""
        return self.pending

    def stir(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    def send(self, data: bytes | bytearray | memoryview) -> int:
        if self.broken or self.end:
            raise trio.BrokenResourceError
        size = min(self._window, len(data))
        self._window -= size
        self.taken += data[:size]
        return size

    def receive(self, most_bytes: int) -> bytes | None:
        if self.broken or self.end:
            raise trio.BrokenResourceError
        return self.incoming.pop(0)[:most_bytes] if self.incoming else None

    def receive_ahead(self, most_bytes: int) -> bytes | None:
        """Nothing."""
        return None

    async def wait_writable(self) -> None:
        await self._wait(lambda: self._window > 0)

    async def wait_readable(self) -> None:
        await self._wait(lambda: bool(self.incoming))

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        self.end = self.end or "closed"
        self.stir()

    def abort(self) -> None:
        self.end = self.end or "aborted"
        self.stir()

    async def _wait(self, ready: object) -> None:
        await trio.lowlevel.checkpoint()
        assert callable(ready)
        while not (ready() or self.broken or self.end):
            await self._moved.wait()
        if self.end:
            raise trio.ClosedResourceError


@attrs.define
class Bench:
    """A transport over a pipe, and its calls."""

    pipe: Pipe
    transport: Transport
    nursery: trio.Nursery
    calls: list[str]

    async def open(self, size: int) -> None:
        self.pipe.open(size)
        await wait_all_tasks_blocked()


@asynccontextmanager
async def bench(window: int = 0, limits: Limits = LIMITS) -> AsyncIterator[Bench]:
    pipe, calls = Pipe(window), list[str]()
    with trio.fail_after(600):
        async with trio.open_nursery() as nursery:
            transport = Transport(
                pipe, nursery, limits=limits, on_drained=lambda: calls.append("drained"), on_failed=calls.append
            )
            yield Bench(pipe, transport, nursery, calls)
            transport.close()
            nursery.cancel_scope.cancel()


async def test_at_once() -> None:
    """Bytes that the socket takes are sent in the caller's own step, and none is kept."""
    async with bench(10_000) as b:
        assert all(b.transport.write(frame) for frame in FRAMES)
        assert b.pipe.taken == b"".join(FRAMES)
        assert b.transport.backlog_bytes == 0
        assert b.transport.stalled_since is None
        assert b.calls == []


async def test_hold() -> None:
    """Frames that are held go out before the next ones, in one send, and into a backlog in order."""
    async with bench(10_000) as b:
        b.transport.hold(b"first")
        b.transport.hold(b"second")
        assert b.pipe.taken == b""
        assert b.transport.write(b"third")
        assert b.transport.write(b"fourth")
        assert b.pipe.taken == b"firstsecondthirdfourth"
    async with bench(0) as b:
        b.transport.write(b"first")
        b.transport.hold(b"second")
        b.transport.write(b"third")
        assert not b.transport.is_ready
        await b.open(10_000)
        assert b.pipe.taken == b"firstsecondthird"
        assert b.transport.is_ready
        b.transport.hold(b"never")
        b.transport.sealed = True
        assert not b.transport.write(b"late")
        assert not b.transport.is_ready
        assert b.pipe.taken == b"firstsecondthird"


async def test_backlog() -> None:
    """Bytes that the socket does not take are kept whole and in order, and follow as soon as there is room."""
    async with bench(75) as b:
        assert [b.transport.write(frame) for frame in FRAMES] == [True] + [False] * 9
        assert len(b.pipe.taken) == 75
        assert b.transport.backlog_bytes == len(b"".join(FRAMES)) - 75
        await b.open(100)
        assert len(b.pipe.taken) == 175
        assert b.calls == []
        await b.open(10_000)
        assert b.pipe.taken == b"".join(FRAMES)
        assert b.transport.backlog_bytes == 0
        assert b.transport.stalled_since is None
        assert b.calls == ["drained"]
        assert b.transport.write(FRAMES[0])


async def test_drained_may_write() -> None:
    """``on_drained`` may write at once; that becomes the next backlog."""
    pipe, drained = Pipe(), list[int]()
    async with trio.open_nursery() as nursery:

        def more() -> None:
            drained.append(len(pipe.taken))
            if len(drained) < 3:
                transport.write(FRAMES[len(drained)])

        transport = Transport(pipe, nursery, limits=LIMITS, on_drained=more, on_failed=pytest.fail)
        transport.write(FRAMES[0])
        for frame in FRAMES[:3]:
            pipe.open(len(frame))
            await wait_all_tasks_blocked()
        assert pipe.taken == b"".join(FRAMES[:3])
        assert drained == [len(b"".join(FRAMES[:count])) for count in (1, 2, 3)]


@given(windows=st.lists(st.integers(1, 80), max_size=40), cancelled_at=st.integers(0, 20))
def test_whole_frames(windows: list[int], cancelled_at: int) -> None:
    """The bytes are the frames, in order, none torn, whatever task waits for the transport and whenever it is
    cancelled."""

    async def play() -> None:
        async with bench() as b:
            scopes: list[trio.CancelScope] = []

            async def wait() -> None:
                with trio.CancelScope() as scope:
                    scopes.append(scope)
                    await b.transport.drain()

            for step, window in enumerate(windows):
                b.nursery.start_soon(wait)
                b.transport.write(FRAMES[step % 10])
                await b.open(window)
                if step == cancelled_at:
                    for scope in scopes:
                        scope.cancel()
            await b.open(100_000)
            assert b.pipe.taken == b"".join(FRAMES[step % 10] for step in range(len(windows)))

    trio.run(play)


async def test_cancelled_with_a_torn_frame() -> None:
    """When everything is cancelled while a frame is half sent, the socket is aborted, not closed politely."""
    async with bench(10) as b:
        b.transport.write(FRAMES[0])
        b.nursery.cancel_scope.cancel()
        await trio.lowlevel.cancel_shielded_checkpoint()
        b.transport.close()
        assert b.pipe.end == "aborted"
    async with bench(1_000) as b:
        b.transport.write(FRAMES[0])
        b.transport.close()
        assert b.pipe.end == "closed"


async def test_stalled(autojump_clock: MockClock) -> None:
    """A socket that takes nothing for the write deadline is aborted, with the reason."""
    async with bench(10) as b:
        started = trio.current_time()
        b.transport.write(FRAMES[0])
        assert b.transport.stalled_since == started
        await b.transport.drain()
        assert trio.current_time() - started == pytest.approx(5.0)
        assert b.calls == ["stalled"]
        assert b.pipe.end == "aborted"
        assert not b.transport.write(FRAMES[1])


async def test_progress_renews_the_deadline(autojump_clock: MockClock) -> None:
    """A slow socket is not a dead one: each byte that it takes renews its deadline."""
    async with bench() as b:
        b.transport.write(FRAMES[0])
        for _ in FRAMES[0]:
            await trio.sleep(4.9)
            await b.open(1)
        assert b.calls == ["drained"]
        assert b.pipe.taken == FRAMES[0]


async def test_what_is_below_shows_progress(autojump_clock: MockClock) -> None:
    """A socket without room that is still rid of a byte now and then is a slow one, and explain may say so."""
    async with bench() as b:
        b.pipe.pending = 100
        b.transport.write(FRAMES[0])
        for _ in range(20):
            await trio.sleep(4.0)
            b.pipe.pending -= 1
        assert b.calls == []
        stopped = trio.current_time()
        await b.transport.drain()
        assert b.calls == ["stalled"]
        assert 5.0 <= trio.current_time() - stopped <= 7.0


async def test_what_costs_more_below(autojump_clock: MockClock) -> None:
    """A system that keeps more for a frame than its bytes, as TLS and Unix sockets do, hides no progress."""
    async with bench() as b:
        b.transport.write(b"x" * 100)
        for _ in range(10):
            b.pipe.pending += 1_000
            await b.open(1)
            for _ in range(3):
                await trio.sleep(4.0)
                b.pipe.pending -= 1
        assert b.calls == []
        await b.open(1_000)
        assert b.calls == ["drained"]


async def test_an_endpoint_that_holds_on() -> None:
    """An endpoint that breaks while it holds on to what it was offered ends the connection as any other does."""
    kept: list[memoryview] = []

    class Holding(Pipe):
        def send(self, data: bytes | bytearray | memoryview) -> int:
            kept.append(memoryview(data))
            return super().send(data)

    calls: list[str] = []
    async with trio.open_nursery() as nursery:
        pipe = Holding(10)
        transport = Transport(pipe, nursery, limits=LIMITS, on_drained=lambda: None, on_failed=calls.append)
        transport.write(FRAMES[0])
        await wait_all_tasks_blocked()
        pipe.snap()
        await transport.drain()
    assert calls == ["vanished"]


async def test_vanished() -> None:
    """A socket that breaks is aborted and reported as vanished, once; while writing or with a backlog."""
    async with bench(1_000) as b:
        b.pipe.snap()
        assert not b.transport.write(FRAMES[0])
        assert not b.transport.write(FRAMES[1])
        assert b.calls == ["vanished"]
    async with bench(10) as b:
        b.transport.write(FRAMES[0])
        await wait_all_tasks_blocked()
        b.pipe.snap()
        await b.transport.drain()
        assert b.calls == ["vanished"]
        assert b.transport.backlog_bytes == 0


async def test_sealed() -> None:
    """After a Close nothing is taken, and what was taken before is still sent."""
    async with bench(10) as b:
        b.transport.write(FRAMES[0])
        b.transport.sealed = True
        assert not b.transport.write(FRAMES[1])
        b.transport.write_control(FRAMES[2])
        await b.open(10_000)
        assert b.pipe.taken == FRAMES[0]
        assert not b.transport.write(FRAMES[1])
        assert b.pipe.taken == FRAMES[0]


async def test_control_flood() -> None:
    """A peer that causes replies and reads none is aborted before they become a heap."""
    async with bench() as b:
        b.transport.write_control(b"x" * 60)
        assert b.calls == []
        b.transport.write_control(b"x" * 60)
        assert b.calls == ["choked"]
        assert b.pipe.end == "aborted"
        assert b.transport.backlog_bytes == 0


async def test_control_without_a_flood() -> None:
    """Replies that are read are no flood, however many there were; nor are events."""
    async with bench() as b:
        b.transport.write(b"x" * 1_000)
        for _ in range(10):
            b.transport.write_control(b"x" * 60)
            await b.open(10_000)
        assert b.calls[0] == "drained"
        assert "choked" not in b.calls


async def test_receive() -> None:
    """Bytes that come in are handed on as they came, up to their end; a break and a close raise differently."""
    async with bench() as b:
        b.pipe.incoming = [b"abc", b""]
        assert b.transport.receive(2) == b"ab"
        assert b.transport.receive(2) == b""
        b.pipe.incoming = [b"abc", b"def", b""]
        await b.transport.discard()
        assert b.pipe.incoming == []
        b.pipe.snap()
        with pytest.raises(trio.BrokenResourceError):
            b.transport.receive(2)
        await b.transport.discard()
    async with bench() as b:
        b.nursery.start_soon(b.transport.discard)
        await wait_all_tasks_blocked()
        b.transport.close()


async def test_tls_that_breaks_with_a_backlog() -> None:
    """A TLS peer that resets while much is waiting for it has vanished, and nothing of ours has failed."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    ours, theirs = socket.socketpair()
    endpoint = TLSEndpoint(SocketEndpoint(ours), context)
    client = trio.SSLStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(theirs)), trusting, server_hostname="localhost"
    )
    calls: list[str] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.handshake)
            nursery.start_soon(client.do_handshake)
        async with trio.open_nursery() as nursery:
            transport = Transport(endpoint, nursery, limits=LIMITS, on_drained=lambda: None, on_failed=calls.append)
            while not transport.backlog_bytes:
                transport.write(FRAMES[0] * 1_000)
            await wait_all_tasks_blocked()
            await trio.aclose_forcefully(client)
    assert calls == ["vanished"]
