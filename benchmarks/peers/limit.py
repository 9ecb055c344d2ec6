"""The limit: what one write of a ready frame for each event costs in Python, and nothing else.

One epoll loop, frames that were built before the start, and ``socket.send``. It reads what devices send and forgets
it. No server that makes its events while it runs can take less.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

import attrs

from benchmarks import process
from benchmarks.framing.rfc6455 import UPGRADE_RESPONSE, server_frame
from benchmarks.peers.events import ready_texts
from benchmarks.schedule import Feed, Schedule

RECEIVE_BYTES = 65_536


@attrs.define
class Limit:
    """The loop."""

    schedule: Schedule
    frames: list[list[tuple[int, bytes]]]
    listener: socket.socket
    epoll: select.epoll = attrs.field(factory=select.epoll)
    streams: dict[int, socket.socket] = attrs.field(factory=dict)
    users: dict[str, list[socket.socket]] = attrs.field(factory=dict)
    stopped: bool = False
    feed: Feed | None = None

    def run(self) -> None:
        """Serve until the parent says stop."""
        standard_input = sys.stdin.fileno()
        self.epoll.register(self.listener, select.EPOLLIN)
        self.epoll.register(standard_input, select.EPOLLIN)
        while not self.stopped:
            feeding = self.feed is not None and not self.feed.finished
            for number, _ in self.epoll.poll(0 if feeding else -1):
                if number == standard_input:
                    self.listen_to_parent()
                elif number == self.listener.fileno():
                    self.accept()
                else:
                    self.receive(number)
            if feeding and self.feed is not None:
                self.send_due(self.feed)
                time.sleep(self.feed.pause_seconds)

    def listen_to_parent(self) -> None:
        """Begin at its START, or stop."""
        start = process.wait_for_start()
        if start is None:
            self.stopped = True
        else:
            self.feed = Feed(self.schedule, start)

    def accept(self) -> None:
        """Accept one connection, and register it for its request."""
        stream, _ = self.listener.accept()
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.streams[stream.fileno()] = stream
        self.epoll.register(stream, select.EPOLLIN)

    def receive(self, number: int) -> None:
        """Answer a handshake, which here comes in one piece; forget anything else."""
        stream = self.streams[number]
        try:
            data = stream.recv(RECEIVE_BYTES)
        except ConnectionError:
            data = b""
        if data.startswith(b"GET /"):
            user = data.split(b" ", 2)[1].removeprefix(b"/").decode()
            self.users.setdefault(user, []).append(stream)
            stream.send(UPGRADE_RESPONSE)
        elif not data:
            self.epoll.unregister(number)
            del self.streams[number]
            for streams in self.users.values():
                if stream in streams:
                    streams.remove(stream)
            stream.close()

    def send_due(self, feed: Feed) -> None:
        """Send the frames that are due; one that does not fit raises, or is lost."""
        users, frames = self.users, self.frames
        for turn in feed.turns_due():
            for user, frame in frames[turn]:
                for stream in users[f"user-{user}"]:
                    stream.send(frame)


def main() -> None:
    """Build the frames, and serve."""
    schedule = process.begin(process.parser(__doc__).parse_args())
    frames = [[(user, server_frame(text)) for user, text in texts] for texts in ready_texts(schedule)]
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    process.write_line("ready", listener.getsockname()[1], os.getpid())
    Limit(schedule, frames, listener).run()


if __name__ == "__main__":
    main()
