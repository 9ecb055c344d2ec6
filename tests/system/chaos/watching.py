"""A process with devices in it, each of which writes down what comes, and where it is, before it takes more.

    python -m tests.system.chaos.watching URL SILENCE_SECONDS USER=JOURNAL …

A device whose journal has something in it goes on from there; any other begins with all that is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from actors.client import connect, conversation
from tests.system.chaos.journals import Journal


async def watch(url: str, user_id: str, journal: Journal) -> None:
    """Be a device of a user until killed, or refused for good."""
    journal.mend()
    async with connect(
        url,
        token=user_id,
        cursor=journal.cursor,
        origin="low",
        on_state=lambda state: journal.write("state", text=state.name),
    ) as session:
        async for item in session:
            journal.note(item, session.cursor)


async def main(*words: str) -> None:
    """Be all of these devices, which give a silent server up after so long, and not after ten seconds."""
    url, silence_seconds, *devices = words
    conversation._SILENCE_SECONDS = float(silence_seconds)
    async with trio.open_nursery() as nursery:
        for device in devices:
            user_id, _, path = device.partition("=")
            nursery.start_soon(watch, url, user_id, Journal(Path(path)))


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
