"""Standstills: a thread that sees when the event loop stands still, and says in which line of code.

A loop that some code blocks answers no client, the control socket included, and
afterwards knows only that it was late. So a thread looks at it from outside,
once a second; while it stands, the thread answers the clients of the socket.
"""

from __future__ import annotations

import logging
import socket
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import msgspec
import trio

from actors.control.causes import clock
from actors.kernel.failures import log, printable

_LOOK_SECONDS = 1.0
_LOOKS = 2
"""Looks at which the loop has not moved, before it is said to stand still: a garbage collection takes less."""
_CLIENT_SECONDS = 0.5
_OURS = (str(Path(__file__).parents[1]), str(Path(trio.__file__).parent), sysconfig.get_paths()["stdlib"])
"""Folders whose code is not to blame for what it was called to do."""


class StandstillWatch:
    """Watches the loop of the thread in which it is made."""

    def __init__(
        self, listener: socket.socket, wall_clock: Callable[[], float], *, on_over: Callable[[str], object]
    ) -> None:
        self._listener = listener
        self._wall_clock = wall_clock
        self._on_over = on_over
        self._thread = threading.get_ident()
        self._ended = threading.Event()
        self._beats = 0
        self._beat_at = wall_clock()
        self._where: str | None = None
        """The line in which the loop stands, while it does."""

    def __repr__(self) -> str:
        return f"<StandstillWatch {'moves' if self._where is None else self._where}>"

    def begin(self) -> None:
        """Have a thread watch the beat from now on; :meth:`run` must follow."""
        # A copy, so that the thread never has the descriptor of another socket in hand.
        copy = self._listener.dup()
        threading.Thread(target=self._watch, args=(copy,), name="standstill", daemon=True).start()

    async def run(self) -> None:
        """Beat until cancelled; then the thread ends."""
        try:
            while True:
                await trio.sleep(_LOOK_SECONDS / 2)
                self._beat()
        finally:
            self._ended.set()

    def _beat(self) -> None:
        before, now = self._beat_at, self._wall_clock()
        self._beats, self._beat_at = self._beats + 1, now
        where, self._where = self._where, None
        if where is not None:
            self._on_over(f"stood still for {now - before:.1f} s at {clock(before)}, {where}")

    # --- in the thread ------------------------------------------------------------

    def _watch(self, listener: socket.socket) -> None:
        with listener:
            seen, looks = -1, 0
            while not self._ended.wait(_LOOK_SECONDS if looks < _LOOKS else _CLIENT_SECONDS):
                looks = looks + 1 if seen == self._beats else 0
                seen = self._beats
                if looks >= _LOOKS:
                    self._tell(listener)

    def _tell(self, listener: socket.socket) -> None:
        """Log where the loop stands, once, and tell the clients that wait."""
        is_new, where = self._where is None, _place_of(sys._current_frames().get(self._thread))
        self._where = where
        since = clock(self._beat_at)
        if is_new:
            log(logging.WARNING, "the event loop stands still since %s, %s", since, where)
        text = f"the event loop stands still since {since}, {where}"
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, suppress(OSError):
                    client.settimeout(_CLIENT_SECONDS)
                    client.recv(65_536)
                    client.sendall(msgspec.json.encode({"error": {"name": "blocked", "text": text}}) + b"\n")


def _place_of(frame: FrameType | None) -> str:
    """Return the line that a thread is in, of the application if there is one: ``in answer (agent.py, line 12: …)``."""
    if frame is None:
        return "in a thread that has ended"
    stack = traceback.extract_stack(frame)
    theirs = [one for one in stack if not one.filename.startswith(_OURS)]
    last = (theirs or stack)[-1]
    line = "" if not last.line else f": {last.line}"
    return printable(f"in {last.name} ({last.filename}, line {last.lineno}{line})")
