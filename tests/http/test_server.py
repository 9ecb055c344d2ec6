"""The server: where it listens, and what one client can hold."""

from __future__ import annotations

from functools import partial

import pytest
import trio

import actors
from actors.http import open_api, serve
from actors.http.calls import Bounds
from tests.http.serving import answer_of, door, head, until


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com", "", "192.0.2.1"])  # noqa: S104 - it is refused
async def test_without_keys_only_loopback(host: str) -> None:
    """An address that others reach is refused before anything listens."""
    async with actors.open_runtime() as runtime, open_api(runtime) as api:
        with pytest.raises(ValueError, match="expected a loopback address while keys are not checked"):
            await serve(api, host, private=True)


async def test_a_port_that_is_taken() -> None:
    """The error is the system's."""
    async with door() as api:
        with pytest.raises(OSError, match="in use"):
            await serve(api.api, *api.address, private=True)


async def test_requests_in_progress_end_before_it_does() -> None:
    """Told to stop, it accepts no more, and lets what goes on finish; then it returns."""
    stop = trio.Event()
    async with actors.open_runtime() as runtime, open_api(runtime) as api, trio.open_nursery() as nursery:
        address = await nursery.start(partial(serve, api, private=True, until=stop.wait))
        async with await trio.open_tcp_stream(*address) as stream, await trio.open_tcp_stream(*address) as idle:
            await stream.send_all(
                head("POST", "/v1/threads/t/events", "Content-Type: application/json", "Content-Length: 12")
            )
            await until(lambda: "1 requests" in repr(api))
            stop.set()
            assert await answer_of(idle) == b""
            await stream.send_all(b'{"type":"x"}')
            assert (await answer_of(stream)).startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(*address)


async def test_a_request_that_comes_byte_by_byte() -> None:
    """A head that takes longer than it should is cut off; another client is served meanwhile."""
    async with door(bounds=Bounds(head_seconds=0.5)) as api, await api.stream() as stream:
        request = head("GET", "/healthz")
        closed = trio.Event()

        async def trickle() -> None:
            try:
                while True:
                    for byte in request[:-4]:
                        await stream.send_all(bytes([byte]))
                        await trio.sleep(0.1)
            except trio.BrokenResourceError:
                closed.set()

        api.nursery.start_soon(trickle)
        assert (await api.ask("GET", "/healthz"))[0] == 200
        await closed.wait()


async def test_the_socket_of_a_client_is_bounded() -> None:
    """A client that asks and reads nothing is cut off by the kernel, with at most a buffer of answers in it."""
    limits = actors.Limits(retained_bytes=8 << 20, history_bytes=1 << 20)
    async with door(bounds=Bounds(write_seconds=0.5), limits=limits) as api, await api.stream() as stream:
        for _ in range(8):
            await api.runtime.thread("t").emit("x", {"x": "x" * 200_000}, user_id="alice")
        await stream.send_all(head("GET", "/v1/threads/t/events") * 40)
        await until(lambda: "1 requests" in repr(api.api))
        assert (await api.ask("GET", "/healthz"))[0] == 200
        await until(lambda: "0 requests" in repr(api.api))
