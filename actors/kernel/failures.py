"""Failures: the record of each one, as text, and the barriers that stop exceptions of code that is not ours.

Supervisors, connections and barriers report each crash here, once, with the path of the actor, the
message that it was handling, and the traceback as text. As text, because a
live exception keeps the frames of the code that happened to send the message,
and all that they refer to.
"""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from types import TracebackType
from typing import Protocol

import attrs
import trio

_logger = logging.getLogger("actors")

PASSING = (KeyboardInterrupt, trio.Cancelled)
"""The exceptions that pass every barrier: the wish of the person at the keyboard, and Trio's own way to end a scope.

Every other exception is the failure of some code and ends that code, because
no other has a receiver beyond it: an ``asyncio.CancelledError`` belongs to a
loop in another thread, and a tool that calls ``sys.exit()`` speaks for itself
and not for the users of all the others.
"""

WORDS_CHARACTERS = 512
"""Characters kept of an actor's path, and of the message that it was handling: ids of the longest kind fit."""

ERROR_CHARACTERS = 2_000
"""Characters kept of an error's type and message: as many as a person reads. A message may quote a whole argument."""

TRACEBACK_CHARACTERS = 16_000
"""Characters kept of a traceback: a hundred frames, or a few dozen in nested groups. A thousand failures, as many as a
runtime keeps, are 20 MB of text at the worst, in the letters of ASCII."""

_MEMBERS = 32
"""Exceptions of a group that are formatted, each with its own traceback."""


class Barrier:
    """Stop an exception at the end of a block, and call ``report`` with it.

    It stands around every call into code that is not this package's own. Of a
    group, members of :data:`PASSING` go on and the others are reported.
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
    """Split an exception into the part that a barrier holds back and the part that passes; a group may be some of both.

    ``BaseExceptionGroup.split`` will not do, because it calls each group's own
    ``derive``, which may raise, and recurses, which a deep tree does not
    survive. A barrier must do neither.
    """
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


def _cut(text: str, characters: int, joint: str = " ") -> str:
    """Shorten a text in its middle, and say there how much is left out."""
    if len(text) <= characters:
        return text
    half = characters // 2
    return f"{text[:half]}{joint}[… {len(text) - 2 * half:,} characters left out …]{joint}{text[-half:]}"


def cut_words(text: str) -> str:
    """Shorten a text in its middle to :data:`WORDS_CHARACTERS`."""
    return _cut(text, WORDS_CHARACTERS)


def _cut_error(text: str) -> str:
    return _cut(text, ERROR_CHARACTERS)


def _cut_traceback(text: str) -> str:
    return _cut(text, TRACEBACK_CHARACTERS, "\n")


def _whole(text: str) -> str:
    """Escape halves of surrogate pairs, because no answer that has one can be encoded."""
    return text.encode(errors="backslashreplace").decode()


def _kept_words(text: str) -> str:
    return _whole(cut_words(text))


def _kept_error(text: str) -> str:
    return _whole(_cut_error(text))


def _kept_traceback(text: str) -> str:
    return _whole(_cut_traceback(text))


@attrs.frozen(kw_only=True)
class Failure:
    """One crash: the actor, the message in hand, the error. Texts longer than a person reads are cut in their
    middle."""

    path: str = attrs.field(converter=_kept_words)
    """The actor's path in the tree: ``users/alice/connections/c3``."""
    handling: str = attrs.field(converter=_kept_words)
    """The message that it was handling, or the part of its life that it was in."""
    error: str = attrs.field(converter=_kept_error)
    """Type and message, on one line; at most ``ERROR_CHARACTERS`` of it."""
    traceback: str = attrs.field(converter=_kept_traceback)
    """The traceback, as text; at most ``TRACEBACK_CHARACTERS`` of it."""
    at: float
    """Wall clock, seconds."""

    def __str__(self) -> str:
        return printable(f"{self.path} failed handling {self.handling}: {self.error}")


class Observers(Protocol):
    """The functions that take what supervisors report; ``None`` where nothing listens."""

    crashed: Callable[[Failure], None] | None
    restarted: Callable[[str], None] | None
    quarantined: Callable[[str, Failure], None] | None


class Failures:
    """The newest failures of a runtime, oldest first; iterate, index or count them."""

    def __init__(
        self, capacity: int, wall_clock: Callable[[], float], *, say: Callable[[Failure], object] | None = None
    ) -> None:
        self._say = _say if say is None else say
        """Logs a failure."""
        self._kept: deque[Failure] = deque(maxlen=capacity)
        self._wall_clock = wall_clock
        self.total: int = 0
        self.observers: Observers | None = None

    def report(
        self, path: str, handling: str, error: BaseException, *, hide: Callable[[str], str] = lambda text: text
    ) -> None:
        """Record what the actor at ``path`` raised, formatted while its frames are there; see :func:`failure_of`."""
        self.record(failure_of(path, handling, error, self._wall_clock(), hide))

    def report_shielded(
        self, path: str, seconds: float, task: trio.lowlevel.Task | None, *, handling: str = "its shutdown"
    ) -> None:
        """Record a child that is still there so long after its cancellation, with the stack where it waits.

        Trio has no kill, so a report is all that a supervisor can do.
        """
        text = f"shields itself from cancellation, or waits for a thread, {seconds:g} s after it was cancelled"
        frames = () if task is None else task.iter_await_frames()
        stack = "".join(traceback.StackSummary.extract(frames).format())
        self.record(Failure(path=path, handling=handling, error=text, traceback=stack, at=self._wall_clock()))

    def __repr__(self) -> str:
        return f"<Failures kept={len(self._kept)} total={self.total}>"

    def record(self, failure: Failure) -> None:
        """Keep a failure and have it logged, at level ERROR, in the ``actors`` log."""
        self.total += 1
        self._kept.append(failure)
        self._say(failure)
        if self.observers is not None and self.observers.crashed is not None:
            self.observers.crashed(failure)

    def note_restart(self, path: str) -> None:
        """Tell the observers that what lives at a path was started again after a failure."""
        if self.observers is not None and self.observers.restarted is not None:
            self.observers.restarted(path)

    def note_quarantine(self, path: str, failure: Failure) -> None:
        """Tell the observers that an actor is out of service since a failure."""
        if self.observers is not None and self.observers.quarantined is not None:
            self.observers.quarantined(path, failure)

    def __iter__(self) -> Iterator[Failure]:
        return iter(tuple(self._kept))

    def last(self, path: str) -> Failure | None:
        """Return the newest failure that is kept of the actor at a path."""
        return next((failure for failure in reversed(self._kept) if failure.path == path), None)

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Failure:
        return self._kept[index]


def _say(failure: Failure) -> None:
    log(logging.ERROR, "%s\n%s", failure, printable_lines(failure.traceback))


def log(level: int, text: str, *values: object, extra: Mapping[str, object] | None = None) -> None:
    """Log a message in the ``actors`` log. Its handlers are the application's, so one that raises is ignored."""
    with Barrier(_forget):
        _logger.log(level, text, *values, stacklevel=2, extra=extra)


def complain(about: str, error: BaseException) -> None:
    """Log an exception of an application's callback, where no runtime's ``failures`` are at hand."""
    said = printable(describe(error))
    log(logging.ERROR, "%s failed: %s\n%s", about, said, printable_lines(_cut_traceback(_formatted(error))))


def printable(text: str) -> str:
    """Escape every character that a terminal would obey, because a text may quote what some user has sent."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """Do the same for each line. It matters beyond terminals, because a log file in UTF-8 does not take half of a
    surrogate pair, and logging then drops the whole message."""
    return "\n".join(map(printable, text.split("\n")))


def is_cancellation(error: BaseException) -> bool:
    """True if an exception is a cancellation, or a group of nothing else."""
    return all(isinstance(one, trio.Cancelled) for one in _members(error))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, at any depth, but for cancellations; or the one that is no group."""
    return (one for one in _members(error) if not isinstance(one, trio.Cancelled))


def cancels(error: BaseException) -> bool:
    """True if an exception is a cancellation or a group with one, which the scope that it is for must see."""
    return any(isinstance(one, trio.Cancelled) for one in _members(error))


def _members(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, in their order, at any depth; or the one that is no group."""
    left = [error]
    while left:
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            left.extend(reversed(one.exceptions))
        else:
            yield one


def is_interrupt(error: BaseException) -> bool:
    """True if Ctrl-C is, or is in, an exception."""
    return any(isinstance(one, KeyboardInterrupt) for one in leaves(error))


@contextmanager
def ungrouped_interrupt() -> Iterator[None]:
    """Let Ctrl-C out of the block as KeyboardInterrupt, because nurseries wrap it in groups that no ``except`` takes.

    Failures at the same time are dropped, because the program was asked to end.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        if is_interrupt(group):
            raise KeyboardInterrupt from None
        raise


@asynccontextmanager
async def open_interruptible_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery that lets Ctrl-C out as :func:`ungrouped_interrupt` does."""
    with ungrouped_interrupt():
        async with trio.open_nursery() as nursery:
            yield nursery


def unwrap(error: BaseException) -> BaseException:
    """Unwrap a group with exactly one leaf that is no cancellation; return any other exception unchanged."""
    found = list(leaves(error))
    return found[0] if len(found) == 1 else error


def describe(error: BaseException) -> str:
    """Format an exception's type and message on one line of at most ``ERROR_CHARACTERS``.

    The type stands alone where ``str()`` of the exception raises.
    """
    return _cut_error(_line(_said(error)))


def _said(error: BaseException) -> str:
    error = unwrap(error)
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line(said: str) -> str:
    """Return the first line; the type alone, where the message begins with a line break."""
    return said.partition("\n")[0].removesuffix(": ")


def text_of(error: BaseException) -> str:
    """Return ``str()`` of an exception; empty for one where that raises."""
    with Barrier(_forget):
        return str(error)
    return ""


def failure_of(
    path: str, handling: str, error: BaseException, at: float, hide: Callable[[str], str] = lambda text: text
) -> Failure:
    """Format an exception while its frames are still there. ``hide`` takes secrets out before the texts are cut."""
    return Failure(
        path=path, handling=handling, error=_line(hide(_said(error))), traceback=hide(_formatted(error)), at=at
    )


def _formatted(error: BaseException) -> str:
    """Format the traceback, behind a barrier because the exception's notes and causes are the application's too."""
    with Barrier(_forget):
        return "".join(traceback.format_exception(_pruned(error)))
    return f"{type(error).__name__}, and its traceback cannot be formatted\n"


def _pruned(error: BaseException) -> BaseException:
    """Reduce a group to as many members, and as few levels, as can be formatted without a pause for other tasks.

    Each member costs some 50 µs, also those that are not shown; and the
    formatting of nested groups recurses.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    shown = list(islice(_members(error), _MEMBERS + 1))
    if len(shown) <= _MEMBERS and _depth(error) <= _MEMBERS:
        return error
    shown = shown[:_MEMBERS]
    text = f"{error.message} [{len(shown)} of {sum(1 for _ in _members(error)):,}, without the groups they are in]"
    return BaseExceptionGroup(text, shown).with_traceback(error.__traceback__)


def _depth(error: BaseException) -> int:
    level, depth = [error], 0
    while level and depth <= _MEMBERS:
        level = [one for group in level if isinstance(group, BaseExceptionGroup) for one in group.exceptions]
        depth += 1
    return depth


def _forget(_: BaseException) -> None:
    """Report nothing."""
