"""The listener: where a server can be reached, and the sockets that come in there.

A *door* is what one call of ``serve`` opens: one address of each family that a
name stands for, or one path. Its *guests* are the sockets that were accepted
there. When the door is cancelled, its guests are told and closed, and those of
other doors are not.

An error of ``accept`` is one of three. The system has no room (no descriptors,
no memory): the listener waits and tries again, because that passes, and a
server that ended for it would have to be started by hand. The connection is
gone already: it takes the next. Anything else says that the socket does not
listen, which no retry mends: it propagates out of ``serve``.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Protocol

import attrs
import trio

from actors.checks import described
from actors.context import Context
from actors.kernel.bounded import LogThrottle
from actors.kernel.failures import log
from actors.kernel.task_set import Starter
from actors.server.origins import is_loopback
from actors.server.visit import Arrival, Visit
from actors.wire.endpoint import Endpoint, SocketEndpoint
from actors.wire.listeners import listen_path, listen_tcp, shut
from actors.wire.tls import TLSEndpoint, check_context

_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""The system has no room for another connection: wait, and try again."""

_GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EINTR})
"""The connection that was to be accepted is gone already (accept(2)): take the next."""

_PREFIX = re.compile(r"(/[!$&-.0-;=@-Z_a-z~%]+)+")
"""A path without an end of its own: segments of the characters that may stand in a request (RFC 3986, section 3.3)."""

_ACCEPTS_PER_TURN = 32
"""Accepted in a row; then other tasks have a turn, because a burst must not hold up those that are connected: each one
is a task, and its handshake takes 0.25 ms of the same turn."""


class Receiver(Protocol):
    """The server behind a listener, as the listener sees it."""

    refusing: trio.Event
    """Set once nothing more is accepted."""
    closing: trio.Event
    """Set once every connection is being ended."""

    @property
    def handshakes(self) -> int:
        """The sockets that are served and are no connections, or not yet."""
        ...

    def receive(
        self,
        endpoint: Endpoint,
        nursery: Starter,
        /,
        *,
        on_gone: Callable[[], object],
        shield: bool,
        arrival: Arrival,
    ) -> Visit:
        """Serve a socket from its first byte to its last, in tasks of a nursery; ``on_gone`` is called at the end."""
        ...

    def say_goodbye(self, endpoint: Endpoint, /) -> bool:
        """End the connection of a socket with ``shutting_down``; false if the socket is no connection."""
        ...


@attrs.frozen(kw_only=True)
class Place:
    """The place at which one call of ``serve`` listens, and how."""

    host: str = "127.0.0.1"
    port: int = 0
    path: str | bytes | os.PathLike[str] | None = None
    """A Unix socket's, in place of a host and a port."""
    ssl_context: ssl.SSLContext | None = None
    prefix: str = ""
    """The path below which clients ask."""


@attrs.define(eq=False, kw_only=True)
class _Door:
    """The listening sockets of one call of ``serve``, and its guests."""

    address: tuple[str, int] | str
    sockets: list[socket.socket]
    place: Place
    closing: ExitStack = attrs.field(factory=ExitStack)
    guests: dict[Endpoint, Visit] = attrs.field(factory=dict)


class Listener:
    """The doors of one server."""

    def __init__(self, context: Context, receiver: Receiver, *, private: bool) -> None:
        self._limits = context.limits
        self._clock = context.environment.clock
        self._instruments = context.instruments
        self._receiver = receiver
        self._private = private
        """Tokens are not checked: only this machine may connect, and at a path only this account."""
        self._doors: set[_Door] = set()
        self._full = LogThrottle(len(_FULL), self._limits.warning_seconds)
        self._departures = trio.lowlevel.ParkingLot()
        """Tasks that wait for guests to leave and for doors to be shut."""

    async def serve(self, place: Place, task_status: trio.TaskStatus[tuple[str, int] | str]) -> None:
        """Listen until cancelled, or until the server closes; then see the guests out."""
        if place.ssl_context is not None:
            check_context(place.ssl_context)
        check_prefix(place.prefix)
        if place.path is None and self._private and not is_loopback(place.host):
            text = f"expected a loopback address while tokens are not checked, got {place.host!r}; pass authenticate"
            raise ValueError(text)
        door = await self._open(place)
        with door.closing:
            async with trio.open_nursery() as nursery:
                try:
                    async with trio.open_nursery() as accepting:
                        for listener in door.sockets:
                            accepting.start_soon(self._accept, listener, door, nursery)
                        task_status.started(door.address)
                        await self._receiver.refusing.wait()
                        accepting.cancel_scope.cancel()
                    door.closing.close()
                    await self._receiver.closing.wait()
                finally:
                    door.closing.close()
                    await self._see_out(door)

    async def wait_shut(self) -> None:
        """Wait until every door is shut, once the server refuses."""
        while self._doors:
            await self._departures.park()

    # --- doors ------------------------------------------------------------------

    async def _open(self, place: Place) -> _Door:
        backlog = self._limits.accept_backlog
        if place.path is None:
            sockets = await listen_tcp(place.host, place.port, backlog)
            door = _Door(address=_address(sockets[0]), sockets=sockets, place=place)
            self._note(door)
        else:
            at_path = await listen_path(place.path, backlog, private=self._private)
            door = _Door(address=at_path.path, sockets=[at_path.socket], place=place)
            self._note(door)
            door.closing.callback(at_path.remove)  # the first thing to be done: while it still listens
        return door

    def _note(self, door: _Door) -> None:
        self._doors.add(door)
        door.closing.callback(self._forget, door)
        for listener in door.sockets:
            door.closing.callback(shut, listener)

    def _forget(self, door: _Door) -> None:
        self._doors.remove(door)
        self._departures.unpark_all()

    async def _see_out(self, door: _Door) -> None:
        """Tell the guests that are connections, end the others, and after a moment all."""
        for endpoint, visit in tuple(door.guests.items()):
            if not self._receiver.say_goodbye(endpoint):
                visit.cancel()
        with trio.move_on_after(self._limits.close_seconds * 2, shield=True):
            while door.guests:
                await self._departures.park()
        for visit in tuple(door.guests.values()):
            visit.cancel()

    # --- guests -----------------------------------------------------------------

    async def _accept(self, listener: socket.socket, door: _Door, nursery: trio.Nursery) -> None:
        """Accept for ever; see the head of this module for the errors that are retried."""
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(_ACCEPTS_PER_TURN):
                try:
                    sock, _address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _FULL:
                        await self._wait_for_room(error)
                    elif error.errno not in _GONE:
                        raise
                else:
                    self._take_in(sock, door, nursery)

    async def _wait_for_room(self, error: OSError) -> None:
        """Log that the system has no room, and of what, once in a period; then wait."""
        seconds = self._limits.accept_retry_seconds
        if self._full.take(error.errno, self._clock()) is not None:
            log(logging.ERROR, "accept: %s; trying again every %g s", error, seconds)
        await trio.sleep(seconds)

    def _take_in(self, sock: socket.socket, door: _Door, nursery: trio.Nursery) -> None:
        """Begin a guest's visit, or close its socket when there are as many handshakes as may be at once.

        Shielded, so that a cancelled door sees its guests out one by one.
        """
        if self._receiver.handshakes >= self._limits.handshakes:
            sock.close()
            if self._instruments.handshake_refused is not None:
                self._instruments.handshake_refused(0, "too_many", None)
            return
        endpoint: Endpoint = SocketEndpoint(sock)
        if door.place.ssl_context is not None:
            endpoint = TLSEndpoint(endpoint, door.place.ssl_context)
        door.guests[endpoint] = self._receiver.receive(
            endpoint,
            nursery,
            on_gone=partial(self._note_gone, endpoint, door),
            shield=True,
            arrival=Arrival(prefix=door.place.prefix),
        )

    def _note_gone(self, endpoint: Endpoint, door: _Door) -> None:
        del door.guests[endpoint]
        self._departures.unpark_all()


def check_prefix(prefix: object) -> None:
    """Raise TypeError for what is no text, ValueError for what no path begins with."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix: expected text such as '/live', got {described(prefix)}")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise ValueError(f"prefix: expected '' or a path such as '/live', as clients ask for it, got {prefix!r}")


def _address(listener: socket.socket) -> tuple[str, int]:
    name = listener.getsockname()
    return name[0], name[1]
