"""Endpoints: the same byte pipe over a kernel socket, over TLS, and over any stream of the host's."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest
import trio
import trustme
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from actors.wire.endpoint import Endpoint, SocketEndpoint, StreamEndpoint
from actors.wire.tls import TLSEndpoint

Pipe = tuple[Endpoint, trio.abc.Stream]

LARGE = bytes(range(256)) * 8_192
"""Two MiB: more than any of these pipes takes at once."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def over_socket() -> AsyncIterator[tuple[Endpoint, trio.abc.Stream]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    endpoint = SocketEndpoint(ours)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    try:
        yield endpoint, stream
    finally:
        endpoint.close()
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def over_tls(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> AsyncIterator[tuple[Endpoint, trio.abc.Stream]]:
    async with over_socket() as (below, stream):
        endpoint = TLSEndpoint(below, server_context)
        client = trio.SSLStream(stream, client_context, server_hostname="localhost", https_compatible=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.handshake)
            nursery.start_soon(client.do_handshake)
        yield endpoint, client


@asynccontextmanager
async def over_stream() -> AsyncIterator[tuple[Endpoint, trio.abc.Stream]]:
    ours, theirs = lockstep_stream_pair()
    endpoint = StreamEndpoint(ours)
    async with trio.open_nursery() as nursery:
        await nursery.start(endpoint.run)
        yield endpoint, theirs
        endpoint.abort()


@pytest.fixture(params=["socket", "tls", "stream"])
async def pipe(
    request: pytest.FixtureRequest, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> AsyncIterator[tuple[Endpoint, trio.abc.Stream]]:
    kinds: dict[str, Callable[[], AbstractAsyncContextManager[Pipe]]] = {
        "socket": over_socket,
        "tls": partial(over_tls, server_context, client_context),
        "stream": over_stream,
    }
    with trio.fail_after(60):
        async with kinds[request.param]() as made:
            yield made


async def read(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        assert more
        data += more
    return data


async def send_all(endpoint: Endpoint, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[endpoint.send(view) :]
        if view:
            await endpoint.wait_writable()


async def receive(endpoint: Endpoint, size: int) -> bytes:
    data = b""
    while len(data) < size:
        came = endpoint.receive(1_000)
        if came is None:
            await endpoint.wait_readable()
        else:
            assert 0 < len(came) <= 1_000
            data += came
    return data


async def test_small(pipe: Pipe) -> None:
    """Small writes are taken at once, and arrive; in both directions."""
    endpoint, stream = pipe
    assert endpoint.receive(10) is None
    assert endpoint.send(b"hello") == 5
    assert await read(stream, 5) == b"hello"
    await stream.send_all(b"good day")
    assert await receive(endpoint, 8) == b"good day"
    assert endpoint.receive(10) is None


async def test_large(pipe: Pipe) -> None:
    """More than fits is taken in parts, and all of it arrives in order; in both directions at once."""
    endpoint, stream = pipe
    assert 0 < endpoint.send(LARGE[:0] + LARGE[:1]) <= 1
    came: dict[str, bytes] = {}

    async def take(name: str, size: int) -> None:
        came[name] = await (receive(endpoint, size) if name == "in" else read(stream, size))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all, endpoint, LARGE[1:])
        nursery.start_soon(stream.send_all, LARGE)
        nursery.start_soon(take, "in", len(LARGE))
        nursery.start_soon(take, "out", len(LARGE))
    assert came["in"] == LARGE
    assert came["out"] == LARGE


async def test_take_part(pipe: Pipe) -> None:
    """A pipe with another end that does not read stops taking, returns 0, and waits until that changes."""
    endpoint, stream = pipe
    offered = memoryview(LARGE * 4)
    taken = 0
    while more := endpoint.send(offered[taken:]):
        taken += more
    assert 0 < taken < len(offered)
    writable = trio.Event()

    async def wait() -> None:
        await endpoint.wait_writable()
        writable.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not writable.is_set()
        nursery.start_soon(read, stream, taken)
        await writable.wait()
        nursery.cancel_scope.cancel()


async def test_pending(pipe: Pipe) -> None:
    """The bytes on their way get fewer when the other end reads, and stay when it does not."""
    endpoint, stream = pipe
    while endpoint.send(LARGE):
        await wait_all_tasks_blocked()
    stalled = endpoint.pending_bytes()
    assert stalled > 0
    await trio.sleep(0.01)
    assert endpoint.pending_bytes() == stalled
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, stream, 65_536)
        while endpoint.pending_bytes() == stalled:  # noqa: ASYNC110 - no kernel tells when
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


async def test_end_of_peer(pipe: Pipe) -> None:
    """A peer that closes is seen as the end of what it sent, or as a broken pipe; never as silence."""
    endpoint, stream = pipe
    await stream.send_all(b"last words")
    assert await receive(endpoint, 10) == b"last words"
    await stream.aclose()
    with trio.fail_after(60):
        await endpoint.wait_readable()
    try:
        assert endpoint.receive(10) == b""
        assert endpoint.receive(10) == b""
    except trio.BrokenResourceError:
        assert isinstance(endpoint, TLSEndpoint)


async def test_what_was_read_ahead_has_an_end(pipe: Pipe) -> None:
    """However much a peer sends meanwhile, only what was read before is read ahead; the rest is noticed by a wait."""
    endpoint, stream = pipe
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"x" * 1_000)
        await wait_all_tasks_blocked()
        got = endpoint.receive(10) or b""
        nursery.start_soon(stream.send_all, b"y" * 1_000)
        await wait_all_tasks_blocked()
        while endpoint.has_read_ahead and (data := endpoint.receive_ahead(100)) is not None:
            got += data
        assert set(got) == set(b"x")
        assert await receive(endpoint, 2_000 - len(got)) == b"x" * (1_000 - len(got)) + b"y" * 1_000


class Trickle(SocketEndpoint):
    """An endpoint whose bytes arrive one by one."""

    reads = 0

    def receive(self, most_bytes: int) -> bytes | None:
        type(self).reads += 1
        return super().receive(1)


async def test_one_read_of_the_system(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    """Each receive asks the system once, whatever it got: so a step has an end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    endpoint = TLSEndpoint(Trickle(ours), server_context)
    client = trio.SSLStream(stream, client_context, server_hostname="localhost", https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endpoint.handshake)
        nursery.start_soon(client.do_handshake)
    await client.send_all(b"x")
    before, calls = Trickle.reads, 0
    data: bytes | None = None
    while data is None:
        data, calls = endpoint.receive(10), calls + 1
    assert (data, Trickle.reads - before) == (b"x", calls)
    endpoint.close()
    await trio.aclose_forcefully(client)


async def test_broken(pipe: Pipe) -> None:
    """Sending to a peer that has gone ends in BrokenResourceError, and nothing else."""
    endpoint, stream = pipe
    await trio.aclose_forcefully(stream)
    with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - the kernel notices after a while
        while True:
            endpoint.send(LARGE)
            await endpoint.wait_writable()


async def test_close_delivers(pipe: Pipe) -> None:
    """Bytes taken before a close still arrive, and then the end; closing twice is closing once."""
    endpoint, stream = pipe
    assert endpoint.send(b"goodbye") == 7
    endpoint.close()
    endpoint.close()
    assert await read(stream, 7) == b"goodbye"
    assert await stream.receive_some(1) == b""


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("wait", ["wait_readable", "wait_writable"])
async def test_closed_while_waiting(pipe: Pipe, end: str, wait: str) -> None:
    """A task that waits when this end is closed gets ClosedResourceError, then and later."""
    endpoint, _ = pipe
    while wait == "wait_writable" and endpoint.send(LARGE):
        pass

    async def waiting() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await getattr(endpoint, wait)()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting)
        await wait_all_tasks_blocked()
        getattr(endpoint, end)()
    await waiting()
    with pytest.raises(trio.BrokenResourceError):
        endpoint.send(b"x")


async def test_abort_ends_the_pump() -> None:
    """Aborting a stream ends it at once, even in the middle of a send that its peer does not read."""
    ours, theirs = lockstep_stream_pair()
    endpoint = StreamEndpoint(ours)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(endpoint.run)
            assert endpoint.send(b"never read") == 10
            await wait_all_tasks_blocked()
            assert endpoint.send(b"more") == 0
            endpoint.abort()
        with pytest.raises(trio.BrokenResourceError):
            endpoint.receive(1)
    await trio.aclose_forcefully(theirs)


async def test_half_close() -> None:
    """A peer that has sent its end can still be answered."""
    async with over_stream() as (endpoint, stream):
        assert isinstance(stream, trio.StapledStream)
        await stream.send_eof()
        await endpoint.wait_readable()
        assert endpoint.receive(1) == b""
        assert endpoint.send(b"still here") == 10
        assert await read(stream, 10) == b"still here"


async def test_finish() -> None:
    """Over a socket, our end can send its end, and still read."""
    async with over_socket() as (endpoint, stream):
        endpoint.send(b"answer")
        endpoint.finish()
        assert await read(stream, 6) == b"answer"
        assert await stream.receive_some(1) == b""
        await stream.send_all(b"thanks")
        assert await receive(endpoint, 6) == b"thanks"


async def test_abort_resets() -> None:
    """An aborted TCP connection is reset, so that its peer does not wait for more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await trio.open_tcp_stream(*listener.getsockname())
        accepted, _ = listener.accept()
        SocketEndpoint(accepted).abort()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some(1)
        await stream.aclose()


async def test_tuned_socket() -> None:
    """A TCP connection delays nothing, and the kernel gives no peer up: pings find the dead."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await trio.open_tcp_stream(*listener.getsockname())
        accepted, _ = listener.accept()
        endpoint = SocketEndpoint(accepted)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        assert endpoint.peer.startswith("127.0.0.1:")
        endpoint.close()
        await stream.aclose()


@pytest.mark.parametrize("said", [b"GET /ws HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""])
async def test_not_tls(said: bytes, server_context: ssl.SSLContext) -> None:
    """A peer that does not speak TLS breaks its pipe, at once."""
    async with over_socket() as (below, stream):
        endpoint = TLSEndpoint(below, server_context)
        if said:
            await stream.send_all(said)
        else:
            await stream.aclose()
        with trio.fail_after(60), pytest.raises(trio.BrokenResourceError):
            await endpoint.handshake()


async def test_before_the_handshake(server_context: ssl.SSLContext) -> None:
    """Nothing can be sent before the keys are agreed on: the pipe is broken, no other error comes."""
    async with over_socket() as (below, _):
        with pytest.raises(trio.BrokenResourceError):
            TLSEndpoint(below, server_context).send(b"too early")
