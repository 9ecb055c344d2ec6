"""The command: many seeds with how far it is, one with its trace; a failure is one line that repeats it."""

from __future__ import annotations

import io
import re

import pytest

from actors.presence import Acked
from actors.testing.command import main
from actors.testing.progress import Progress


def test_many(capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds that all hold end with a line that says so, and with 0."""
    assert main(["--seeds", "3", "--first", "5"]) == 0
    said = capsys.readouterr().err
    assert re.fullmatch(r"3 seeds in \d+\.\d s, \d+ a CPU minute: nothing contradicts an invariant\n", said)


def test_one(capsys: pytest.CaptureFixture[str]) -> None:
    """One seed shows its plan, and with ``--trace`` what happened."""
    assert main(["--seed", "5", "--trace"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("seed 5: Setting(users=")
    assert '"op":"welcome"' in said
    assert said.endswith("seed 5: nothing contradicts an invariant\n")


def test_a_failure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that fails is one line; repeated, it is as short as it fails."""
    monkeypatch.setattr(Acked, "enter", lambda self: None)
    assert main(["--seeds", "2", "--only", "emit,lag"]) == 1
    failed, _ = capsys.readouterr().err.splitlines()[0].split("  # ")
    assert failed == "python -m actors.testing --seed 0 --only emit,lag"
    assert main(failed.split()[3:]) == 1
    said = capsys.readouterr().out
    assert len([line for line in said.splitlines() if line.startswith("#")]) == 1
    assert said.endswith("seed 0: failed\n")


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
