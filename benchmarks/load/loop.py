"""The loop of the load client: one epoll object, from which each connection is opened and read."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator

import attrs

from benchmarks.load.connection import Connection, inbox_for_all
from benchmarks.load.totals import Totals

POLL_SECONDS = 0.01
CONNECT_SECONDS = 60.0
"""Time without any connection that becomes ready, after which the others are given up."""

AT_ONCE = 16
"""Connections that are opened at the same time, few because a run that begins is not to be a storm."""


@attrs.define
class Loop:
    """All connections of a process."""

    totals: Totals
    connections: list[Connection] = attrs.field(factory=list)
    open: dict[int, Connection] = attrs.field(factory=dict)
    inbox: bytearray = attrs.field(factory=inbox_for_all)
    epoll: select.epoll = attrs.field(factory=select.epoll)

    def start(self, connection: Connection) -> None:
        """Begin to open one connection."""
        connection.open()
        number = connection.socket.fileno()
        self.open[number] = connection
        self.epoll.register(number, select.EPOLLIN | select.EPOLLOUT)

    def connect(
        self, connections: Iterator[Connection], at_once: int, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        """Open connections, so many at a time, until each is ready. Raises ConnectionError.

        ``on_ready`` is called for each as soon as it is.
        """
        totals, opened, done, progressed = self.totals, 0, 0, time.monotonic()
        with memoryview(self.inbox) as window:
            while True:
                while opened - done < at_once and (one := next(connections, None)) is not None:
                    self.connections.append(one)
                    self.start(one)
                    opened += 1
                if done == opened:
                    return
                self.poll(window)
                for _ in range(len(totals.ready) - done):
                    on_ready()
                    done, progressed = done + 1, time.monotonic()
                if totals.lost_connections or time.monotonic() - progressed > CONNECT_SECONDS:
                    raise ConnectionError(f"expected {opened - done} more connections, got {totals.notes}")

    def poll(self, window: memoryview, seconds: float = POLL_SECONDS) -> bool:
        """Read every connection that is readable, or becomes so in that time; true if there was one."""
        ready = self.epoll.poll(seconds)
        for number, events in ready:
            connection = self.open[number]
            if events & select.EPOLLOUT and not connection.greeted:
                connection.greet()
                self.epoll.modify(number, select.EPOLLIN)
            if events & ~select.EPOLLOUT and not connection.closed:
                connection.receive(self.inbox, window)
            if connection.closed:
                self.drop(connection)
        return bool(ready)

    def drop(self, connection: Connection) -> None:
        """Forget a connection, and close its socket."""
        number = connection.socket.fileno()
        if self.open.pop(number, None) is not None:
            self.epoll.unregister(number)
        connection.close()
