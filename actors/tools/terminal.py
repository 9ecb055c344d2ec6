"""The three standard streams: what people and producers read, and what a producer writes.

Bytes go to the descriptors directly, so that nothing is left in a buffer when
the reader has gone: a broken pipe is the reader's decision, and no error.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import TextIO

import trio

from actors.failures import printable
from actors.mailbox import Doorbell

_OUTLET_BYTES = 1 << 20
"""What may wait for a slow reader before :meth:`Outlet.room` makes the caller wait: some 10,000 receipts."""


class CannotStart(Exception):  # noqa: N818 - a state; said on one line
    """The command cannot begin with what it was given."""


def descriptor(stream: TextIO | None) -> int | None:
    """The file descriptor of a standard stream; ``None`` when the process was started without it."""
    # The number alone would not do: with standard output closed, the first
    # socket that is opened gets number 1.
    return None if stream is None else stream.fileno()


def say(text: str, fd: int | None) -> None:
    """Write text at once, whole; somebody who has gone is not written to."""
    if fd is not None:
        with suppress(OSError):
            _write(fd, text.encode(errors="backslashreplace"))


def complain(text: str) -> None:
    """Write one line to standard error at once."""
    say(f"{text}\n", descriptor(sys.stderr))


def show_log() -> None:
    """Show what the runtime logs from WARNING on, on standard error."""
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(_Harmless("%(levelname)s: %(message)s"))
    log = logging.getLogger("actors")
    log.addHandler(shown)
    log.setLevel(logging.WARNING)
    log.propagate = False


class _Harmless(logging.Formatter):
    """Says in escapes what a terminal would obey: a message may quote what some user has sent."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


class Outlet:
    """Text on its way to a descriptor, written in another thread: a reader that is slow stops no delivery.

    :meth:`run` must run meanwhile. When the reader has gone, what is written
    goes nowhere.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._pending = bytearray()
        self._more = Doorbell()
        self._taken = trio.Event()
        self._writing = False

    def write(self, text: str) -> None:
        """Add text; whoever adds much awaits :meth:`room` in between."""
        if self._fd is not None:
            self._pending += text.encode(errors="backslashreplace")
            self._more.ring()

    async def room(self) -> None:
        """Wait until the reader has taken enough of what was written."""
        while len(self._pending) > _OUTLET_BYTES:
            await self._taken.wait()

    async def drain(self) -> None:
        """Wait until the reader has taken everything."""
        while self._pending or self._writing:
            await self._taken.wait()

    async def run(self) -> None:
        """Write what is pending, until cancelled or until the reader has gone."""
        while self._fd is not None:
            await self._more.wait()
            batch, self._pending = bytes(self._pending), bytearray()
            self._writing = True
            try:
                await trio.to_thread.run_sync(_write, self._fd, batch, abandon_on_cancel=True)
            except OSError:
                self._fd = None
                self._pending.clear()
            finally:
                self._writing = False
            self._taken.set()
            self._taken = trio.Event()


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
