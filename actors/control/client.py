"""A client of the control socket, without an event loop: for the commands, which ask one thing and end."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from actors.control.answers import TraceLine
from actors.control.places import IS_SUPPORTED, BadPlace, check_private, runtime_directory, sockets
from actors.control.requests import Request, Trace

T = TypeVar("T", bound=msgspec.Struct)

ANSWER_SECONDS = 5.0
"""Time for an answer: a server whose loop stands still for as long is in trouble, and that is the answer."""

_WATCH_SECONDS = 3.0
"""Time for the watch over standstills to answer: it looks every half second."""

_CREDENTIALS = struct.Struct("3i")


class NoServer(Exception):
    """No server, or several, where one was expected; the text says which there are."""


class NoAnswer(Exception):
    """A server that does not answer; the text says what that means."""


class RequestRefused(Exception):
    """A request that the server does not carry out."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


def find() -> Path:
    """Return the socket of the one server of this account that runs. Raises :class:`NoServer`."""
    if not IS_SUPPORTED:
        raise NoServer("expected a system with Unix sockets, on which servers have a control socket")
    directory = runtime_directory()
    try:
        check_private(directory)
    except BadPlace as error:  # what listens there may be another account's, and answer what it likes
        raise NoServer(str(error.strerror)) from None
    except OSError:
        pass  # there is none, and so no server
    live, dead = sockets()
    if len(live) == 1:
        return live[0]
    if not live:
        killed = f" any more, and what {dead[0].name} belonged to was killed" if dead else ""
        text = f"no server of this account listens in {directory}{killed}"
        raise NoServer(f"{text}; --control PATH names a socket elsewhere")
    names = ", ".join(map(str, live))
    raise NoServer(f"{len(live)} servers run here; --control PATH names one of them: {names}")


class Client:
    """One conversation with a server."""

    def __init__(self, path: Path, *, seconds: float = ANSWER_SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(str(path))
        except (OSError, ValueError) as error:
            self._socket.close()
            raise NoServer(f"cannot connect to {path}: {_reason(error)}") from None
        self._file = self._socket.makefile("rb")

    def __repr__(self) -> str:
        return f"<Client of {self._path}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the conversation."""
        self._file.close()
        self._socket.close()

    def ask(self, request: Request, kind: type[T]) -> T:
        """Ask, and return the answer. Raises :class:`NoAnswer` and :class:`RequestRefused`."""
        return msgspec.convert(self.ask_json(request), kind)

    def ask_json(self, request: Request) -> Any:
        """Ask, and return the answer as the JSON that came; raises as :meth:`ask`."""
        self._send(request)
        return self._read()["answer"]

    def trace(self, user_id: str) -> Iterator[TraceLine]:
        """Yield the lines of a trace, until the server ends. Raises as :meth:`ask`."""
        self._send(Trace(user_id=user_id))
        self._socket.settimeout(None)
        while line := self._file.readline():
            yield msgspec.convert(_checked(msgspec.json.decode(line))["line"], TraceLine)

    def _send(self, request: Request) -> None:
        try:
            self._socket.sendall(msgspec.json.encode(request) + b"\n")
        except OSError as error:
            raise NoAnswer(f"{self._path}: {_reason(error)}") from None

    def _read(self) -> dict[str, Any]:
        try:
            line = self._file.readline()
        except TimeoutError:
            raise NoAnswer(self._told_by_the_watch() or self._standstill()) from None
        except OSError as error:
            raise NoAnswer(f"{self._path}: {_reason(error)}") from None
        if not line.endswith(b"\n"):
            raise NoAnswer(f"{self._path}: expected an answer, the server has closed the connection")
        return _checked(msgspec.json.decode(line))

    def _told_by_the_watch(self) -> str | None:
        """Ask on another connection, which the watch over standstills answers where the loop had accepted this one."""
        try:
            with socket.socket(socket.AF_UNIX) as other:
                other.settimeout(min(self._seconds, _WATCH_SECONDS))
                other.connect(str(self._path))
                other.sendall(b"\n")
                told: dict[str, Any] = msgspec.json.decode(other.recv(65_536))
        except (OSError, msgspec.DecodeError):
            return None
        error = told.get("error") or {}
        text: str | None = error.get("text") if error.get("name") == "blocked" else None
        return text

    def _standstill(self) -> str:
        """Say what silence means: the kernel took the connection, so the process is there, and its loop is not."""
        process = self._process()
        which = "the server" if process is None else f"process {process}"
        text = f"{which} is there and has not answered for {self._seconds:g} s: its event loop stands still, because"
        text += " some code in it blocks (an agent that calls something synchronous?), or the process is stopped"
        return text if process is None else f"{text}; `py-spy dump --pid {process}` shows where"

    def _process(self) -> int | None:
        """Return the process that listens, where the system tells."""
        option = getattr(socket, "SO_PEERCRED", None)
        if option is None:
            return None
        process: int = _CREDENTIALS.unpack(self._socket.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))[0]
        return process


def _checked(told: dict[str, Any]) -> dict[str, Any]:
    if (error := told.get("error")) is not None and error["name"] == "blocked":
        raise NoAnswer(error["text"])
    if error is not None:
        raise RequestRefused(error["name"], error["text"])
    return told


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "no process listens there any more; the server that did was killed"
    if isinstance(error, OSError) and error.errno == errno.EAGAIN:
        return "so many wait there already that its event loop must stand still"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)
