"""The demonstration as a person meets it: its server, its page, and what the page shows."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby

import trio

from tests.system.web.browser import Browser
from tests.tools.command import PATIENCE_SECONDS, Running, arguments

ACKED = "document.querySelectorAll('[data-event]:not([data-stage=ACKED])').length === 0"


def page(server: Running) -> str:
    """The address at which a server shows its page."""
    return server.url.replace("ws://", "http://").removesuffix("ws")


@asynccontextmanager
async def demo(port: int = 0, *words: str) -> AsyncIterator[Running]:
    """``actors demo`` as a process of its own, at a free port if at none in particular."""
    process = await trio.lowlevel.open_process(arguments("demo", "--port", str(port), *words), stderr=subprocess.PIPE)
    try:
        async with trio.open_nursery() as nursery:
            command = Running(process)
            with trio.fail_after(PATIENCE_SECONDS):
                await command.read(nursery)
            yield command
            process.kill()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def until_runs(browser: Browser, *states: str) -> None:
    """Wait until the conversation has runs in these states, and no others; and all events are acked."""
    runs = "[...document.querySelectorAll('[data-run]')].map(run => run.dataset.state).join()"
    await browser.until(f"{runs} === arguments[0] && {ACKED}", ",".join(states))


async def events(browser: Browser) -> list[tuple[int, int, str]]:
    """Offset, seq and type of every event in the timeline."""
    columns = [await browser.data("[data-event]", name) for name in ("offset", "seq", "type")]
    return [(int(offset), int(seq), type_) for offset, seq, type_ in zip(*columns, strict=True)]


def joined(seen: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Events, with the deltas that follow each other as one: those that wait for a device reach it as one."""
    return [list(group)[-1] for _, group in groupby(seen, key=lambda event: event[2])]


async def conversation(browser: Browser) -> list[str]:
    """Return the messages, in the order they are shown."""
    return await browser.texts(".user-message, .answer")
