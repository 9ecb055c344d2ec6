"""The processes of a run, seen from their parent: started on a core each, spoken to by lines, never left behind."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import attrs

import actors

ROOT = Path(__file__).parent.parent
"""The repository's root."""

ANSWER_SECONDS = 120.0
"""Time for a process to start, to connect, or to report, so that a server that hangs does not hang the benchmark."""

STOP_SECONDS = 30.0
"""Time for a server to close its connections."""


class ProcessFailed(Exception):
    """A process that did not answer as the protocol of lines says; its own words are on standard error."""


@attrs.frozen
class Child:
    """A process of this package, with the lines to it and from it."""

    module: str
    pid: int
    stdin: IO[str]
    stdout: IO[str]

    def write_line(self, *words: object) -> None:
        """Write one line to the process. Raises :class:`ProcessFailed` when it has ended."""
        try:
            self.stdin.write(" ".join(map(str, words)) + "\n")
            self.stdin.flush()
        except BrokenPipeError:
            raise ProcessFailed(f"{self.module}: expected a reader of {words[0]!r}, got none") from None

    def wait_for(self, word: str, patience_seconds: float | None = ANSWER_SECONDS) -> str:
        """Wait for the line that begins with ``word``, and return the rest of it. Raises :class:`ProcessFailed`."""
        if not select.select([self.stdout], [], [], patience_seconds)[0]:
            raise ProcessFailed(f"{self.module}: expected {word!r}, got nothing for {patience_seconds} s")
        got, _, rest = self.stdout.readline().strip().partition(" ")
        if got != word:
            raise ProcessFailed(f"{self.module}: expected {word!r}, got {got!r}; why stands above")
        return rest


@contextmanager
def child(module: str, *arguments: object, package: Path | None = None) -> Iterator[Child]:
    """Run a module of this package as a process; neither it nor what it started outlives the block.

    Raises :class:`ProcessFailed` when it does not end after the block.

    ``package`` is the folder from which it imports ``actors``, in place of the one that this process has.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    # As the working directory, because -m puts that before everything else that Python searches.
    folder = package or Path(actors.__file__).parent.parent
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    # In a process group of its own, because Ctrl-C is for this process, which ends the other one; and because
    # a broker that the process has started is ended with it.
    with subprocess.Popen(  # noqa: S603 - our modules
        command, cwd=folder, env=environment, text=True, stdin=pipe, stdout=pipe, process_group=0
    ) as process:
        try:
            yield Child(module, process.pid, cast(IO[str], process.stdin), cast(IO[str], process.stdout))
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise ProcessFailed(f"{module}: expected to end within {STOP_SECONDS:g} s, it runs on") from None
        finally:
            process.poll()
            _kill_group(process.pid)


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, 9)
    except ProcessLookupError:
        return


def cores() -> tuple[list[object], list[object]]:
    """Choose the arguments that pin server and client to a core each, where the machine has two."""
    ours = sorted(os.sched_getaffinity(0))
    if len(ours) < 2:
        return [], []
    return ["--cpu", ours[0], "--feeder-cpu", ours[1]], ["--cpu", ours[1]]
