"""The page on operation: its commands and requests are those that there are, and what it says of incidents is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import trio

from actors.http.routes import table
from actors.tools.cli import _parser
from tests.support.raw import ACTORS, Peer, connected, upgrade_request
from tests.system.http.command import Served, served
from tests.system.site.page import SITE
from tests.tools.command import PATIENCE_SECONDS, run

PAGE = (SITE / "operate.md").read_text()


def test_every_command_is_one() -> None:
    """Each ``actors …`` on a page of the site is a command of this version."""
    (commands,) = (action.choices for action in _parser()[0]._actions if action.dest == "command")
    assert commands is not None
    for page in SITE.glob("*.md"):
        for name in re.findall(r"(?:`| {4})actors ([a-z-]+)", page.read_text()):
            assert name in set(commands), f"{page.name}: actors {name}"


def test_every_request_is_one() -> None:
    """Each path below ``/v1`` is an operation of the API over HTTP."""
    paths = {re.sub(r"{\w+}", "{}", row.path) for row in table(None, None).operations}  # type: ignore[arg-type]
    named = re.findall(r"`(?:GET|POST|PUT|DELETE) (/v1/[\w{}/]+)", PAGE)
    assert len(named) >= 9
    for path in named:
        assert re.sub(r"{\w+}", "{}", path) in paths, path


async def told(command: Served, *words: str, folder: Path) -> str:
    """What a command says of the server."""
    assert command.command is not None
    done = await run(*words, "--control", str(folder / "control"))
    return done.out + done.err


async def test_the_incidents_are_told_as_the_page_says(tmp_path: Path) -> None:
    """A thread of the wrong user, a refused origin and a token that is none are found by the command of the page."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('secret-of-alice = "alice"\n')
    words = ("--tokens", str(tokens), "--control", str(tmp_path / "control"))
    with trio.fail_after(PATIENCE_SECONDS):
        async with served(tmp_path, *words) as server:
            assert server.command is not None
            event = {"type": "x", "payload": {}, "user_id": "bob", "event_id": "e1"}
            await server.client.post("/v1/threads/t1/events", json=event)
            assert "t1 (of bob)" in await told(server, "why", "alice", folder=tmp_path)
            assert "thread t1, seq 1 → owner bob" in await told(server, "explain", "e1", folder=tmp_path)
            await server.client.put("/v1/threads/t1/owner?force=true", json={"user_id": "alice"})
            assert "bound to alice" in await told(server, "why", "bob", folder=tmp_path)
            await refused(server, origin="https://evil.example")
            await refused(server, token="guess")
            status = await told(server, "status", folder=tmp_path)
            assert "origin (403) 1" in status
            assert "unauthenticated" in status
            assert json.loads(await told(server, "audit", "--json", folder=tmp_path))["balanced"]


async def refused(server: Served, *, origin: str | None = None, token: str = "") -> None:
    """Come from a page elsewhere, or with a token that nobody has."""
    assert server.command is not None
    async with connected(("127.0.0.1", server.command.port)) as peer:
        if origin is not None:
            assert (await peer.ask(upgrade_request(ACTORS, origin=origin))).status == 403
            return
        await enter(peer, token)


async def enter(peer: Peer, token: str) -> None:
    """Say hello with the token, and be sent away for good."""
    await peer.open(ACTORS)
    await peer.say({"op": "hello", "v": 1, "token": token})
    ended = await peer.farewell()
    assert ended is not None
    assert ended[0] == 4501
