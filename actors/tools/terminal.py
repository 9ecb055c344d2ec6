"""The three standard streams of a command.

Bytes go to the descriptors directly, so that nothing is left in a buffer when
the reader has closed its end. A broken pipe is the reader's decision, and no
error; any other failure of a stream (a full disk, a directory as the input) is
reported, and the command exits with :data:`FAILED`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TextIO

import trio

from actors.errors import ActorsError
from actors.kernel.failures import is_interrupt, leaves, printable_lines
from actors.kernel.signals import Doorbell

FAILED = 2
"""The exit status of a command that cannot start, or of which a standard stream failed."""

_OUTPUT_BYTES = 1 << 20
"""The backlog for a slow reader from which on :meth:`OutputWriter.room` makes the caller wait: some 10,000
receipts."""


class CannotStart(Exception):
    """A command that cannot start with its arguments, or in its environment."""


class StreamFailed(Exception):
    """A failure of a standard stream, other than a reader that has closed its end."""


def descriptor(stream: TextIO | None) -> int | None:
    """Return the file descriptor of a standard stream; ``None`` when the process was started without it."""
    # Not the number alone, because with standard output closed the first
    # socket that is opened gets number 1.
    return None if stream is None else stream.fileno()


def output() -> int:
    """Return the descriptor of standard output. Raises :class:`StreamFailed` when there is none, or none to write
    to."""
    fd = descriptor(sys.stdout)
    if fd is None:
        raise StreamFailed("standard output: expected it to be open, it is closed")
    try:
        os.write(fd, b"")  # raises for a full device, and for a descriptor opened for reading
    except (BlockingIOError, BrokenPipeError):
        pass
    except OSError as error:
        raise _translated(error, "standard output") from None
    return fd


def input_() -> int:
    """Return the descriptor of standard input. Raises :class:`StreamFailed` when there is none, or none to read
    from."""
    fd = descriptor(sys.stdin)
    if fd is None:
        raise StreamFailed("standard input: expected events, it is closed")
    try:
        os.read(fd, 0)  # raises for a directory, and for a descriptor opened for writing
    except BlockingIOError:
        pass
    except OSError as error:
        raise _translated(error, "standard input") from None
    return fd


def say(text: str) -> None:
    """Write a whole text to standard output; no effect once its reader is gone. Raises :class:`StreamFailed`."""
    with suppress(BrokenPipeError):
        write(output(), encoded(text))


def complain(text: str) -> None:
    """Write lines to standard error at once, if there is one. Raises :class:`StreamFailed`.

    What a terminal would obey is escaped, because a text may quote a server or a user.
    """
    fd = descriptor(sys.stderr)
    if fd is not None:
        with suppress(BrokenPipeError):
            write(fd, encoded(remark(text)), "standard error")


_form: ContextVar[Callable[[str], str]] = ContextVar("form", default=printable_lines)


def form_remarks(form: Callable[[str], str]) -> None:
    """Write what a command says on standard error in another form than lines for people."""
    _form.set(form)


def remark(text: str) -> str:
    """Put what a command says on standard error into the form that was chosen, with a line break at its end."""
    return f"{_form.get()(text)}\n"


def show(text: str, stream: TextIO, name: str) -> None:
    """Write and flush text to a stream object, which a host may have replaced by its own. Raises as :func:`say`."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        raise _translated(error, name) from None


def encoded(text: str) -> bytes:
    """Encode text as UTF-8, whatever the locale; half of a surrogate pair becomes an escape."""
    return text.encode(errors="backslashreplace")


def write(fd: int, data: bytes, name: str = "standard output") -> None:
    """Write all bytes to a descriptor; blocks while its reader is slow.

    Raises BrokenPipeError when the reader is gone, else :class:`StreamFailed`.
    """
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # another program that shares the descriptor has set it to non-blocking
            select.select([], [fd], [])
        except OSError as error:
            raise _translated(error, name) from None


def read(fd: int, most_bytes: int) -> bytes:
    """Read some bytes of standard input, none at its end; blocks until there are some. Raises :class:`StreamFailed`."""
    while True:
        try:
            return os.read(fd, most_bytes)
        except BlockingIOError:
            select.select([fd], [], [])
        except OSError as error:
            raise _translated(error, "standard input") from None


def _translated(error: OSError, name: str) -> BrokenPipeError | StreamFailed:
    """Translate a stream's error: BrokenPipeError if its reader is gone, StreamFailed for anything else."""
    if isinstance(error, BrokenPipeError | ConnectionResetError) and name != "standard input":
        return BrokenPipeError()  # a socket resets the connection if it is closed with unread data
    return StreamFailed(f"{name}: {error.strerror or error}")


class OutputWriter:
    """Text on its way to a descriptor, written in another thread, so that a slow reader stops no delivery.

    :meth:`run` must run meanwhile. Once the reader is gone, or the stream has
    failed, text is discarded; ``on_failed`` is called once, for the latter.
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
        """Wait until the backlog is small enough to write more."""
        while len(self._pending) > _OUTPUT_BYTES:
            await self._taken.wait()

    async def drain(self) -> None:
        """Wait until the reader has taken everything."""
        while self._pending or self._writing:
            await self._taken.wait()

    async def run(self) -> None:
        """Write the backlog, until cancelled or until the descriptor takes no more."""
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
    """Run the main function of a process that ends with it; returns the exit status, once its output is flushed.

    Errors that a person can act on are one line, Ctrl-C is 130, and neither is
    a traceback. After the first Ctrl-C further ones are ignored, because the
    process is ending.
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
        if failure is not None and status != FAILED:  # a failure before this one was reported
            status = status or FAILED
            with suppress(StreamFailed):
                complain(f"{name}: {failure}")
    return status


def _status_of(error: BaseException, name: str) -> int | None:
    """Print an error on one line, and return its exit status; ``None`` for a bug, which is to have a traceback."""
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return error.code or 0
    errors = tuple(leaves(error))
    if not all(isinstance(one, SystemExit | CannotStart | StreamFailed | ActorsError) for one in errors):
        return None
    with suppress(StreamFailed):
        complain(f"{name}: {errors[0]}")
    return FAILED if isinstance(errors[0], CannotStart | StreamFailed) else 1


def _tolerate(stream: Any) -> None:
    """Make a stream escape the characters that its encoding lacks, because they must not end a command."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")


def _flush(stream: TextIO | None, name: str) -> StreamFailed | None:
    """Flush a stream's buffer; returns the failure, if any but a reader that is gone."""
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        # Otherwise the interpreter flushes once more at exit, and reports that in its own way.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        failure = _translated(error, name)
        return failure if isinstance(failure, StreamFailed) else None
    return None
