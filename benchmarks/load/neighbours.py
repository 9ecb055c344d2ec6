"""Bad neighbours: more devices of the measured users, which read too slowly or not at all, and reconnect."""

from __future__ import annotations

import argparse
import socket
import threading
import time

from benchmarks import process
from benchmarks.load.loop import Loop
from benchmarks.load.totals import Totals
from benchmarks.load.websocket import Actors

READ_BYTES = 4_096
"""Bytes that a slow device reads per second, several times less than it is sent."""


def opened(port: int, user: int) -> socket.socket:
    """Connect one device, up to its welcome."""
    loop = Loop(Totals())
    device = Actors(port, user, user, loop.totals)
    with loop.epoll:
        loop.connect(iter([device]), at_once=1)
    return device.socket


def live(port: int, user: int, *, reads: bool) -> None:
    """Run one device for ever."""
    while True:
        try:
            stream = opened(port, user)
        except OSError:
            time.sleep(0.1)
            continue
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
        linger(stream, reads=reads)


def linger(stream: socket.socket, *, reads: bool) -> None:
    """Read a little each second, or only detect that the server has ended the connection."""
    stream.settimeout(None)
    with stream:
        try:
            while stream.recv(READ_BYTES if reads else 1):
                time.sleep(1.0)
        except OSError:
            return


def main() -> None:
    """Start the devices, and run until the parent ends them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kind", choices=["slow", "stalled"], required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    for number in range(options.count):
        reads = options.kind == "slow"
        threading.Thread(target=live, args=(options.port, number), kwargs={"reads": reads}, daemon=True).start()
    process.write_line("connected")
    process.wait_for_line()


if __name__ == "__main__":
    main()
