"""The answers to clients of the control socket while the event loop stands still: since when it does, and where.

A loop that some code blocks answers nothing, this socket included. The thread
of :mod:`actors.observability.lookout` sees that, and answers in its place.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Lock

import msgspec

_CLIENT_SECONDS = 0.1
"""Time for a client to say what it wants, and to take the answer."""


class StandstillAnswers:
    """Answers the clients of a listening socket, from a thread that is not the loop's."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener.dup()
        self._lock = Lock()
        """Held while the listener is used, so that it is not closed meanwhile, and its number another socket's."""

    def __repr__(self) -> str:
        return f"<StandstillAnswers {self._listener.fileno()}>"

    def answer(self, text: str) -> None:
        """Tell every client that waits to be accepted."""
        told = msgspec.json.encode({"error": {"name": "blocked", "text": text}}) + b"\n"
        with self._lock, suppress(OSError):  # none waits, or all is over
            while True:
                client, _ = self._listener.accept()
                with client, suppress(OSError):
                    client.settimeout(_CLIENT_SECONDS)
                    client.recv(65_536)
                    client.sendall(told)

    def close(self) -> None:
        """Answer no more."""
        with self._lock:
            self._listener.close()
