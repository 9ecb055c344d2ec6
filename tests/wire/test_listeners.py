"""Listeners: what each takes away to get a path, what it leaves alone, and what it removes at its end."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors.wire import listeners
from tests.support.raw import connected
from tests.support.served import served

if sys.platform != "win32":
    import fcntl


def a_regular_file(path: Path) -> None:
    path.write_text("the only copy")


def an_empty_file(path: Path) -> None:
    path.touch()


def a_directory(path: Path) -> None:
    path.mkdir()


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_file(path: Path) -> None:
    a_regular_file(path.with_name("file"))
    path.symlink_to(path.with_name("file"))


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def a_link_to_a_dead_socket(path: Path) -> None:
    leave_dead(path.with_name("dead"))
    path.symlink_to(path.with_name("dead"))


def leave_dead(path: Path, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(socket.AF_UNIX, kind) as left:
        left.bind(str(path))


def listed(directory: Path) -> list[tuple[str, int, int]]:
    return sorted((each.name, each.lstat().st_ino, each.lstat().st_size) for each in directory.iterdir())


@pytest.mark.parametrize(
    ("lay", "came"),
    [
        (a_regular_file, "a regular file"),
        (an_empty_file, "a regular file"),
        (a_directory, "a directory"),
        (a_fifo, "a FIFO"),
        (a_link_to_a_file, "a symbolic link"),
        (a_link_to_nothing, "a symbolic link"),
        (a_link_to_a_dead_socket, "a symbolic link"),
    ],
)
async def test_what_is_no_socket_stays(lay: Callable[[Path], None], came: str, tmp_path: Path) -> None:
    """A file at the path that is no socket is refused by its name, and is there afterwards as it was."""
    path = tmp_path / "actors.sock"
    lay(path)
    before = listed(tmp_path)
    async with actors.open_runtime() as runtime:
        with pytest.raises(OSError, match=f"expected no file or a dead socket at {path}, got {came}") as caught:
            await runtime.serve(path=path)
        assert caught.value.errno == errno.EADDRINUSE
    assert listed(tmp_path) == before


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_a_dead_socket_goes(kind: socket.SocketKind, tmp_path: Path) -> None:
    """A socket that no process has any more does not stand in the way."""
    leave_dead(tmp_path / "actors.sock", kind)
    async with served({"path": tmp_path / "actors.sock"}) as server, server.peer() as peer:
        await peer.attach("alice")


async def test_a_socket_of_another_kind_stays(tmp_path: Path) -> None:
    """A socket in use is left alone, although it takes no connections."""
    path = tmp_path / "actors.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        async with actors.open_runtime() as runtime:
            with pytest.raises(OSError, match="got a socket that is in use"):
                await runtime.serve(path=path)
    assert path.is_socket()


async def test_a_socket_that_may_not_be_asked_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket with permissions that forbid to ask whether a server answers is left alone, with the reason."""
    path = tmp_path / "actors.sock"
    leave_dead(path)
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: errno.EACCES)  # root may ask any
    async with actors.open_runtime() as runtime:
        with pytest.raises(OSError, match=r"got a socket that is in use \(Permission denied\)"):
            await runtime.serve(path=path)
    assert path.is_socket()


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
async def test_two_servers_at_one_dead_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """While another server takes a path over this one waits; and looks at what is there only then."""
    path = tmp_path / "actors.sock"
    leave_dead(path)
    directory = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(partial(runtime.serve, path=path))
        await trio.sleep(0.5)
        with socket.socket(socket.AF_UNIX) as probe:
            assert probe.connect_ex(str(path)) == errno.ECONNREFUSED
        os.close(directory)
        await trio.sleep(0.1)
        with socket.socket(socket.AF_UNIX) as probe:
            assert probe.connect_ex(str(path)) == 0
        nursery.cancel_scope.cancel()


async def test_a_lock_for_good(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A directory that stays locked raises, and nothing in it is touched."""
    path = tmp_path / "actors.sock"
    leave_dead(path)
    directory = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    try:
        async with actors.open_runtime() as runtime:
            with pytest.raises(OSError, match="unlocked, another process holds its lock"):
                await runtime.serve(path=path)
    finally:
        os.close(directory)
    assert path.is_socket()


async def test_what_took_its_place_stays(tmp_path: Path) -> None:
    """At its end a server removes the file that it made, and nothing that lies in its place by then."""
    path = tmp_path / "actors.sock"
    async with served({"path": path}):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"
    path.unlink()
    async with served({"path": path}):
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")
    assert path.is_symlink()
    assert (tmp_path / "moved").is_socket()


async def test_a_relative_path_is_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path stands for where the process was when it began to listen."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    async with served({"path": "actors.sock"}) as server:
        assert server.address == "actors.sock"
        monkeypatch.chdir(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "actors.sock").write_text("mine")
    assert not (tmp_path / "actors.sock").exists()
    assert (tmp_path / "elsewhere" / "actors.sock").read_text() == "mine"


@pytest.mark.parametrize("path", ["", b"", "a\0b", "\0a\0b"])
async def test_what_is_no_path(path: str) -> None:
    """A value that can be no socket's path is refused before anything is made of it."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match="path: expected the path of a socket, got"):
            await runtime.serve(path=path)


@pytest.mark.parametrize("name", ["x" * 120, "é" * 60])
async def test_a_path_that_is_too_long(name: str) -> None:
    """A path has a bound of its own, in bytes, and the error names it; up to it a path is served."""
    with TemporaryDirectory(dir="/tmp") as directory:
        async with actors.open_runtime() as runtime:
            text = f"path: expected at most {listeners.PATH_BYTES} bytes, .*, got {len(name.encode()) + 1}"
            with pytest.raises(ValueError, match=text):
                await runtime.serve(path=f"/{name}")
        longest = Path(directory) / ("x" * (listeners.PATH_BYTES - len(directory) - 1))
        async with served({"path": longest}) as server, server.peer() as peer:
            await peer.attach("alice")


async def test_a_path_where_nothing_can_be(tmp_path: Path) -> None:
    """An error of the system names the path."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(FileNotFoundError, match=r"missing/actors\.sock"):
            await runtime.serve(path=tmp_path / "missing" / "actors.sock")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="abstract addresses are Linux's")
async def test_an_abstract_address() -> None:
    """An abstract address is served like a path, and leaves no file, nor takes one away."""
    name = f"\0actors-{os.getpid()}"
    async with served({"path": name}) as server:
        assert server.address == name
        async with connected(name) as peer:
            await peer.attach("alice")
        with pytest.raises(OSError, match="in use"):
            await server.runtime.serve(path=name)


@pytest.mark.parametrize("port", [-1, 65_536, True, "8765", 80.0])
async def test_what_is_no_port(port: int) -> None:
    """A port is a whole number that a port can have."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match="port: expected a number from 0 to 65535, got"):
            await runtime.serve(port=port)


async def test_a_path_in_bytes(tmp_path: Path) -> None:
    """A path in bytes is a path."""
    async with served({"path": os.fsencode(tmp_path / "actors.sock")}) as server, server.peer() as peer:
        await peer.attach("alice")


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o777), (0o022, 0o755), (0o027, 0o750)])
async def test_who_may_connect(
    umask: int, mode: int, tmp_path: Path, restored_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While tokens are not checked a socket is for this account alone, from the beginning; else the umask decides."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        return "alice"

    at_birth: list[int] = []
    bind = socket.socket.bind

    def noting(self: socket.socket, address: str) -> None:
        bind(self, address)
        at_birth.append(Path(address).stat().st_mode & 0o777)

    monkeypatch.setattr(socket.socket, "bind", noting)
    os.umask(umask)
    path = str(tmp_path / "actors.sock")
    async with served({"path": path}) as server, server.peer() as peer:
        await peer.attach("alice")
    async with served({"path": path}, authenticate=authenticate):
        pass
    leave_dead(tmp_path / "actors.sock")
    async with served({"path": path}):
        pass
    assert at_birth == [0o600, mode, mode, 0o600]
    assert os.umask(umask) == umask


@pytest.fixture
def restored_umask() -> Iterator[None]:
    """Puts the process's umask back."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("where", [{"port": 5}, {"port": "0"}, {"host": "127.0.0.1"}, {"host": "::1", "port": 5}])
async def test_a_path_and_a_port(where: dict[str, Any], tmp_path: Path) -> None:
    """A server listens at a path or on a port: of both none is ignored."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match=r"expected a path, or a host and a port, got .* and the (host|port)"):
            await runtime.serve(path=tmp_path / "actors.sock", **where)
    assert not listed(tmp_path)
