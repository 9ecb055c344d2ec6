"""The fault proxy: each fault does what it says, no more and no less, to real sockets."""

from __future__ import annotations

import errno
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.testing import FaultProxy, Faults, Way, fault_proxy
from actors.testing.link import set_to_reset

PATIENCE_SECONDS = 60.0
"""A safety net against hangs."""


@asynccontextmanager
async def linked(
    faults: Faults | None = None, patience_seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[tuple[FaultProxy, trio.SocketStream, trio.SocketStream]]:
    """Both ends of one connection through a proxy, that of the client first."""
    with trio.fail_after(patience_seconds):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port: int = listener.socket.getsockname()[1]
        async with (
            listener,
            fault_proxy("127.0.0.1", port, lambda: faults or Faults()) as proxy,
            await trio.open_tcp_stream("127.0.0.1", proxy.port) as client,
            await listener.accept() as server,
        ):
            yield proxy, client, server


async def exactly(stream: trio.SocketStream, count: int) -> bytes:
    """So many bytes; fewer if there is an end before."""
    data = bytearray()
    while len(data) < count and (more := await stream.receive_some(count - len(data))):
        data += more
    return bytes(data)


async def passes(here: trio.SocketStream, there: trio.SocketStream) -> None:
    """Check that bytes of each end arrive at the other."""
    for source, sink in ((here, there), (there, here)):
        await source.send_all(b"hello")
        assert await exactly(sink, 5) == b"hello"


async def shows_nothing(*streams: trio.SocketStream) -> None:
    """No byte comes, and no end; a tenth of a second is a million times what loopback needs."""
    for stream in streams:
        with trio.move_on_after(0.1) as scope:
            raise AssertionError(f"something came: {await stream.receive_some()!r}")
        assert scope.cancelled_caught


async def is_reset(stream: trio.SocketStream) -> None:
    """The next thing that happens is a RST."""
    with pytest.raises(trio.BrokenResourceError) as caught:
        await stream.receive_some()
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ECONNRESET


# --- while a connection lives -----------------------------------------------------


async def test_without_faults_it_is_not_there() -> None:
    """Bytes pass both ways, and are counted; one end says that it says no more, and still hears the other."""
    async with linked() as (proxy, client, server):
        await passes(client, server)
        await client.send_eof()
        assert await server.receive_some() == b""
        await server.send_all(b"goodbye")
        assert await exactly(client, 7) == b"goodbye"
        await server.aclose()
        assert await client.receive_some() == b""
        assert (proxy.connections, proxy.passed_bytes, proxy.harmed) == (1, {"up": 5, "down": 12}, {})


async def test_slices_arrive_in_order_and_whole() -> None:
    """In pieces of one to seven bytes everything comes, and no piece is larger."""
    said = bytes(range(256)) * 8
    pieces: list[bytes | bytearray] = []
    async with linked(Faults(down=Way(slice_bytes=(1, 7), bytes_per_second=100_000))) as (_, client, server):
        await server.send_all(said)
        while sum(map(len, pieces)) < len(said):
            pieces.append(await client.receive_some())
    assert b"".join(pieces) == said
    assert len(pieces) > 1


async def test_latency(mock_clock: MockClock) -> None:
    """Bytes that go up are under way for the latency, and none comes earlier; bytes that come down are not held up."""
    async with linked(Faults(up=Way(latency_seconds=0.2))) as (proxy, client, server):
        await client.send_all(b"later")
        await server.send_all(b"at once")
        assert await exactly(client, 7) == b"at once"
        said_at = trio.current_time()
        while not proxy.passed_bytes["up"]:
            mock_clock.jump(0.05)
            await wait_all_tasks_blocked(0.01)
        assert trio.current_time() - said_at > 0.19
        assert await exactly(server, 5) == b"later"


async def test_bandwidth() -> None:
    """A large message comes piece by piece: when its beginning is there, its end is still under way."""
    async with linked(Faults(down=Way(bytes_per_second=20_000))) as (proxy, client, server):
        await server.send_all(b"x" * 8_000)
        await client.receive_some()
        assert proxy.passed_bytes["down"] < 8_000
        await exactly(client, 8_000 - 1_000)


async def test_a_stall_loses_nothing_and_gathers_little() -> None:
    """A sender of more than a stalled line holds has to wait; when it goes on, everything comes."""
    said = 16 * 1024 * 1024
    async with linked() as (proxy, client, server), trio.open_nursery() as nursery:
        await passes(client, server)
        proxy.stall()
        nursery.start_soon(client.send_all, b"x" * said)
        await shows_nothing(server)
        assert len(nursery.child_tasks) == 1
        proxy.go_on()
        assert len(await exactly(server, said)) == said
        await passes(client, server)
        assert proxy.harmed == {"stall": 1}


async def test_a_stall_of_all_is_one_of_new_connections_too() -> None:
    """A client that connects during a stall has a connection, and hears nothing on it until it goes on."""
    async with linked() as (proxy, client, server):
        proxy.stall()
        async with await trio.open_tcp_stream("127.0.0.1", proxy.port) as late:
            await late.aclose()
            await client.send_all(b"one")
            await shows_nothing(server)
        proxy.mend()
        assert await exactly(server, 3) == b"one"


async def test_a_stall_by_plan_ends_by_itself(mock_clock: MockClock) -> None:
    """After the limit nothing passes for its time, in neither direction; ``none`` as a harm is none."""
    faults = Faults(down=Way(limit_bytes=3), stall_seconds=5.0, harm="none")
    async with linked(faults) as (proxy, client, server):
        await server.send_all(b"onetwo")
        assert await exactly(client, 3) == b"one"
        stalled_at = trio.current_time()
        await client.send_all(b"three")
        while proxy.passed_bytes.total() < 11:
            mock_clock.jump(0.5)
            await wait_all_tasks_blocked(0.01)
        assert trio.current_time() - stalled_at >= 5.0
        assert (await exactly(client, 3), await exactly(server, 5)) == (b"two", b"three")
        assert proxy.harmed == {"stall": 1}


# --- how it ends ------------------------------------------------------------------


async def test_the_limit_cuts_to_the_byte() -> None:
    """Ten bytes and no eleventh; then both ends see the end."""
    async with linked(Faults(down=Way(limit_bytes=10))) as (proxy, client, server):
        await server.send_all(b"0123456789abcdef")
        assert await exactly(client, 100) == b"0123456789"
        assert await server.receive_some() == b""
        assert proxy.harmed == {"close": 1}


async def test_a_limit_of_nothing() -> None:
    """The connection is made, and that was it."""
    async with linked(Faults(up=Way(limit_bytes=0), harm="reset")) as (_, client, server):
        await is_reset(client)
        await is_reset(server)


async def test_reset() -> None:
    """Both ends get a RST, by plan and by command, and it is counted."""
    async with linked(Faults(up=Way(limit_bytes=5), harm="reset")) as (proxy, client, server):
        await client.send_all(b"hello")
        await is_reset(client)
        assert proxy.harmed == {"reset": 1}
    async with linked() as (proxy, client, server):
        await passes(client, server)
        proxy.reset()
        await is_reset(client)
        await is_reset(server)


async def test_the_reset_of_an_end_is_passed_on() -> None:
    """As if there was one connection: a reset by one end is a reset for the other."""
    async with linked() as (proxy, client, server):
        await passes(client, server)
        set_to_reset(client)
        await client.aclose()
        await is_reset(server)
        assert not proxy.harmed


async def test_a_cut_is_an_end() -> None:
    """Both ends read that there is no more; the next connection is a good one."""
    async with linked() as (proxy, client, server):
        await passes(client, server)
        proxy.cut()
        assert await client.receive_some() == await server.receive_some() == b""
        assert proxy.harmed == {"close": 1}
        async with await trio.open_tcp_stream("127.0.0.1", proxy.port) as again:
            await again.send_all(b"x")
            while proxy.passed_bytes["up"] < 6:
                await trio.lowlevel.checkpoint()


async def test_half_open() -> None:
    """Both ends talk into the void, and go, and neither ever hears of it; new connections are good ones."""
    async with linked() as (proxy, client, server):
        await passes(client, server)
        proxy.vanish()
        proxy.mend()
        await client.send_all(b"are you there?")
        await server.send_all(b"are you?")
        await shows_nothing(client, server)
        await client.aclose()
        await shows_nothing(server)
        assert proxy.passed_bytes == {"up": 5, "down": 5}
        assert proxy.harmed == {"vanish": 1}
        async with await trio.open_tcp_stream("127.0.0.1", proxy.port) as again:
            await again.send_all(b"x")
            while proxy.passed_bytes["up"] < 6:
                await trio.lowlevel.checkpoint()


async def test_half_open_one_way() -> None:
    """Of two directions one is gone; what the other carries arrives, its end too, and its answer does not."""
    async with linked(Faults(down=Way(limit_bytes=5))) as (proxy, client, server):
        proxy.vanish("down")
        await server.send_all(b"hello")
        await client.send_all(b"hello")
        assert await exactly(server, 5) == b"hello"
        await client.send_eof()
        assert await server.receive_some() == b""
        await server.aclose()
        await shows_nothing(client)
        assert proxy.passed_bytes == {"up": 5}


async def test_slow_to_close(mock_clock: MockClock) -> None:
    """That one end has closed is not known to the other before the time is over."""
    async with linked(Faults(linger_seconds=2.0)) as (_, client, server), trio.open_nursery() as nursery:
        heard: list[float] = []

        async def hear() -> None:
            assert await server.receive_some() == b""
            heard.append(trio.current_time())

        nursery.start_soon(hear)
        closed_at = trio.current_time()
        await client.aclose()
        while not heard:
            mock_clock.jump(0.25)
            await wait_all_tasks_blocked(0.01)
        assert heard[0] - closed_at >= 2.0


@pytest.mark.parametrize("harm", ["reset", "vanish"])
async def test_an_idle_cutter(harm: str, mock_clock: MockClock) -> None:
    """A byte every 59 s keeps the connection; at 60 s of silence it is gone, with or without a word."""
    faults = Faults(idle_seconds=60.0, idle_harm="reset" if harm == "reset" else "vanish")
    async with linked(faults, patience_seconds=1_000) as (proxy, client, server):
        for _ in range(3):
            await passes(client, server)
            mock_clock.jump(59.0)
            await wait_all_tasks_blocked(0.01)
        assert not proxy.harmed
        mock_clock.jump(1.0)
        await wait_all_tasks_blocked(0.01)
        assert proxy.harmed == {"idle": 1, harm: 1}
        if harm == "reset":
            await is_reset(client)
            await is_reset(server)
        else:
            await client.send_all(b"hello")
            await wait_all_tasks_blocked(0.01)
            assert proxy.passed_bytes["up"] == 15


# --- without a connection ---------------------------------------------------------


async def test_refused_and_mended() -> None:
    """Severed, all connections end and new ones are reset at once; mended, they are made again."""
    async with linked() as (proxy, client, server):
        await passes(client, server)
        proxy.sever()
        assert await client.receive_some() == b""
        async with await trio.open_tcp_stream("127.0.0.1", proxy.port) as refused:
            await is_reset(refused)
        assert proxy.harmed == {"close": 1, "refuse": 1}
        proxy.mend()
        async with await trio.open_tcp_stream("127.0.0.1", proxy.port) as again:
            await again.send_all(b"x")
            while proxy.passed_bytes["up"] < 6:
                await trio.lowlevel.checkpoint()
        assert proxy.connections == 3


async def test_a_server_that_is_not_there_and_then_is() -> None:
    """Without one a connection is reset; what goes wrong and where the server is can be changed for the next."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with fault_proxy("127.0.0.1", 0, lambda: Faults(refuse=True)) as proxy:
            for counted in ("refuse", "unreachable"):
                async with await trio.open_tcp_stream("127.0.0.1", proxy.port) as client:
                    await is_reset(client)
                assert proxy.harmed[counted] == 1
                proxy.faults = Faults
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            async with listener:
                proxy.target = listener.socket.getsockname()
                async with (
                    await trio.open_tcp_stream("127.0.0.1", proxy.port) as client,
                    await listener.accept() as server,
                ):
                    await passes(client, server)


async def test_the_end_of_the_block_ends_every_connection() -> None:
    """Those in good order, those that stall and those that are half-open: all ends see it, and the port is closed."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    streams: list[trio.SocketStream] = []
    with trio.fail_after(PATIENCE_SECONDS):
        async with listener:
            async with fault_proxy(*listener.socket.getsockname()) as proxy:
                for harm in (proxy.vanish, proxy.stall, lambda: None):
                    streams += await trio.open_tcp_stream("127.0.0.1", proxy.port), await listener.accept()
                    harm()
            for stream in streams:
                assert await stream.receive_some() == b""
                await stream.aclose()
            with pytest.raises(OSError, match="all attempts to connect"):
                await trio.open_tcp_stream("127.0.0.1", proxy.port)


async def test_cancelled_after_any_number_of_steps() -> None:
    """Whatever it is doing, the block ends, and no socket is left open behind it."""

    async def live() -> None:
        async with linked(Faults(up=Way(slice_bytes=(1, 2)))) as (_, client, server):
            await passes(client, server)
        finished.set()

    finished = trio.Event()
    for steps in itertools.count():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        if finished.is_set():
            return


async def test_exceptions_pass_through_as_they_are() -> None:
    """An exception of the body is raised, in no group."""
    with pytest.raises(ZeroDivisionError):
        async with fault_proxy("127.0.0.1", 0):
            raise ZeroDivisionError
