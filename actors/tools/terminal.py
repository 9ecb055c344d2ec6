"""The three standard streams: what people and producers read, and what a producer writes.

Bytes go to the descriptors directly, so that nothing is left in a buffer when
the reader has gone. A broken pipe is the reader's decision, and no error; what
else keeps a stream from being read or written (a full disk, a directory in the
place of the input) is said, and ends with :data:`FAILED`.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

import trio

from actors.errors import ActorsError
from actors.kernel.failures import is_interrupt, leaves, printable
from actors.kernel.signals import Doorbell

FAILED = 2
"""The exit status of a command that cannot start, or of which a standard stream failed."""

_OUTPUT_BYTES = 1 << 20
"""The most that may wait for a slow reader before :meth:`OutputWriter.room` makes the caller wait: some 10,000
receipts."""


class CannotStart(Exception):
    """The command cannot begin with what it was given."""


class StreamFailed(Exception):
    """A standard stream failed, and not because its reader has gone."""


def descriptor(stream: TextIO | None) -> int | None:
    """Return the file descriptor of a standard stream; ``None`` when the process was started without it."""
    # The number alone would not do: with standard output closed, the first
    # socket that is opened gets number 1.
    return None if stream is None else stream.fileno()


def output() -> int:
    """Return the descriptor of standard output. Raises :class:`StreamFailed` when there is none, or none to write
    to."""
    fd = descriptor(sys.stdout)
    if fd is None:
        raise StreamFailed("standard output: expected it to be open, it is closed")
    try:
        os.write(fd, b"")  # a full device and a descriptor that is for reading say so
    except (BlockingIOError, BrokenPipeError):
        pass
    except OSError as error:
        raise _told(error, "standard output") from None
    return fd


def input_() -> int:
    """Return the descriptor of standard input. Raises :class:`StreamFailed` when there is none, or none to read
    from."""
    fd = descriptor(sys.stdin)
    if fd is None:
        raise StreamFailed("standard input: expected events, it is closed")
    try:
        os.read(fd, 0)  # a directory and a descriptor that is for writing say so
    except BlockingIOError:
        pass
    except OSError as error:
        raise _told(error, "standard input") from None
    return fd


def say(text: str) -> None:
    """Write text to standard output at once, whole; nothing, when its reader has gone. Raises :class:`StreamFailed`."""
    with suppress(BrokenPipeError):
        write(output(), encoded(text))


def complain(text: str) -> None:
    """Write one line to standard error at once, if there is one. Raises :class:`StreamFailed`."""
    fd = descriptor(sys.stderr)
    if fd is not None:
        with suppress(BrokenPipeError):
            write(fd, encoded(f"{text}\n"), "standard error")


def show(text: str, stream: TextIO, name: str) -> None:
    """Write text to a stream of Python's, which a host may have replaced by its own, at once. Raises as :func:`say`."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        raise _told(error, name) from None


def encoded(text: str) -> bytes:
    """Text as it is written, whatever the locale; half of a surrogate pair is an escape."""
    return text.encode(errors="backslashreplace")


def write(fd: int, data: bytes, name: str = "standard output") -> None:
    """Write bytes to a descriptor, all of them; blocks while its reader is slow.

    Raises BrokenPipeError when the reader has gone, else :class:`StreamFailed`.
    """
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # another program has set what it shares with this one to non-blocking
            select.select([], [fd], [])
        except OSError as error:
            raise _told(error, name) from None


def read(fd: int, most_bytes: int) -> bytes:
    """Read some bytes of standard input, none at its end; block until there are some. Raises :class:`StreamFailed`."""
    while True:
        try:
            return os.read(fd, most_bytes)
        except BlockingIOError:
            select.select([fd], [], [])
        except OSError as error:
            raise _told(error, "standard input") from None


def _told(error: OSError, name: str) -> BrokenPipeError | StreamFailed:
    """Translate a stream's error: BrokenPipeError if its reader has gone, StreamFailed for anything else."""
    if isinstance(error, BrokenPipeError | ConnectionResetError) and name != "standard input":
        return BrokenPipeError()  # a socket's reader that goes with something unread resets it
    return StreamFailed(f"{name}: {error.strerror or error}")


def show_log() -> None:
    """Show what the runtime logs from WARNING on, on standard error."""
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(_Harmless("%(asctime)s %(levelname)s: %(message)s", "%H:%M:%S"))
    log = logging.getLogger("actors")
    log.addHandler(shown)
    log.setLevel(logging.WARNING)
    log.propagate = False


class _Harmless(logging.Formatter):
    """Says in escapes what a terminal would obey: a message may quote what some user has sent."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


class OutputWriter:
    """Text on its way to a descriptor, written in another thread: a reader that is slow stops no delivery.

    :meth:`run` must run meanwhile. When the reader has gone, what is written
    goes nowhere; so it does when the stream has failed, which ``on_failed`` is
    told, once.
    """

    def __init__(self, fd: int | None, name: str, *, on_failed: Callable[[StreamFailed], None]) -> None:
        self._fd = fd
        self._name = name
        self._on_failed = on_failed
        self._pending = bytearray()
        self._more = Doorbell()
        self._taken = trio.Event()
        self._writing = False

    def write(self, text: str) -> None:
        """Add text; a caller that adds much awaits :meth:`room` in between."""
        if self._fd is not None:
            self._pending += encoded(text)
            self._more.ring()

    async def room(self) -> None:
        """Wait until the reader has taken enough of what was written."""
        while len(self._pending) > _OUTPUT_BYTES:
            await self._taken.wait()

    async def drain(self) -> None:
        """Wait until the reader has taken everything."""
        while self._pending or self._writing:
            await self._taken.wait()

    async def run(self) -> None:
        """Write what is pending, until cancelled or until nothing can be written any more."""
        while self._fd is not None:
            await self._more.wait()
            batch, self._pending = bytes(self._pending), bytearray()
            self._writing = True
            try:
                await trio.to_thread.run_sync(write, self._fd, batch, self._name, abandon_on_cancel=True)
            except BrokenPipeError:
                self._give_up()
            except StreamFailed as error:
                self._give_up()
                self._on_failed(error)
            finally:
                self._writing = False
            self._taken.set()
            self._taken = trio.Event()

    def _give_up(self) -> None:
        self._fd = None
        self._pending.clear()


# --- a whole command -------------------------------------------------------------


def run_command(main: Callable[[], int | None], name: str) -> int:
    """Run the main function of a process that ends with it; returns the exit status, once all it said is out.

    Errors that a person can act on are one line, Ctrl-C is 130, and neither is
    a traceback. After Ctrl-C there is no other one: the process is ending.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            _tolerate(stream)
    try:
        status = main() or 0
    except BaseException as error:
        if is_interrupt(error):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            status = 128 + signal.SIGINT
        else:
            known = _status_of(error, name)
            if known is None:
                raise
            status = known
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream, what in ((sys.stdout, "output"), (sys.stderr, "error")):
        failure = _flush(stream, f"standard {what}")
        if failure is not None and status != FAILED:  # which has been said
            status = status or FAILED
            with suppress(StreamFailed):
                complain(f"{name}: {failure}")
    return status


def _status_of(error: BaseException, name: str) -> int | None:
    """Say an error on one line; the exit status that goes with it, ``None`` for a bug, which has a traceback."""
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return error.code or 0
    errors = tuple(leaves(error))
    if not all(isinstance(one, SystemExit | CannotStart | StreamFailed | ActorsError) for one in errors):
        return None
    with suppress(StreamFailed):
        complain(f"{name}: {errors[0]}")
    return FAILED if isinstance(errors[0], CannotStart | StreamFailed) else 1


def _tolerate(stream: Any) -> None:
    """Let what this stream's encoding has no character for be written as an escape: it ends no command."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")


def _flush(stream: TextIO | None, name: str) -> StreamFailed | None:
    """Write what is left in a buffer; what keeps that from being done."""
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        # Else the interpreter tries once more on its way out, and reports that in its own way.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        told = _told(error, name)
        return told if isinstance(told, StreamFailed) else None
    return None
