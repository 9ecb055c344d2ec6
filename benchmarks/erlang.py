"""Erlang's own figures for a hop and for a restart, where ``escript`` is: its program clocks itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).with_name("erlang.escript")
ANSWER_SECONDS = 120.0


def erlang(what: str, count: int, rounds: int) -> tuple[list[float], str]:
    """Measure a ``hop`` or a ``restart`` so many times in each round; returns the ns of one, and a note.

    Raises CalledProcessError where Erlang is there and its program fails.
    """
    escript = shutil.which("escript")
    if escript is None:
        return [], "Erlang: skipped, the program escript is not installed"
    command = [escript, str(SCRIPT), what, str(count), str(rounds)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=ANSWER_SECONDS).stdout  # noqa: S603
    release = re.search(r"^release (\S+)$", told, re.MULTILINE)
    figures = [float(line) for line in re.findall(r"^ns (\S+)$", told, re.MULTILINE)]
    assert len(figures) == rounds, told
    return figures, f"Erlang: OTP {release[1] if release else 'of an unknown release'}"
