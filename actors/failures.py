"""The one observer of every failure.

A crash is reported once, here, with the path of the actor, what it was
handling, and the traceback as text. Text, because a live exception keeps the
frames of whoever happened to send the message, and all they refer to.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Iterator

import attrs
import trio

logger = logging.getLogger("actors")


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
        logger.error("%s\n%s", failure, failure.traceback)

    def __iter__(self) -> Iterator[Failure]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Failure:
        return self._kept[index]


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
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    elif not isinstance(error, trio.Cancelled):
        yield error


def innermost(error: BaseException) -> BaseException:
    """What an exception is about: of a group with one member that is no cancellation, that member."""
    found = list(leaves(error))
    return found[0] if len(found) == 1 else error


def describe(error: BaseException) -> str:
    """An exception's type and message, on one line; one that cannot say what it is has its type alone."""
    error = innermost(error)
    try:
        text = str(error).partition("\n")[0]
    except Exception:  # noqa: BLE001 - the application's exception, and its bug
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def failure_of(path: str, handling: str, error: BaseException, at: float) -> Failure:
    """Format an exception while its frames are still there."""
    return Failure(path, handling, describe(error), "".join(traceback.format_exception(error)), at)


def shielded(path: str, seconds: float, task: trio.lowlevel.Task | None, at: float) -> Failure:
    """A child that is still there so long after it was cancelled, and where it waits. Trio has no kill."""
    text = f"shields itself from cancellation, {seconds:g} s after it was cancelled"
    frames = () if task is None else task.iter_await_frames()
    return Failure(path, "its shutdown", text, "".join(traceback.StackSummary.extract(frames).format()), at)
