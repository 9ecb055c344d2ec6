"""The control socket: what it answers, to whom, and what a bad client costs."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

import actors
from actors import control
from actors.control import requests
from actors.control import socket as module
from actors.control.socket import CLIENTS, REQUEST_BYTES
from tests.control.opened import opened


async def test_a_conversation(tmp_path: Path) -> None:
    """Each line is answered by a line, on one connection or on several."""
    async with opened(tmp_path / "s") as server:
        await server.runtime.thread("t1").emit("x", {}, event_id="e1", user_id="alice")
        async with server.client() as line:
            await line.say(b'{"op":"why","user_id":"alice"}\n{"op":"explain","event')
            assert (await line.read())["answer"]["cause"] == "away"
            await line.say(b'_id":"e1"}\n')
            assert (await line.read())["answer"]["stage"] == "stored"
        assert (await server.ask(op="status"))["answer"]["pid"] == os.getpid()


async def test_errors_are_clear(tmp_path: Path) -> None:
    """What is no request, and what cannot be done, is said; the conversation goes on."""
    async with opened(tmp_path / "s") as server, server.client() as line:
        await line.say(b"hello\n")
        error = (await line.read())["error"]
        assert (error["name"], error["text"][:33]) == ("bad_request", "expected a request as a line of J")
        await line.say(b'{"op":"release","path":"users/alice"}\n')
        assert "quarantined" in (await line.read())["error"]["text"]
        await line.say(b'{"op":"audit"}\n')
        assert (await line.read())["answer"]["balanced"] is True


async def test_a_request_is_bounded(tmp_path: Path) -> None:
    """One that does not end is refused, and its client let go."""
    async with opened(tmp_path / "s") as server, server.client() as line:
        await line.say(b"x" * (REQUEST_BYTES + 1))
        assert (await line.read())["error"]["name"] == "bad_request"
        assert await line.read() is None


async def test_so_many_at_once(tmp_path: Path) -> None:
    """One more is told so; when one goes, there is room again."""
    async with opened(tmp_path / "s") as server:
        streams = [await trio.open_unix_socket(str(server.path)) for _ in range(CLIENTS)]
        assert (await server.ask(op="audit"))["error"]["name"] == "busy"
        for stream in streams:
            await stream.aclose()
        while "error" in await server.ask(op="audit"):
            pass


async def test_a_client_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is let go after a while."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    async with opened(tmp_path / "s") as server, server.client() as line:
        assert await line.read() is None


async def test_a_client_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is let go, and meanwhile others are answered."""
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.01)
    async with opened(tmp_path / "s") as server:
        for number in range(200):
            server.runtime.failures.report(f"users/{number}", "a test", ValueError("x" * 2_000))
        async with server.client() as line:
            await line.say(b'{"op":"failures"}\n')
            with suppress(trio.BrokenResourceError):
                while (await server.ask(op="audit"))["answer"]["balanced"]:
                    await line.say(b"\n")


async def test_a_trace_ends_with_its_client(tmp_path: Path) -> None:
    """Lines come as things happen; when the client closes, nothing listens any more."""
    async with opened(tmp_path / "s") as server:
        async with server.client() as line:
            await line.say(b'{"op":"trace","user_id":"alice"}\n')
            while server.runtime.instruments.run_began is None or "Listening" not in repr(server.runtime.instruments):
                await trio.lowlevel.checkpoint()
            await server.runtime.bind("t1", "alice")
            assert (await line.read())["line"]["text"] == "thread t1 is bound to alice"
        while "Listening" in repr(server.runtime.instruments):
            await trio.lowlevel.checkpoint()


async def test_a_fault_of_a_query_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, its client let go, and the next one answered."""
    async with opened(tmp_path / "s") as server:
        with monkeypatch.context() as patch:
            patch.setattr(requests, "carry_out", lambda *_: 1 / 0)
            assert await server.ask(op="audit") is None
        assert [failure.path for failure in server.runtime.failures] == ["control"]
        assert (await server.ask(op="audit"))["answer"]["balanced"] is True


async def test_a_runtime_that_has_closed(tmp_path: Path) -> None:
    """A socket that outlives its runtime says so, or answers from its books."""
    async with trio.open_nursery() as nursery:
        async with actors.open_runtime() as runtime:
            path = await nursery.start(control.serve, runtime, tmp_path / "s")
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(b'{"op":"status"}\n')
            assert b'"state":"closed"' in await stream.receive_some()
        nursery.cancel_scope.cancel()


# --- its place --------------------------------------------------------------------


async def test_it_is_this_accounts_alone(tmp_path: Path) -> None:
    """The socket has mode 0600; the directory is made with 0700; at the end the socket is gone."""
    place = tmp_path / "new" / "s"
    async with opened(place):
        assert place.stat().st_mode & 0o777 == 0o600
        assert place.parent.stat().st_mode & 0o777 == 0o700
    assert not place.exists()


async def test_where_the_commands_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path it is one of this process's, and what killed processes have left goes."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    directory = tmp_path / "trio-actors"
    directory.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(directory / "1.sock"))
    async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:
        path = await nursery.start(control.serve, runtime)
        assert path == directory / f"{os.getpid()}.sock"
        assert [one.name for one in directory.iterdir()] == [path.name]
        nursery.cancel_scope.cancel()
    assert list(directory.iterdir()) == []


async def test_the_socket_of_a_killed_server_is_replaced(tmp_path: Path) -> None:
    """A dead one at the path is; a live one, and a file that is none, is refused and left as it is."""
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "s"))
    async with opened(tmp_path / "s") as server:
        with pytest.raises(OSError, match="got a socket that is in use"):
            await control.serve(server.runtime, tmp_path / "s")
        (tmp_path / "file").write_text("mine")
        with pytest.raises(OSError, match="got a regular file"):
            await control.serve(server.runtime, tmp_path / "file")
        assert (tmp_path / "file").read_text() == "mine"
        assert (await server.ask(op="audit"))["answer"]["balanced"] is True


@pytest.fixture
def open_to_all(tmp_path: Path) -> Iterator[Path]:
    """A directory that others can write to."""
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o777)
    yield directory
    directory.chmod(0o700)


async def test_places_that_are_refused(tmp_path: Path, open_to_all: Path) -> None:
    """A directory that others can write to, one that cannot be made, a path that is too long: each is said clearly."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match=r"expected at most 10[37] bytes, all that a Unix socket takes"):
            await control.serve(runtime, tmp_path / ("x" * 120))
        with pytest.raises(FileNotFoundError):
            await control.serve(runtime, tmp_path / "no" / "such" / "s")
        with pytest.raises(OSError, match="only this account can write to"):
            await control.serve(runtime, open_to_all / "s")


async def test_without_unix_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system that has none, it says so."""
    monkeypatch.setattr(module, "IS_SUPPORTED", False)
    async with actors.open_runtime() as runtime:
        with pytest.raises(OSError, match="expected a system with Unix sockets"):
            await control.serve(runtime, tmp_path / "s")


async def test_a_system_without_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client waits until there are some again; the socket goes on."""
    refused = 0
    with trio.socket.socket() as any_socket:
        kind = type(any_socket)
    real = kind.accept

    async def without_room(self: object) -> object:
        nonlocal refused
        if not refused:
            refused += 1
            raise OSError(24, "Too many open files")
        return await real(self)  # type: ignore[arg-type] # the method of the class, called as one

    monkeypatch.setattr(kind, "accept", without_room)
    async with opened(tmp_path / "s") as server:
        assert (await server.ask(op="audit"))["answer"]["balanced"] is True
    assert refused == 1
