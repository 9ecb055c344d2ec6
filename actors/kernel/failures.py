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
from itertools import islice
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

WORDS_CHARACTERS = 512
"""Of an actor's path, and of what it had in hand: ids of the longest kind fit."""

ERROR_CHARACTERS = 2_000
"""Of an error's type and message: what a person reads. The message of an error may quote all that was given to it."""

TRACEBACK_CHARACTERS = 16_000
"""Of a traceback: a hundred frames, or a few dozen in nested groups. A thousand failures, as many as a runtime keeps,
are 20 MB of text at the worst, in the letters of ASCII."""

_MEMBERS = 32
"""Of a group's exceptions that are formatted, each with its own traceback."""


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
    """Part an exception into what a barrier holds back and what passes it; a group may be some of both.

    Not by ``BaseExceptionGroup.split``, because that asks each group's own
    ``derive``, which may raise, and recurses, which a deep tree does not
    survive: a barrier does neither.
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
    """The head and the tail of a text that is longer than this, and how much is left out in between."""
    if len(text) <= characters:
        return text
    half = characters // 2
    return f"{text[:half]}{joint}[… {len(text) - 2 * half:,} characters left out …]{joint}{text[-half:]}"


def _cut_words(text: str) -> str:
    return _cut(text, WORDS_CHARACTERS)


def _cut_error(text: str) -> str:
    return _cut(text, ERROR_CHARACTERS)


def _cut_traceback(text: str) -> str:
    return _cut(text, TRACEBACK_CHARACTERS, "\n")


@attrs.frozen
class Failure:
    """One crash: who, doing what, and how. Longer texts than a person reads are cut in their middle."""

    path: str = attrs.field(converter=_cut_words)
    """The actor's place in the tree: ``users/alice/connections/c3``."""
    handling: str = attrs.field(converter=_cut_words)
    """What it had in hand."""
    error: str = attrs.field(converter=_cut_error)
    """Type and message, on one line; at most :data:`ERROR_CHARACTERS` of it."""
    traceback: str = attrs.field(converter=_cut_traceback)
    """The traceback, as text; at most :data:`TRACEBACK_CHARACTERS` of it."""
    at: float
    """Wall clock, seconds."""

    def __str__(self) -> str:
        return printable(f"{self.path} failed handling {self.handling}: {self.error}")


class Failures:
    """The newest failures of a runtime, oldest first; iterate, index or count them."""

    def __init__(self, capacity: int, wall_clock: Callable[[], float]) -> None:
        self._kept: deque[Failure] = deque(maxlen=capacity)
        self._wall_clock = wall_clock
        self.total = 0

    def report(
        self, path: str, handling: str, error: BaseException, *, hide: Callable[[str], str] = lambda text: text
    ) -> None:
        """Record what the actor at ``path`` raised, formatted while its frames are there; see :func:`failure_of`."""
        self.record(failure_of(path, handling, error, self._wall_clock(), hide))

    def report_shielded(
        self, path: str, seconds: float, task: trio.lowlevel.Task | None, *, handling: str = "its shutdown"
    ) -> None:
        """Record a child that is still there so long after it was cancelled, and where it waits. Trio has no kill."""
        text = f"shields itself from cancellation, or waits for a thread, {seconds:g} s after it was cancelled"
        frames = () if task is None else task.iter_await_frames()
        stack = "".join(traceback.StackSummary.extract(frames).format())
        self.record(Failure(path, handling, text, stack, self._wall_clock()))

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
    said = printable(describe(error))
    log(logging.ERROR, "%s failed: %s\n%s", about, said, _cut_traceback(_formatted(error)))


def printable(text: str) -> str:
    """A text on one line, with escapes in place of what a terminal would obey: it may quote what some user has sent."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def is_cancellation(error: BaseException) -> bool:
    """Whether an exception says that the code was cancelled, and nothing else."""
    return all(isinstance(one, trio.Cancelled) for one in _members(error))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, at any depth, but for cancellations; or this one."""
    return (one for one in _members(error) if not isinstance(one, trio.Cancelled))


def cancels(error: BaseException) -> bool:
    """True if an exception is a cancellation, or has one in it: then the scope that it is for must see it."""
    return any(isinstance(one, trio.Cancelled) for one in _members(error))


def _members(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, in their order, at whatever depth; or the one that is no group."""
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
    """An exception's type and message, on one line, at most :data:`ERROR_CHARACTERS` of it; one that cannot say what
    it is has its type alone."""
    return _cut_error(_line(_said(error)))


def _said(error: BaseException) -> str:
    error = innermost(error)
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line(said: str) -> str:
    """The first line; of nothing but a type, where the message has none."""
    return said.partition("\n")[0].removesuffix(": ")


def text_of(error: BaseException) -> str:
    """An exception's own text; empty for one that cannot say it."""
    with Barrier(_forget):
        return str(error)
    return ""


def failure_of(
    path: str, handling: str, error: BaseException, at: float, hide: Callable[[str], str] = lambda text: text
) -> Failure:
    """Format an exception while its frames are still there. ``hide`` takes secrets out, before anything is cut."""
    return Failure(path, handling, _line(hide(_said(error))), hide(_formatted(error)), at)


def _formatted(error: BaseException) -> str:
    """The traceback as text; it asks the exception's notes, causes and values, which are the application's too."""
    with Barrier(_forget):
        return "".join(traceback.format_exception(_pruned(error)))
    return f"{type(error).__name__}, and its traceback cannot be formatted\n"


def _pruned(error: BaseException) -> BaseException:
    """A group of no more members, and no deeper, than can be formatted without a pause for everybody else.

    Each member costs some 50 µs, also those that are not shown; and the
    formatting of a group in a group in a group recurses.
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
    """How deep a group is, as far as it matters."""
    level, depth = [error], 0
    while level and depth <= _MEMBERS:
        level = [one for group in level if isinstance(group, BaseExceptionGroup) for one in group.exceptions]
        depth += 1
    return depth


def _forget(_: BaseException) -> None:
    """Nothing is to be said of it."""
