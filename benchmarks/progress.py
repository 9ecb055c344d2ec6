"""The progress of a benchmark on a terminal's last line; nothing where standard error is no terminal."""

from __future__ import annotations

import sys
import time

import attrs

BAR_CELLS = 24


def bar(done: int, total: int) -> str:
    """Draw the share that is done."""
    filled = BAR_CELLS * min(done, total) // max(total, 1)
    return "█" * filled + "░" * (BAR_CELLS - filled)


def remaining(done: int, total: int, seconds: float) -> str:
    """Estimate the time that is left from the time that was taken."""
    if not done:
        return ""
    left = round(seconds / done * max(0, total - done))
    return f"{left // 60}:{left % 60:02} left"


@attrs.define
class Progress:
    """Counts the runs of a claim."""

    claim: str
    total: int = 0
    done: int = 0
    began: float = attrs.field(factory=time.monotonic)
    shown: bool = attrs.field(factory=sys.stderr.isatty)

    def begin(self, total: int) -> None:
        """Begin a claim of so many runs."""
        self.total, self.done, self.began = total, 0, time.monotonic()

    def step(self, doing: str) -> None:
        """Show what is done now; the step before it is over."""
        seconds = time.monotonic() - self.began
        left = remaining(self.done, self.total, seconds)
        self._write(f"{bar(self.done, self.total)} {self.done}/{self.total} {self.claim}: {doing} {left}")
        self.done += 1

    def end(self) -> None:
        """Clear the line, for a table to take its place."""
        self._write("")

    def _write(self, text: str) -> None:
        if self.shown:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
