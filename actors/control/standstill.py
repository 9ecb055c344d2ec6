"""The answers to clients of the control socket while the event loop stands still: since when it does, and where.

A loop that some code blocks answers nothing, this socket included. The thread
of :mod:`actors.observability.lookout` sees that, and answers in its place.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Lock

import msgspec

from actors.wire.forks import close_in_children

_CLIENT_SECONDS = 0.1
"""Time for a client to say what it wants, and to take the answer."""


class StandstillAnswers:
    """Answers the clients of a listening socket, from a thread that is not the loop's."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener.dup()
        close_in_children(self._listener)
        self._is_over = False
        self._lock = Lock()
        """Held while the listener is used, so that it is not closed meanwhile, and its number another socket's."""

    def __repr__(self) -> str:
        return f"<StandstillAnswers {self._listener.fileno()}>"

    def answer(self, text: str) -> bool:
        """Tell one client that waits to be accepted; false if none does.

        One, because the loop may go on at any moment, and answers the others better.
        """
        told = msgspec.json.encode({"error": {"name": "blocked", "text": text}}) + b"\n"
        with self._lock:
            is_told = not self._is_over and self._answer_one(told)
        self._close_if_over()
        return is_told

    def close(self) -> None:
        """Answer no more. Never waits, because the loop calls it: a client that is being answered is answered first,
        and the thread closes the listener then."""
        self._is_over = True
        self._close_if_over()

    def _answer_one(self, told: bytes) -> bool:
        try:
            client, _ = self._listener.accept()
        except OSError:  # none waits
            return False
        with client, suppress(OSError):
            client.settimeout(_CLIENT_SECONDS)
            client.recv(65_536)
            client.sendall(told)
        return True

    def _close_if_over(self) -> None:
        # Looked at by both after the lock was let go, so that one of them finds it free.
        if self._is_over and self._lock.acquire(blocking=False):
            self._listener.close()
            self._lock.release()
