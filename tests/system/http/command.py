"""``actors serve --http`` as a process, and a client of its API."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import httpx
import trio

from tests.tools.command import Finished, Running, arguments, running

KEY = "0123456789abcdef"
ADMIN = f'[test]\nkey = "{KEY}"\nadmin = true\n'


@attrs.frozen
class Served:
    """The process, where its API is, and a client with a key."""

    command: Running | None
    """The process, where a test has one of its own."""
    devices: str
    url: str
    client: httpx.AsyncClient

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the test's own process."""
        assert self.command is not None
        self.command.signal(number)

    async def ended(self) -> Finished:
        """Wait for the end of the test's own process."""
        assert self.command is not None
        return await self.command.ended()

    async def emit(self, number: int, thread_id: str = "t1") -> httpx.Response:
        """Emit a numbered event under an id of its own."""
        event = {"type": "x", "payload": {"n": number}, "user_id": "alice"}
        headers = {"Idempotency-Key": f"e{number}"}
        return await self.client.post(f"/v1/threads/{thread_id}/events", json=event, headers=headers)

    async def numbers(self, thread_id: str = "t1") -> list[int]:
        """The numbers of the events of a thread, in order."""
        came = await self.client.get(f"/v1/threads/{thread_id}/events")
        return [event["payload"]["n"] for event in came.json()["events"]]


@asynccontextmanager
async def served(folder: Path, *words: str) -> AsyncIterator[Served]:
    """Serve on free ports, with a file of keys in the folder."""
    keys = folder / "keys.toml"
    keys.write_text(ADMIN)
    async with running("serve", "--http", "127.0.0.1:0", "--keys", str(keys), *words) as command:
        url = await api_of(command)
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
            yield Served(command, command.url, url, client)


@contextmanager
def one_for_all(folder: Path, text: str = ADMIN, *, more: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Serve for all tests of a module, with these keys; the addresses of the devices and of the API."""
    keys = folder / "keys.toml"
    keys.write_text(text)
    words = arguments("serve", "--port", "0", "--http", "0", "--keys", str(keys), "--drain", "0", *more)
    log = folder / "log"
    with log.open("wb") as err, subprocess.Popen(words, stderr=err) as process:
        try:
            while (found := _ADDRESSES.search(log.read_text())) is None:
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            yield found[1], found[2]
        finally:
            process.terminate()


_ADDRESSES = re.compile(r"listening on (ws://\S+)\nprograms call (http://\S+)/v1\n")


async def api_of(command: Running) -> str:
    """The address of the API, once it is printed."""
    while True:
        if found := re.search(r"programs call (http://\S+)/v1\n", command._err.decode()):
            return found[1]
        await trio.sleep(0.01)
