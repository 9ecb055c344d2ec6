"""The publisher of the peers that are brokers: a process beside the broker, on the load client's core.

A broker's events come from outside, over TCP; receiving them is part of the broker's work, and making them is not.
So that this process takes little of the core that it shares with the load client, all packets are built before the
start, and those of one tick are written together.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from benchmarks import process
from benchmarks.schedule import TICK_SECONDS, Feed, Schedule

START_SECONDS = 10.0
RECEIVE_BYTES = 1 << 20


def free_port() -> int:
    """Return a port that is free now, for a broker that cannot choose one itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def broker(
    command: list[str], config: Callable[[Path], str], port: int
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Run a broker with a configuration file in a folder of its own; yields it, and a connection to its port."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        path = folder / "broker.conf"
        path.write_text(config(folder))
        with subprocess.Popen(  # noqa: S603 - a program of the roster
            [*command, str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            try:
                with _connected(port, running) as stream:
                    yield running, stream
            finally:
                running.terminate()


def _connected(port: int, running: subprocess.Popen[bytes]) -> socket.socket:
    """Connect as soon as the broker listens."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            stream = socket.create_connection(("127.0.0.1", port), START_SECONDS)
        except ConnectionRefusedError:
            if running.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return stream


@attrs.define
class Publisher:
    """Ready packets, a turn each, and the confirmations that the broker owes for them."""

    stream: socket.socket
    packets: list[bytes]
    confirmations: Callable[[bytes], int]
    """Counts the confirmations in what the broker has sent; raises ConnectionError at anything else."""

    pending: bytearray = attrs.field(factory=bytearray)
    """Due, and not taken by the broker yet."""

    confirmed: int = 0
    stopped: bool = False

    def play(self, schedule: Schedule, port: int, pid: int) -> None:
        """Say that the broker is ready, publish each event when it is due, and return when the parent says stop.

        That may come before the end, because a broker over its limit takes and confirms no more.
        """
        process.write_line("ready", port, pid)
        start = process.wait_for_start()
        if start is None:
            return
        self.stream.setblocking(False)
        events, expected = Feed(schedule, start), schedule.turns * schedule.burst
        while not self.stopped and self.confirmed < expected:
            turns = events.turns_due()
            self.pending += b"".join(self.packets[turns.start : turns.stop])
            self._exchange()
            time.sleep(TICK_SECONDS if self.pending or events.finished else events.pause_seconds)
        if not self.stopped:
            process.wait_for_line()

    def _exchange(self) -> None:
        """Write what the broker takes, count what it has confirmed, and see whether the parent says stop."""
        writing = [self.stream] if self.pending else []
        readable, writable, _ = select.select([self.stream, sys.stdin], writing, [], 0)
        if writable:
            del self.pending[: self.stream.send(self.pending)]
        if self.stream in readable:
            self.confirmed += self.confirmations(self.stream.recv(RECEIVE_BYTES))
        self.stopped = sys.stdin in readable


def leave_the_server_core(cpu: int | None) -> None:
    """Move to the feeder's core, once the broker was started on the server's."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
