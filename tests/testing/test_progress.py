"""The progress of a long command, on a terminal and elsewhere."""

from __future__ import annotations

import io

from actors.testing.progress import Progress


class Terminal(io.StringIO):
    """A stream that is looked at."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal() -> None:
    """A bar that is drawn over itself, and lines above it that stay."""
    stream = Terminal()
    progress = Progress(stream, 2)
    progress._shown_at = -1.0
    progress.step(0)
    progress.say("something")
    progress.step(1)
    drawn = stream.getvalue()
    assert "\r[###############...............] 1/2 seeds, 0 failed" in drawn
    assert "\r\x1b[Ksomething\n" in drawn
    assert "\r[##############################] 2/2 seeds, 1 failed" in drawn
