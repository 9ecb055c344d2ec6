"""The places of control sockets: a directory of this account alone, and a socket there for each process."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from actors.wire.listeners import alone_in

IS_SUPPORTED = hasattr(socket, "AF_UNIX") and hasattr(os, "geteuid")
"""False where there are no Unix sockets, as on Windows: then there is no control socket."""

_SUFFIX = ".sock"
_OPEN_TO_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class BadPlace(OSError):
    """A place in which a control socket would not be this account's alone."""


def runtime_directory(variables: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of this account's control sockets, which need not exist.

    ``$XDG_RUNTIME_DIR/trio-actors``; without that ``/run/trio-actors`` for root, and for other accounts one of their
    own in the folder for temporary files.
    """
    xdg = variables.get("XDG_RUNTIME_DIR", "")
    if Path(xdg).is_absolute():
        return Path(xdg) / "trio-actors"
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run/trio-actors")
    return Path(tempfile.gettempdir()) / f"trio-actors-{os.geteuid()}"


def default_path() -> Path:
    """Return the path of this process's control socket, where none is named."""
    return runtime_directory() / f"{os.getpid()}{_SUFFIX}"


def make_private(directory: Path) -> None:
    """Make a directory for this account alone, unless it is there. Raises :class:`BadPlace` for one that is not so.

    A link is not followed, because in a folder that others can write to it may be theirs.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    check_private(directory)


def check_private(directory: Path) -> None:
    """Raise :class:`BadPlace` for a directory that is not this account's alone, because what listens there may be
    another account's; FileNotFoundError for none."""
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise BadPlace(errno.ENOTDIR, f"expected a directory for the control socket, got something else: {directory}")
    if status.st_uid != os.geteuid():
        text = f"expected a directory of this account for the control socket, got one of uid {status.st_uid}"
        raise BadPlace(errno.EPERM, f"{text}: {directory}")
    if status.st_mode & _OPEN_TO_OTHERS:
        text = "expected a directory that only this account can write to for the control socket"
        raise BadPlace(errno.EPERM, f"{text}, got mode {stat.S_IMODE(status.st_mode):04o}: {directory}")


def sockets() -> tuple[list[Path], list[Path]]:
    """Return the control sockets of this account's processes that listen, and those that killed ones have left."""
    live: list[Path] = []
    dead: list[Path] = []
    try:
        # A file that is no socket answers as a dead one does, and is not ours to remove.
        found = sorted(path for path in runtime_directory().glob(f"*{_SUFFIX}") if path.is_socket())
    except OSError:
        return live, dead
    for path in found:
        state = _connect(path)
        if state in (0, errno.EAGAIN):
            live.append(path)
        elif state == errno.ECONNREFUSED:
            dead.append(path)
    return live, dead


async def clear() -> None:
    """Remove the sockets that killed processes have left. Raises OSError where another process keeps the directory
    locked."""
    async with alone_in(runtime_directory()):
        for path in sockets()[1]:
            path.unlink(missing_ok=True)


def _connect(path: Path) -> int:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            return probe.connect_ex(str(path))
        except OSError as error:  # a path that is too long for an address
            return error.errno or errno.EINVAL
