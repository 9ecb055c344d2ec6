"""The page of the folder: its application runs as printed, with both of its commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.support.pages import ROOT, examples
from tests.support.raw import ACTORS, Peer, connected, upgrade_request
from tests.system.asgi.servers import free_port

PAGE = "actors/asgi/README.md"
SESSION = "session=s3cret"


@contextmanager
def served(command: str, folder: Path) -> Iterator[int]:
    """The application, served by a command of the page; its port."""
    (example,) = examples(PAGE)
    (folder / "app.py").write_text(example)
    port = free_port()
    options = ["--bind", f"127.0.0.1:{port}"] if "actors.asgi" in command else ["--port", str(port)]
    words = command.removeprefix("python -m ").split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", *words, *options], cwd=folder, env=environment)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


async def ask(port: int, request: bytes) -> str:
    """Send a request, as soon as the server is there; the whole answer."""
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)
            continue
        async with stream:
            await stream.send_all(request)
            return b"".join([bytes(part) async for part in stream]).decode()


def upgrade(port: int, path: str, cookie: str = SESSION) -> bytes:
    return upgrade_request(ACTORS, path=path, host=f"127.0.0.1:{port}", cookie=cookie)


async def come(peer: Peer, port: int, path: str) -> None:
    assert (await peer.ask(upgrade(port, path))).status == 101
    await peer.hello(None)
    await peer.next_op("caught_up")


async def conversation(port: int) -> None:
    """Two devices of one user, one of each endpoint: a report, a question and its answer; then strangers."""
    post = f"POST /reports HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\nCookie: {SESSION}\r\n\r\n"
    health = "GET /live/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert (await ask(port, health.encode())).endswith("ok\n")
    async with connected(("127.0.0.1", port)) as mounted, connected(("127.0.0.1", port)) as known:
        await come(mounted, port, "/live/ws")
        await come(known, port, "/ws")
        event_id = json.loads((await ask(port, post.encode())).partition("\r\n\r\n")[2])
        for peer in (mounted, known):
            assert (await peer.next_event())["event_id"] == event_id
        await mounted.say({"op": "send", "id": "c1", "thread_id": "t1", "payload": {"text": "hello"}})
        while "You said: hello" not in json.dumps(await known.next_message()):
            pass
    async with connected(("127.0.0.1", port)) as stranger:
        await stranger.send(upgrade(port, "/ws", cookie="session=guess"))
        assert b" 401" in bytes(await stranger.stream.receive_some(100))


@pytest.mark.parametrize("command", ["uvicorn app:app", "python -m actors.asgi app:app"])
async def test_the_example_runs_as_printed(command: str, tmp_path: Path) -> None:
    """The session of the application lets a device in at both endpoints, on asyncio and on Trio."""
    assert f"    {command}\n" in (ROOT / PAGE).read_text()
    with served(command, tmp_path) as port, trio.fail_after(60):
        await conversation(port)


def test_it_is_short() -> None:
    """The example has fewer than thirty lines of code."""
    (example,) = examples(PAGE)
    assert len([line for line in example.splitlines() if line.strip()]) < 30
