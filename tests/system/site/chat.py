"""The program of the afternoon, as a process in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

import actors.examples.assistant
from tests.support.pages import ROOT
from tests.system.site.page import SITE

EXAMPLES = SITE / "examples"
FILES = ("chat.py", "chat.html", "chat.js")


def laid(folder: Path) -> Path:
    """The folder, with the files of the page in it."""
    for name in FILES:
        shutil.copy(EXAMPLES / name, folder)
    shutil.copy(actors.examples.assistant.__file__, folder / "assistant.py")
    return folder


@asynccontextmanager
async def chat(folder: Path, port: int, assistant: str | None = None) -> AsyncIterator[trio.Process]:
    """Serve from a folder at a port, and yield the process once it says that it listens.

    ``assistant`` is the text of another agent than that of the page.
    """
    laid(folder)
    if assistant is not None:
        (folder / "assistant.py").write_text(assistant)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PORT": str(port), "CONTROL": str(folder / "control")}
    words = [sys.executable, "chat.py"]
    process = await trio.lowlevel.open_process(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    try:
        assert b"Talk to it on http://" in await process.stdout.receive_some()
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
