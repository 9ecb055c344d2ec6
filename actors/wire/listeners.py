"""Sockets that listen: on every address of a name, or at a path, where only a dead socket is replaced."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path

import attrs
import trio

from actors.wire.forks import close_in_children

if sys.platform != "win32":
    import fcntl

PATH_BYTES = 107 if sys.platform.startswith("linux") else 103
"""The longest address of a Unix socket, without its final zero (unix(7))."""

_LOCK_SECONDS = 1.0
"""The longest wait for another server that takes a path over, which needs well under a millisecond."""
_LOOK_SECONDS = 0.01

_KINDS = (
    (stat.S_ISREG, "a regular file"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)


async def listen_tcp(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Open sockets that listen, not yet accepting; all on one port, where a name stands for several addresses.

    Raises ValueError for an impossible host or port, OSError when the address cannot be bound.
    """
    if not isinstance(host, str) or "\0" in host:
        raise ValueError(f"host: expected a name or an address, got {host!r}")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65_535:
        raise ValueError(f"port: expected a number from 0 to 65535, got {port!r}")
    addresses = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, _, _, _, address in addresses:
            bound = listeners[0].getsockname()[1] if listeners else port
            listeners.append(_bind(family, (address[0], bound, *address[2:]), backlog))
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


@attrs.frozen(kw_only=True)
class PathListener:
    """A Unix socket that listens, and the file at its path."""

    socket: socket.socket
    path: str
    """The path as the caller gave it; ``"\\0name"`` has no file (an abstract address)."""
    _file: Path | None = attrs.field(alias="file")
    _identity: tuple[int, int] | None = attrs.field(alias="identity")
    _process: int = attrs.field(alias="process")

    def remove(self) -> None:
        """Remove the socket's file, if it is still the one that was bound here.

        Call it while the socket still listens, because until then no process
        takes the path over, and no other file gets its inode. A forked child
        leaves it to its parent. A file that cannot be removed is harmless: the
        next server replaces it.
        """
        if self._file is not None and os.getpid() == self._process:
            with suppress(OSError):
                if _identity(self._file.lstat()) == self._identity:
                    self._file.unlink()


async def listen_path(path: str | bytes | os.PathLike[str], backlog: int, *, private: bool = False) -> PathListener:
    """Open a Unix socket at a path; a ``private`` one for this account alone (mode 0600), else as the umask says.

    An abstract address has no mode. The socket of a killed server is taken over; one that answers, and a file that
    is no socket, is not touched. Raises ValueError for an impossible path, OSError when it cannot be bound.
    """
    name = os.fsdecode(path)
    _check_path(name)
    if name.startswith("\0"):
        return PathListener(
            socket=_bind(socket.AF_UNIX, name, backlog), path=name, file=None, identity=None, process=os.getpid()
        )
    try:
        async with alone_in(Path(name).parent):
            with _private() if private else nullcontext():
                return _listen_at(name, backlog)
    except OSError as error:
        text = error.strerror or str(error)
        raise OSError(error.errno, text if name in text else f"{text}: {name}") from None


@asynccontextmanager
async def alone_in(directory: Path) -> AsyncIterator[None]:
    """Lock out other servers that would take over a path in this directory.

    Because a socket that is bound and does not listen yet looks like a dead
    one, and one that was dead a moment ago may be another server's by now. A
    directory that may not be read cannot be locked, and has these races.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:
        yield
        return
    try:
        await _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def shut(listener: socket.socket) -> None:
    """Close a listener, and wake the task that waits for it. No effect in a forked child, where it is closed."""
    if listener.fileno() >= 0:
        trio.lowlevel.notify_closing(listener)
        listener.close()


def _check_path(name: str) -> None:
    if not name or "\0" in name[1:]:
        raise ValueError(f"path: expected the path of a socket, got {name!r}")
    size = len(os.fsencode(name))
    if size > PATH_BYTES:
        raise ValueError(f"path: expected at most {PATH_BYTES} bytes, all that a Unix socket takes, got {size}: {name}")


async def _lock(descriptor: int, directory: Path) -> None:
    deadline = trio.current_time() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if trio.current_time() >= deadline:
                text = f"expected {directory} unlocked, another process holds its lock (flock)"
                raise OSError(errno.EADDRINUSE, text) from None
            await trio.sleep(_LOOK_SECONDS)
        else:
            return


@contextmanager
def _private() -> Iterator[None]:
    """Make the files of the block private to this account.

    By the umask, because a mode that is set afterwards leaves a moment in
    which every account may connect. The umask is the process's, so the block
    must not wait: a file that another thread makes meanwhile is too private,
    and never too open.
    """
    before = os.umask(0o777)
    try:
        os.umask(before | 0o177)
        yield
    finally:
        os.umask(before)


def _listen_at(name: str, backlog: int) -> PathListener:
    file = Path(name).absolute()  # the process may be elsewhere by the time it is removed
    listener = _bind_or_take_over(name, backlog)
    return PathListener(socket=listener, path=name, file=file, identity=_identity(file.lstat()), process=os.getpid())


def _bind_or_take_over(name: str, backlog: int) -> socket.socket:
    try:
        return _bind(socket.AF_UNIX, name, backlog)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    _check_dead(name)
    Path(name).unlink()
    return _bind(socket.AF_UNIX, name, backlog)


def _check_dead(name: str) -> None:
    """Raise OSError unless a path holds a socket that no process listens on."""
    status = Path(name).lstat()
    got = next((kind for is_kind, kind in _KINDS if is_kind(status.st_mode)), "something else")
    if stat.S_ISSOCK(status.st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)  # EAGAIN, from a server that is busy, shows that there is one
            answer = probe.connect_ex(name)
        if answer == errno.ECONNREFUSED:
            return
        reason = "" if answer in {0, errno.EAGAIN} else f" ({os.strerror(answer)})"
        got = f"a socket that is in use{reason}"
    raise OSError(errno.EADDRINUSE, f"expected no file or a dead socket at {name}, got {got}")


def _bind(family: int, address: object, backlog: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    close_in_children(listener)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)  # type: ignore[arg-type] # the family says what an address is
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
