"""The one observer of every failure.

A crash is reported once, here, with the path of the actor, what it was
handling, and the traceback as text. Text, because a live exception keeps the
frames of whoever happened to send the message, and all they refer to.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType

import attrs
import trio

_logger = logging.getLogger("actors")

PASSING = (KeyboardInterrupt, trio.Cancelled)
"""What no barrier holds back: the wish of the person at the keyboard, and Trio's own way to end a scope.

Everything else is some code's failure and ends that code, because nothing else
has a receiver out there: an ``asyncio.CancelledError`` belongs to a loop in
another thread, and a tool that calls ``sys.exit()`` speaks for itself and not
for the users of all the others.
"""


class Barrier:
    """Keep what a block raises from what is outside of it: ``report`` is called with it, and the block is over.

    For every call into code that is not this package's own. Of a group that
    has members of :data:`PASSING` those go on, and the others are reported.
    """

    __slots__ = ("_report",)

    def __init__(self, report: Callable[[BaseException], object]) -> None:
        self._report = report

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> bool:
        if error is None:
            return False
        held, passing = sift(error)
        if held is not None:
            self._report(held)
        if passing is not None and passing is not error:
            raise passing
        return passing is None


def sift(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Part an exception into what a barrier holds back and what passes it; a group may be some of both."""
    if not isinstance(error, BaseExceptionGroup):
        return (None, error) if isinstance(error, PASSING) else (error, None)
    every = list(_members(error))
    passing = [one for one in every if isinstance(one, PASSING)]
    if not passing:
        return error, None
    held = [one for one in every if not isinstance(one, PASSING)]
    if not held:
        return None, error
    return BaseExceptionGroup(error.message, held), BaseExceptionGroup(error.message, passing)


@attrs.frozen
class Failure:
    """One crash: who, doing what, and how."""

    path: str
    """The actor's place in the tree: ``users/alice/connections/c3``."""
    handling: str
    """What it had in hand."""
    error: str
    """Type and message, on one line."""
    traceback: str
    """The whole traceback, as text."""
    at: float
    """Wall clock, seconds."""

    def __str__(self) -> str:
        return printable(f"{self.path} failed handling {self.handling}: {self.error}")


class Failures:
    """The newest failures of a runtime, oldest first; iterate, index or count them."""

    def __init__(self, capacity: int) -> None:
        self._kept: deque[Failure] = deque(maxlen=capacity)
        self.total = 0

    def record(self, failure: Failure) -> None:
        """Keep a failure and say it once, at level ERROR, in the ``actors`` log."""
        self.total += 1
        self._kept.append(failure)
        log(logging.ERROR, "%s\n%s", failure, failure.traceback)

    def __iter__(self) -> Iterator[Failure]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Failure:
        return self._kept[index]


def log(level: int, text: str, *values: object) -> None:
    """Say something in the ``actors`` log. Its handlers are the application's: one that raises says nothing, and no
    more comes of it than that."""
    with Barrier(_forget):
        _logger.log(level, text, *values, stacklevel=2)


def complain(about: str, error: BaseException) -> None:
    """Say in the log what a callback of the application raised, where no runtime's ``failures`` are at hand."""
    log(logging.ERROR, "%s failed: %s\n%s", about, printable(describe(error)), _formatted(error))


def printable(text: str) -> str:
    """A text on one line, with escapes in place of what a terminal would obey: it may quote what some user has sent."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception says that the code was cancelled, and nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_cancellation, error.exceptions))
    return isinstance(error, trio.Cancelled)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, at any depth, but for cancellations; or this one."""
    return (one for one in _members(error) if not isinstance(one, trio.Cancelled))


def cancels(error: BaseException) -> bool:
    """True if an exception is a cancellation, or has one in it: then the scope that it is for must see it."""
    return any(isinstance(one, trio.Cancelled) for one in _members(error))


def _members(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _members(one)
    else:
        yield error


def is_interrupt(error: BaseException) -> bool:
    """True if Ctrl-C is, or is in, an exception."""
    return any(isinstance(one, KeyboardInterrupt) for one in leaves(error))


@contextmanager
def ungrouped_interrupt() -> Iterator[None]:
    """Let Ctrl-C out of the block as KeyboardInterrupt: nurseries wrap it in groups, which no ``except`` for it takes.

    What failed at the same time is not told: the program was asked to end.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        if is_interrupt(group):
            raise KeyboardInterrupt from None
        raise


@asynccontextmanager
async def open_interruptible_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery out of which Ctrl-C comes as :func:`ungrouped_interrupt` has it."""
    with ungrouped_interrupt():
        async with trio.open_nursery() as nursery:
            yield nursery


def innermost(error: BaseException) -> BaseException:
    """What an exception is about: of a group with one member that is no cancellation, that member."""
    found = list(leaves(error))
    return found[0] if len(found) == 1 else error


def describe(error: BaseException) -> str:
    """An exception's type and message, on one line; one that cannot say what it is has its type alone."""
    error = innermost(error)
    text = text_of(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def text_of(error: BaseException) -> str:
    """An exception's own text; empty for one that cannot say it."""
    with Barrier(_forget):
        return str(error)
    return ""


def failure_of(path: str, handling: str, error: BaseException, at: float) -> Failure:
    """Format an exception while its frames are still there."""
    return Failure(path, handling, describe(error), _formatted(error), at)


def _formatted(error: BaseException) -> str:
    """The traceback as text; it asks the exception's notes, causes and values, which are the application's too."""
    with Barrier(_forget):
        return "".join(traceback.format_exception(error))
    return f"{type(error).__name__}, and its traceback cannot be formatted\n"


def _forget(_: BaseException) -> None:
    """Nothing is to be said of it."""


def shielded(
    path: str, seconds: float, task: trio.lowlevel.Task | None, at: float, *, handling: str = "its shutdown"
) -> Failure:
    """A child that is still there so long after it was cancelled, and where it waits. Trio has no kill."""
    text = f"shields itself from cancellation, or waits for a thread, {seconds:g} s after it was cancelled"
    frames = () if task is None else task.iter_await_frames()
    return Failure(path, handling, text, "".join(traceback.StackSummary.extract(frames).format()), at)
