"""ASGI servers as processes, each with the tests' application, and the places where devices connect to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import trio

from tests.support.raw import ACTORS, Message, Peer, connected, upgrade_request

APP = "tests.system.asgi.app:app"
_ROOT = Path(__file__).parents[3]
_START_SECONDS = 20.0
_STOP_SECONDS = 20.0

COMMANDS = {
    "hypercorn on Trio": "hypercorn --worker-class trio --bind 127.0.0.1:{port}",
    "anycorn on Trio": "anycorn --worker-class trio --bind 127.0.0.1:{port}",
    "uvicorn": "uvicorn --port {port}",
    "granian": "granian --interface asgi --port {port}",
    "anycorn on Trio, from code": "actors.asgi --server anycorn --bind 127.0.0.1:{port}",
    "hypercorn, from code": "actors.asgi --loop asyncio --server hypercorn --bind 127.0.0.1:{port}",
}
"""The command line of each server, without the application."""


@attrs.define
class Server:
    """A server that runs."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def request(self, method: str, path: str, **query: Any) -> Any:
        """Ask the application."""
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}"
        asked = urllib.request.Request(url, method=method)
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310 - of this machine
            return json.load(answer)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, as a process supervisor does: to the process that was started."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended; its exit code."""
        return self.process.wait(_STOP_SECONDS)

    def text(self) -> str:
        """What it wrote."""
        return self.log.read_text()


@contextmanager
def running(name: str, folder: Path, **environment: str) -> Iterator[Server]:
    """A server from its first answer on; killed at the end if it still runs."""
    port = free_port()
    command = [*COMMANDS[name].format(port=port).split(), APP]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=_ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(_ROOT), **environment},
            start_new_session=True,
        )
    try:
        server = Server(name, port, process, log)
        _wait_for(server)
        yield server
    finally:
        with suppress(ProcessLookupError):  # its workers too, also those that it has left behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(server: Server) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert server.process.poll() is None, server.text()
        try:
            server.request("GET", "/state")
            return
        except OSError:
            assert time.monotonic() < deadline, server.text()
            time.sleep(0.05)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@attrs.frozen
class Refusal:
    """An answer that is no upgrade."""

    status: int
    headers: dict[str, str]
    body: str


@attrs.frozen
class Place:
    """A place where devices connect: a server's mount, or the runtime's own port in the same process."""

    server: Server
    address: tuple[str, int]
    prefix: str

    @property
    def is_own(self) -> bool:
        """True for the runtime's own port."""
        return not self.prefix

    @property
    def host(self) -> str:
        """The address as a browser says it."""
        return f"{self.address[0]}:{self.address[1]}"

    def upgrade(self, *offers: str, path: str = "", **options: Any) -> bytes:
        """An upgrade request for this place."""
        return upgrade_request(*offers, path=path or f"{self.prefix}/ws", host=self.host, **options)

    @asynccontextmanager
    async def peer(self, *offers: str, **options: Any) -> AsyncIterator[Peer]:
        """A peer that was let in."""
        async with connected(self.address) as peer:
            answer = await peer.ask(self.upgrade(*offers, **options))
            assert answer.status == 101
            assert answer.headers.get("sec-websocket-protocol") == (ACTORS if ACTORS in offers else None)
            yield peer

    @asynccontextmanager
    async def device(self, token: str, **fields: Any) -> AsyncIterator[Peer]:
        """A device that has caught up."""
        async with self.peer(ACTORS) as peer:
            await peer.hello(token, **fields)
            await peer.next_op("caught_up")
            yield peer

    async def ask(self, request: bytes) -> Refusal:
        """Send a request of which the answer is no upgrade."""
        async with connected(self.address) as peer:
            await peer.send(request)
            data = b""
            while b"\r\n\r\n" not in data:
                data += await self._more(peer)
            head, _, body = data.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            fields = (line.partition(":") for line in lines[1:])
            headers = {name.lower(): value.strip() for name, _, value in fields}
            size = 0 if request.startswith(b"HEAD") else int(headers.get("content-length", "0"))
            while len(body) < size:
                body += await self._more(peer)
            return Refusal(int(lines[0].split(" ")[1]), headers, body.decode())

    async def get(self, path: str, method: str = "GET") -> Refusal:
        """Ask for a path of the runtime's."""
        return await self.ask(f"{method} {self.prefix}{path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())

    async def emit(self, user: str, count: int = 1, size: int = 0) -> list[str]:
        """Have the application emit; the ids."""
        ids: list[str] = await self.told("POST", "/emit", user=user, count=count, size=size)
        return ids

    async def state(self) -> dict[str, Any]:
        """How the runtime is."""
        found: dict[str, Any] = await self.told("GET", "/state")
        return found

    async def told(self, method: str, path: str, **query: Any) -> Any:
        """Ask the application, on a connection beside the devices'."""
        return await trio.to_thread.run_sync(lambda: self.server.request(method, path, **query))

    async def until(self, **expected: Any) -> None:
        """Until the runtime's state has these values."""
        while not expected.items() <= (await self.state()).items():  # noqa: ASYNC110 - another process has no bell
            await trio.sleep(0.01)

    async def _more(self, peer: Peer) -> bytes:
        data = await peer.stream.receive_some(65_536)
        assert data, "the server went in the middle of its answer"
        return bytes(data)


def places_of(server: Server) -> dict[str, Place]:
    """The places of one server."""
    host, port = server.request("GET", "/state")["address"]
    return {
        "mount": Place(server, ("127.0.0.1", server.port), "/live"),
        "own port": Place(server, (host, port), ""),
    }


async def events(peer: Peer, count: int) -> list[Message]:
    """The next events, however they come."""
    found: list[Message] = []
    while len(found) < count:
        message = await peer.next_message()
        if message.get("op") == "batch":
            found += message["events"]
        elif "type" in message:
            found.append(message)
    assert len(found) == count
    return found
