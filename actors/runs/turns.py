"""Turns in a thread: a new message waits for the active run, ends it, runs beside it, or is refused.

A message takes three steps. It is *expected* when it comes in, which is when
it can be refused; *admitted* when the store has placed it, or *retracted* when
it has not; and its run *ends*. Between the first two steps it already counts,
so that two messages that come together cannot both be the only one.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Literal, TypeVar

Concurrency = Literal["queue", "reject", "cancel_previous", "parallel"]
"""A message in a thread with an active run waits for it, is refused, ends it, or runs beside it."""

R = TypeVar("R")


class Turns(Generic[R]):
    """The runs of one thread: those that are active, and those that wait.

    Invariant: nothing waits while nothing is active.
    """

    __slots__ = ("_concurrency", "_most_runs", "active", "expected", "waiting")

    def __init__(self, concurrency: Concurrency, most_runs: int) -> None:
        self._concurrency = concurrency
        self._most_runs = most_runs
        self.active: list[R] = []
        self.waiting: deque[R] = deque()
        self.expected: int = 0
        """Messages that came in and are not placed yet."""

    def __repr__(self) -> str:
        return f"<Turns {len(self.active)} active, {len(self.waiting)} waiting, {self.expected} expected>"

    @property
    def idle(self) -> bool:
        """True if the thread has no run, and expects none."""
        return not self.active and not self.expected

    def expects(self) -> bool:
        """Return true if another message may come in."""
        most = 1 if self._concurrency == "reject" else self._most_runs
        return len(self.active) + len(self.waiting) + self.expected < most

    def expect(self) -> None:
        """Count a message that has come in; also a repeated one, whatever :meth:`expects` says."""
        self.expected += 1

    def retract(self) -> None:
        """Take back an expected message that was not placed, or was placed before."""
        self.expected -= 1

    def admit(self, run: R) -> tuple[bool, list[R]]:
        """Admit the run of an expected message: True if it starts now, and the runs that must end for it."""
        self.expected -= 1
        if not self.active or self._concurrency == "parallel":
            self.active.append(run)
            return True, []
        ending: list[R] = []
        if self._concurrency == "cancel_previous":
            ending = [*self.active, *self.waiting]
            self.waiting.clear()
        self.waiting.append(run)
        return False, ending

    def join(self, run: R) -> None:
        """Add a run that waits for no turn, the application's own; a run that has its turn is there already."""
        if run not in self.active:
            self.active.append(run)

    def end(self, run: R) -> R | None:
        """Remove a run that has ended, perhaps before its turn; returns the run that has its turn now, if any."""
        if run in self.active:
            self.active.remove(run)
        elif run in self.waiting:
            self.waiting.remove(run)
        if self.active or not self.waiting:
            return None
        successor = self.waiting.popleft()
        self.active.append(successor)
        return successor
