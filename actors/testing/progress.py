"""The progress of a long command: a bar on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import os
from typing import TextIO

from actors.testing.invariants import INVARIANTS, name_of
from actors.tools.terminal import show

NOTHING = f"nothing contradicts an invariant ({', '.join(map(name_of, INVARIANTS))})"
"""The verdict that is hoped for."""

_BAR_CELLS = 30
_BAR_SECONDS, _LINE_SECONDS = 0.1, 10.0


class Progress:
    """So many steps, shown on a stream while they are taken."""

    def __init__(self, stream: TextIO, steps: int) -> None:
        self._stream = stream
        self._steps = steps
        self._done = 0
        self._begun = os.times()
        self._shown_at = 0.0

    @property
    def seconds(self) -> float:
        """Real seconds since the beginning."""
        return os.times().elapsed - self._begun.elapsed

    @property
    def cpu_seconds(self) -> float:
        """Seconds that this process worked."""
        now, begun = os.times(), self._begun
        return now.user - begun.user + now.system - begun.system

    def step(self, failed: int) -> None:
        """Count one step, and show it when it is time."""
        self._done += 1
        tty = self._stream.isatty()
        if self.seconds - self._shown_at < (_BAR_SECONDS if tty else _LINE_SECONDS) and self._done < self._steps:
            return
        self._shown_at = self.seconds
        text = f"{self._done}/{self._steps} seeds, {failed} failed, {self.rate:.0f} a CPU minute"
        if tty:
            cells = _BAR_CELLS * self._done // self._steps
            self._write(f"\r[{'#' * cells}{'.' * (_BAR_CELLS - cells)}] {text}\x1b[K")
        elif self._done < self._steps:
            self._write(f"{text}\n")

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self._write(f"\r\x1b[K{text}\n" if self._stream.isatty() else f"{text}\n")

    def summary(self, failed: int) -> str:
        """Return the closing line."""
        what = NOTHING if not failed else f"{failed} contradict an invariant"
        done = f"{self._done}{'' if self._done == self._steps else f' of {self._steps}'}"
        return f"{done} seeds in {self.seconds:.1f} s, {self.rate:.0f} a CPU minute: {what}"

    @property
    def rate(self) -> float:
        """Steps in a minute of this process' work."""
        return 60 * self._done / max(self.cpu_seconds, 0.01)

    def _write(self, text: str) -> None:
        show(text, self._stream, "standard error")
