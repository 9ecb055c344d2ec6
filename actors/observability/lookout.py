"""The lookout: a thread that sees where an event loop stands still, because the loop cannot.

It asks the loop for an answer, twice a second. Where none comes in time, it
takes down where the loop's thread is at that moment. When the loop goes on, it
knows how long it stood still, and asks here for the place. A loop that does not
go on is told of from here, and here is who can answer meanwhile for what waits
for the loop. It costs the loop one wake-up for each question; an idle process
0.02 % of a core.
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread, get_ident
from types import FrameType

import trio

import actors
from actors.kernel.failures import printable
from actors.kernel.log_lines import log_line
from actors.observability.explain import clock
from actors.observability.lines import LOOP_STUCK

_ASK_SECONDS = 0.5
"""The time between two questions, and for an answer."""

_STUCK = 4
"""Answers that are missing in a row, until it is said while it lasts: the loop may never go on."""

NOWHERE = "in code that was not seen"
"""The words for a place that is not known."""

_INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})
_OURS = tuple(str(Path(module.__file__ or "").parent) for module in (trio, actors))
_STANDARD = sysconfig.get_path("stdlib")
_FROZEN = "<frozen "
"""The names of the standard library's modules that are part of the interpreter, as that which imports others."""


class Lookout:
    """Watches the event loop that it runs in, from another thread."""

    def __init__(self, wall_clock: Callable[[], float], *, ask_seconds: float = _ASK_SECONDS) -> None:
        self.ask_seconds = ask_seconds
        self._wall_clock = wall_clock
        self._answers: tuple[Callable[[str], bool], ...] = ()
        self._thread_id = 0
        self._over = Event()
        self._place: str | None = None

    def __repr__(self) -> str:
        return f"<Lookout{'' if self._place is None else f' {self._place}'}>"

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled; nothing where time is simulated, because a test may wait for a loop that nothing
        wakes."""
        self._thread_id = get_ident()
        if not _is_simulated(trio.lowlevel.current_clock()):
            # A daemon, because it must not outlive a program that ends while its loop stands still.
            Thread(target=self._watch, args=(trio.lowlevel.current_trio_token(),), name="lookout", daemon=True).start()
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._over.set()

    def take_place(self) -> str | None:
        """Take the place where the loop was when it stood still last, in words; ``None`` if it was not seen."""
        place, self._place = self._place, None
        return place

    @contextmanager
    def answering(self, answer: Callable[[str], bool]) -> Iterator[None]:
        """Within the block, and while the loop stands still, call ``answer`` from the thread, again and again.

        It gets a sentence that says since when and where, and returns true if
        there may be more for it to answer. It must not raise, and not block
        for long.
        """
        self._answers = (*self._answers, answer)
        try:
            yield
        finally:
            self._answers = tuple(one for one in self._answers if one is not answer)

    def _watch(self, token: trio.lowlevel.TrioToken) -> None:
        while not self._over.wait(self.ask_seconds):
            answered, asked_at = Event(), self._wall_clock()
            try:
                token.run_sync_soon(answered.set)
            except trio.RunFinishedError:
                return
            if not answered.wait(self.ask_seconds):
                self._stand_by(answered, asked_at)

    def _stand_by(self, answered: Event, asked_at: float) -> None:
        """Say where the loop stands, to those who ask and at last in the log, until it goes on."""
        self._place = place = place_of(sys._current_frames().get(self._thread_id))
        sentence = f"the event loop stands still since {clock(asked_at)}, {place}"
        missing = 1
        while not self._over.is_set():
            for answer in self._answers:
                while not answered.is_set() and answer(sentence):
                    pass
            if answered.wait(self.ask_seconds):
                return
            missing += 1
            if missing == _STUCK:
                # In a thread of its own, because the loop may stand still in a
                # handler of the log, with its lock: nothing reads the pipe.
                with suppress(RuntimeError):  # no room for another thread
                    said = missing * self.ask_seconds, place
                    Thread(target=_tell_stuck, args=said, name="lookout's line", daemon=True).start()


def _tell_stuck(seconds: float, place: str) -> None:
    log_line(LOOP_STUCK, seconds=seconds, where=place)


def _is_simulated(clock: trio.abc.Clock) -> bool:
    testing = sys.modules.get("trio.testing")  # not imported here, because a server has no use for it
    return testing is not None and isinstance(clock, testing.MockClock)


def place_of(frame: FrameType | None) -> str:
    """Say where a thread is: in the innermost code of the application's own, or else in the innermost of all."""
    frames = list(_outwards(frame))
    if not frames:
        return NOWHERE
    own = min(frames, key=lambda one: _strangeness(one.f_code.co_filename))  # the innermost of equals
    file, line = own.f_code.co_filename, own.f_lineno
    text = linecache.getline(file, line).strip()
    return printable(f"in {own.f_code.co_name} ({file}:{line}{f': {text}' if text else ''})")


def _strangeness(file: str) -> int:
    """Order code by how far it is from the application's own: that, other packages, the standard library and ours."""
    if file.startswith(_OURS):
        return 3
    if file.startswith(_INSTALLED):
        return 1
    return 2 if file.startswith((_STANDARD, _FROZEN)) else 0


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
