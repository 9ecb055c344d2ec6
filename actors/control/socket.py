"""The control socket: requests as lines of JSON over a Unix socket that is this account's alone.

What a client does here costs the devices nothing: its request is bounded, it
has a deadline for each step, few are served at once, and a fault is its own.
"""

from __future__ import annotations

import errno
import os
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import msgspec
import trio

from actors.control import requests
from actors.control.places import IS_SUPPORTED, clear, default_path, make_private
from actors.control.standstill import StandstillAnswers
from actors.control.trace import Lines, trace
from actors.errors import ActorsError
from actors.kernel.failures import Barrier
from actors.runtime import Runtime
from actors.wire.forks import close_in_children
from actors.wire.listeners import PathListener, listen_path

REQUEST_BYTES = 8_192
"""One request: its ids, in the worst escapes."""

CLIENTS = 32
"""Clients at once, traces among them. People look, and a few programs."""

IDLE_SECONDS = 30.0
"""Time for a client to say what it wants next."""

WRITE_SECONDS = 10.0
"""Time for a client to take an answer, or a line of a trace."""

_BACKLOG = 16
_PAUSE_SECONDS = 0.1
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED})
_encode = msgspec.json.Encoder().encode


async def serve(
    runtime: Runtime,
    path: str | os.PathLike[str] | None = None,
    *,
    task_status: trio.TaskStatus[Path] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer the commands of this machine's account about a runtime, until cancelled.

    ``await nursery.start(actors.control.serve, runtime)`` returns the path of
    the socket. Without ``path`` it is one of this process's own, where the
    commands find it. Its directory is made, with mode 0700, if only its parent
    is there. The socket of a process that was killed is replaced; at the end
    it is removed.

    Raises OSError where there are no Unix sockets, for a path that is in use,
    and for a directory that is another account's or that others can write to;
    ValueError for a path that is longer than a Unix socket takes.
    """
    if not IS_SUPPORTED:
        raise OSError(errno.EAFNOSUPPORT, "expected a system with Unix sockets for the control socket")
    place = default_path() if path is None else Path(path)
    make_private(place.parent)
    if path is None:
        await clear()
    listener = await listen_path(place, _BACKLOG, private=True)
    await _serve(runtime, listener, task_status)


async def _serve(runtime: Runtime, listener: PathListener, task_status: trio.TaskStatus[Path]) -> None:
    sock = trio.socket.from_stdlib_socket(listener.socket)
    try:
        # Within, because it takes a descriptor, and there may be none left.
        with closing(StandstillAnswers(listener.socket)) as meanwhile, runtime.tree.lookout.answering(meanwhile.answer):
            async with trio.open_nursery() as nursery:
                task_status.started(Path(listener.path))
                await _accept(sock, Door(runtime), nursery)
    finally:
        listener.remove()
        sock.close()


async def _accept(sock: trio.socket.SocketType, door: Door, nursery: trio.Nursery) -> None:
    while True:
        try:
            client, _ = await sock.accept()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            await trio.sleep(_PAUSE_SECONDS)
        else:
            close_in_children(client)
            nursery.start_soon(door.welcome, trio.SocketStream(client))


class Door:
    """Serves the clients of one socket, so many at once."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._clients = 0

    def __repr__(self) -> str:
        return f"<Door of {self._runtime!r}, {self._clients} clients>"

    async def welcome(self, stream: trio.SocketStream) -> None:
        """Serve one client to its end. A fault in it is reported, and ends it alone."""
        self._clients += 1
        try:
            async with stream:
                with Barrier(self._report), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    if self._clients > CLIENTS:
                        await _say(stream, _refusal("busy", f"expected at most {CLIENTS} clients at once, got more"))
                    else:
                        await self._converse(stream)
        finally:
            self._clients -= 1

    def _report(self, error: BaseException) -> None:
        self._runtime.failures.report("control", "a request", error)

    async def _converse(self, stream: trio.SocketStream) -> None:
        reader = LineReader(stream)
        while True:
            line: bytes | None = None
            with trio.move_on_after(IDLE_SECONDS):
                line = await reader.read()
            if line is None:
                return
            if not await self._answer(stream, line):
                return

    async def _answer(self, stream: trio.SocketStream, line: bytes) -> bool:
        """Answer one request; false if the client takes nothing more."""
        if len(line) > REQUEST_BYTES:
            await _say(stream, _refusal("bad_request", f"expected a line of at most {REQUEST_BYTES} bytes, got more"))
            return False
        try:
            request = requests.read(line)
            if isinstance(request, requests.Trace):
                await self._trace(stream, request.user_id)
                return False
            told = _encode({"answer": requests.carry_out(self._runtime, request)})
        except ValueError as error:
            told = _refusal("bad_request", str(error))
        except ActorsError as error:
            told = _refusal("closed", str(error))
        return await _say(stream, told)

    async def _trace(self, stream: trio.SocketStream, user_id: str) -> None:
        """Send lines until the client closes, or says anything more."""
        with trace(self._runtime, user_id) as lines:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(_tell, stream, lines, nursery.cancel_scope))
                with suppress(trio.BrokenResourceError):
                    await stream.receive_some(1)
                nursery.cancel_scope.cancel()


async def _tell(stream: trio.SocketStream, lines: Lines, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError):
        async for line in lines:
            if not await _say(stream, _encode({"line": line})):
                break
    scope.cancel()


async def _say(stream: trio.SocketStream, text: bytes) -> bool:
    """Send a line; false if the client did not take it in time."""
    with trio.move_on_after(WRITE_SECONDS) as patience:
        await stream.send_all(text + b"\n")
    return not patience.cancelled_caught


def _refusal(name: str, text: str) -> bytes:
    return _encode({"error": {"name": name, "text": text}})


class LineReader:
    """The lines of one client."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._left = b""

    def __repr__(self) -> str:
        return f"<LineReader {len(self._left)} bytes left>"

    async def read(self) -> bytes | None:
        """Return the next line, ``None`` at the end; of one that is too long, more than :data:`REQUEST_BYTES` of it."""
        while b"\n" not in self._left:
            if len(self._left) > REQUEST_BYTES:
                return self._left
            came = await self._stream.receive_some(REQUEST_BYTES)
            if not came:
                return None
            self._left += came
        line, _, self._left = self._left.partition(b"\n")
        return line
