"""A runtime with a control socket, in the loop of the test, and a client made of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec
import trio

import actors
from actors import control

PATIENCE_SECONDS = 60.0
"""No test waits longer for anything: a safety net against hangs, not a measurement."""


@attrs.define
class Opened:
    """A runtime, and where its control socket is."""

    runtime: actors.Runtime
    path: Path
    serving: trio.CancelScope
    """The socket ends when it is cancelled."""

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Line]:
        """A connection, nothing asked yet."""
        async with await trio.open_unix_socket(str(self.path)) as stream:
            yield Line(stream)

    async def ask(self, **request: Any) -> Any:
        """Ask on a connection of its own; the whole line that came."""
        async with self.client() as line:
            await line.say(msgspec.json.encode(request) + b"\n")
            return await line.read()


@attrs.define
class Line:
    """The lines of one connection."""

    stream: trio.SocketStream
    _left: bytes = b""

    async def say(self, text: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(text)

    async def read(self) -> Any:
        """The next line, read as JSON; ``None`` at the end."""
        while b"\n" not in self._left:
            came = await self.stream.receive_some(65_536)
            if not came:
                return None
            self._left += came
        text, _, self._left = self._left.partition(b"\n")
        return msgspec.json.decode(text)


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[Opened]:
    """Open a runtime, and serve its control socket at a path."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with actors.open_runtime(**options) as runtime, trio.open_nursery() as nursery:
            yield Opened(runtime, await nursery.start(control.serve, runtime, path), nursery.cancel_scope)
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens soon."""
    while True:
        if condition():
            return
        await trio.sleep(0.005)
