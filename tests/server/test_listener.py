"""The listener: where it listens, what it survives, and how a door is shut."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

import actors
from actors.kernel.task_set import Starter
from actors.server.listener import Listener, Place
from actors.server.visit import Arrival, Visit
from actors.wire.endpoint import Endpoint
from actors.wire.http import Page
from tests.support.raw import ACTORS, connected, upgrade_request
from tests.support.served import PATIENCE_SECONDS, ask, context_of, deliver, served

# --- where it listens -----------------------------------------------------------


async def test_tcp() -> None:
    """Port 0 is a free port, whose number serve returns; events go out over it."""
    async with served() as server:
        assert isinstance(server.address, tuple)
        assert server.address[0] == "127.0.0.1"
        assert server.address[1] > 0
        async with server.peer() as peer:
            await deliver(server, peer)
        assert server.failures() == []


async def test_every_address_of_a_name() -> None:
    """A name that stands for several addresses is served on all of them, on one port."""
    async with served({"host": "localhost"}) as server:
        found = await trio.socket.getaddrinfo("localhost", server.address[1], type=socket.SOCK_STREAM)
        for *_, address in found:
            async with connected((str(address[0]), int(address[1]))) as peer:
                assert (await peer.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200


async def test_unix_socket(tmp_path: Path) -> None:
    """A Unix socket serves as well, and its file is gone when the server is."""
    path = tmp_path / "actors.sock"
    async with served({"path": path}) as server:
        assert server.address == str(path)
        async with server.peer() as peer:
            await deliver(server, peer)
    assert not path.exists()


@pytest.mark.parametrize("context", [ssl.create_default_context(), "cert.pem", ("cert.pem", "key.pem")])
async def test_no_context_of_a_server(context: ssl.SSLContext) -> None:
    """A TLS context that no server can use is refused before the first connection finds that out."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match=r"ssl_context: expected an ssl\.SSLContext of a server"):
            await runtime.serve(ssl_context=context)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])  # noqa: S104
async def test_loopback_only(host: str) -> None:
    """Unless somebody checks tokens, nobody outside this machine can be let in by mistake."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match="loopback"):
            await runtime.serve(host)


async def test_everywhere_with_authenticate() -> None:
    """With somebody who checks tokens, any address may be bound."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        return credentials.token

    async with served({"host": "0.0.0.0"}, authenticate=authenticate) as server:  # noqa: S104
        assert isinstance(server.address, tuple)
        async with connected(("127.0.0.1", server.address[1])) as peer:
            await deliver(server, peer)


async def test_address_in_use() -> None:
    """An address that is taken is an error of the call, and leaves nothing open."""
    async with served() as server:
        assert isinstance(server.address, tuple)
        with pytest.raises(OSError, match="in use"):
            await server.runtime.serve(*server.address)


# --- paths ----------------------------------------------------------------------


async def test_a_socket_left_behind_is_taken_over(tmp_path: Path) -> None:
    """A Unix socket whose server was killed does not stand in the way; one whose server answers does."""
    path = tmp_path / "actors.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with served({"path": path}) as server:
        async with server.peer() as peer:
            await peer.attach("alice")
        with pytest.raises(OSError, match="in use"):
            await server.runtime.serve(path=path)


async def test_a_path_that_another_server_took_over_stays(tmp_path: Path) -> None:
    """A server removes its own file only: not one that has another server's socket behind it by now."""
    path = tmp_path / "actors.sock"
    async with served() as other:
        async with served({"path": path}):
            path.unlink()
            await other.nursery.start(partial(other.runtime.serve, path=path))
        assert path.is_socket()
        async with connected(str(path)) as peer:
            await peer.attach("alice")
    assert not path.exists()


async def test_a_path_is_free_as_soon_as_nobody_is_taken(tmp_path: Path) -> None:
    """A server that drains leaves its path to the next at once, and does not remove what the next has put there."""
    path = tmp_path / "actors.sock"
    async with served() as other:
        async with served({"path": path}) as server:
            await server.runtime.drain(PATIENCE_SECONDS)
            assert not path.exists()
            await other.nursery.start(partial(other.runtime.serve, path=path))
        async with connected(str(path)) as peer:
            await peer.attach("alice")


async def test_a_busy_server_keeps_its_path(tmp_path: Path) -> None:
    """A server that has too many callers at once to answer another is there: its path is not taken over."""
    path = tmp_path / "actors.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as caller:
        busy.bind(str(path))
        busy.listen(0)
        caller.connect(str(path))
        async with actors.open_runtime() as runtime:
            with pytest.raises(OSError, match="in use"):
                await runtime.serve(path=path)
    assert path.exists()


# --- what it survives -----------------------------------------------------------


async def test_no_descriptors_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """When the system has no room for another connection the server says so, once in a while, waits, and goes on."""
    accept = socket.socket.accept
    errors = [errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOMEM, errno.EMFILE, errno.EMFILE]

    def failing(listener: socket.socket) -> tuple[socket.socket, object]:
        if errors:
            number = errors.pop(0)
            raise OSError(number, errno.errorcode[number])
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", failing)
    async with served(limits=actors.Limits(accept_retry_seconds=0.01)) as server, server.peer() as peer:
        await deliver(server, peer)
        assert errors == []
        said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("accept:")]
        assert len(said) == 3


async def test_a_broken_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no retry mends comes out of serve."""

    def failing(_: socket.socket) -> tuple[socket.socket, object]:
        raise OSError(errno.EINVAL, "not a listener")

    async def listen() -> None:
        async with served() as server, server.peer():
            await trio.sleep_forever()

    monkeypatch.setattr(socket.socket, "accept", failing)
    with pytest.raises(BaseExceptionGroup) as caught:
        await listen()
    matched, rest = caught.value.split(OSError)
    assert matched is not None
    assert rest is None


# --- how it ends ----------------------------------------------------------------


async def test_one_of_two_doors() -> None:
    """A listener that is cancelled says goodbye to its own clients, and to nobody else's."""
    async with served() as server, server.peer() as stays, trio.open_nursery() as nursery:
        other = await nursery.start(server.runtime.serve)
        async with connected(other) as goes:
            await stays.attach("alice")
            await goes.attach("alice")
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert (await goes.farewell() or (0, ""))[0] == 1012
                await server.emit(1)
                assert (await stays.next_event())["offset"] == 1


# --- by itself ------------------------------------------------------------------


@attrs.define
class Hall:
    """A receiver that lets its guests sit, and says goodbye to none."""

    refusing: trio.Event = attrs.field(factory=trio.Event)
    closing: trio.Event = attrs.field(factory=trio.Event)
    seated: list[Endpoint] = attrs.field(factory=list)
    elsewhere: int = 0

    @property
    def handshakes(self) -> int:
        return len(self.seated) + self.elsewhere

    def receive(
        self,
        endpoint: Endpoint,
        nursery: Starter,
        *,
        on_gone: Callable[[], object],
        shield: bool,
        arrival: Arrival,
    ) -> Visit:
        self.seated.append(endpoint)
        visit = Visit(endpoint, self, nursery=nursery, on_gone=on_gone, shield=shield, arrival=arrival)
        visit.begin()
        return visit

    async def welcome(self, visit: Visit) -> bool:
        await trio.sleep_forever()
        return False

    async def see_off(self, visit: Visit) -> None:
        visit.endpoint.close()
        self.seated.remove(visit.endpoint)

    def report(self, visit: Visit, error: BaseException) -> None:
        raise error

    def say_goodbye(self, endpoint: Endpoint) -> bool:
        return False


@asynccontextmanager
async def listening(hall: Hall, **limits: Any) -> AsyncIterator[tuple[Listener, tuple[str, int], trio.Nursery]]:
    listener = Listener(context_of(**limits), hall, private=True)

    async def serve(task_status: trio.TaskStatus[Any]) -> None:
        await listener.serve(Place(), task_status)

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            yield listener, await nursery.start(serve), nursery


async def test_guests_leave_with_their_door() -> None:
    """A door that is cancelled ends the guests that are no connections at once, and is shut."""
    hall = Hall()
    async with listening(hall) as (listener, address, nursery):
        stream = await trio.open_tcp_stream(*address)
        while not hall.seated:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert hall.seated == []
    await listener.wait_shut()
    assert await stream.receive_some(1) == b""
    await stream.aclose()


async def test_a_server_that_refuses_keeps_its_guests() -> None:
    """Once the server refuses the door is shut, and its guests stay until the server closes."""
    hall = Hall()
    async with listening(hall) as (listener, address, _), await trio.open_tcp_stream(*address):
        while not hall.seated:
            await trio.lowlevel.checkpoint()
        hall.refusing.set()
        await listener.wait_shut()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(*address)
        assert len(hall.seated) == 1
        hall.closing.set()
    assert hall.seated == []


async def test_a_socket_that_is_closed_unread_is_told() -> None:
    """One too many is told with no status, and counted, because nothing else would say why its client got nothing."""
    limits = actors.Limits(handshakes=1)
    async with served(limits=limits) as server, server.peer() as first:
        await first.send(b"GET /ws")
        while not server.runtime.statistics().handshakes:  # noqa: ASYNC110 - a handshake has nothing to wait for
            await trio.sleep(0.001)
        async with server.peer() as second:
            assert await second.stream.receive_some(1) == b""
        assert server.runtime.statistics().handshakes_refused == {(0, "too_many"): 1}


async def test_one_handshake_too_many() -> None:
    """As many handshakes as may be at once, wherever the others came in: the next socket is closed unread."""
    hall = Hall(elsewhere=1)
    async with listening(hall, handshakes=1) as (_, address, nursery):
        async with await trio.open_tcp_stream(*address) as stream:
            assert await stream.receive_some(1) == b""
        assert hall.seated == []
        nursery.cancel_scope.cancel()


# --- behind a proxy --------------------------------------------------------------


async def test_below_a_prefix() -> None:
    """Behind a proxy that passes on whole paths, everything is below the prefix, and nothing elsewhere."""
    async with served({"prefix": "/live/chat"}, pages={"/x": Page(b"x", "text/plain")}) as server:
        async with server.peer() as peer:
            answer = await peer.ask(upgrade_request(ACTORS, path="/live/chat/ws?a=b"))
            assert answer.status == 101
            await peer.hello("alice")
        for path in ("/live/chat/healthz", "/live/chat/x"):
            assert (await ask(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))[0] == 200
        for path in ("/ws", "/healthz", "/live/chat", "/live/chatws", "/live/chat/chat/ws", "/live/chat//ws", "/x"):
            status, text = await ask(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (status, path in text) == (404, True)
            assert "expected one of /live/chat/ws, /live/chat/healthz, /live/chat/x, got" in text


@pytest.mark.parametrize("prefix", ["live", "/", "/live/", "//live", "/li ve", "/live?", "/é", "/live\n"])
async def test_no_prefix(prefix: str) -> None:
    """What no request begins with is refused before anything listens."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match="prefix: expected"):
            await runtime.serve(prefix=prefix)
        with pytest.raises(TypeError, match="prefix: expected"):
            await runtime.serve(prefix=b"/live")  # type: ignore[arg-type] # a mistake of a host
