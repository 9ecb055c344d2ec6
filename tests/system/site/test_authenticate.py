"""The functions of the page on authentication, each asked by a real client of a real server."""

from __future__ import annotations

import importlib.util
import sqlite3
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import jwt
import pytest
import trio

import actors
from tests.support.raw import ACTORS, Peer, upgrade_request
from tests.support.served import PATIENCE_SECONDS, served
from tests.system.site.chat import EXAMPLES

KEY = "k" * 32


def example(name: str) -> ModuleType:
    """An example of the page, as a module of its own."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def answered(peer: Peer, token: str) -> Any:
    """Say hello with a token: the welcome, or the error."""
    await peer.open(ACTORS)
    await peer.say({"op": "hello", "v": 1, "token": token})
    return (await peer.next_message())["op"]


def token(key: str = KEY, **claims: Any) -> str:
    """A token of alice's, with some claims other than those that are right."""
    right = {"sub": "alice", "aud": "chat", "exp": time.time() + 60}
    return jwt.encode({name: value for name, value in (right | claims).items() if value is not None}, key, "HS256")


async def test_a_token_that_is_signed_and_fresh_is_its_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is welcome; one that has expired, is for another audience, is signed by others, or says no end, is not."""
    monkeypatch.setenv("JWT_KEY", KEY)
    async with served(authenticate=example("json_web_token").who) as server:
        async with server.peer() as peer:
            assert await answered(peer, token()) == "welcome"
            assert [connection.user_id for connection in server.runtime.tree.server.connections.values()] == ["alice"]
        wrong = {"exp": time.time() - 60}, {"aud": "mail"}, {"key": "x" * 32}, {"exp": None}, {"sub": None}
        for claims in wrong:
            async with server.peer() as peer:
                assert await answered(peer, token(**claims)) == "error"
        async with server.peer() as peer:
            assert await answered(peer, "nonsense") == "error"


async def test_the_cookie_of_a_session_is_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of the application connects with its session; one that has ended, and a page of others, do not."""
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("sessions.db") as database:
        database.execute("CREATE TABLE sessions (key, user_id, expires)")
        rows = ("fresh", "alice", time.time() + 60), ("stale", "alice", time.time() - 60)
        database.executemany("INSERT INTO sessions VALUES (?, ?, ?)", rows)
    database.close()
    asked = (
        ("fresh", "https://chat.example", 101),
        ("stale", "https://chat.example", 401),
        ("guess", "https://chat.example", 401),
        ("fresh", "https://evil.example", 403),
    )
    async with example("session_cookie").open_runtime() as runtime, trio.open_nursery() as nursery:
        address = await nursery.start(runtime.serve)
        for session, origin, status in asked:
            stream = await trio.open_tcp_stream(*address)
            async with stream:
                request = upgrade_request(origin=origin, extra=[("Cookie", f"theme=dark; session_id={session}")])
                assert (await Peer(stream).ask(request)).status == status, (session, origin)
        nursery.cancel_scope.cancel()


async def test_a_ticket_is_good_once_and_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    """The first one that comes with it is its user; a second one, and one that comes too late, is not."""
    module = example("ticket")

    async def user_of(ticket: str) -> str | None:
        asked = actors.Credentials(token=ticket, source="ticket", peer="x", headers={})
        answer: str | None = await module.who(asked)
        return answer

    with trio.fail_after(PATIENCE_SECONDS):
        ticket = module.issue("alice")
        assert [await user_of(ticket), await user_of(ticket)] == ["alice", None]
        late, kept = module.issue("alice"), module.issue("bob")
        await trio.sleep(module.SECONDS + 1)
        assert await user_of(late) is None
        assert kept not in module.tickets


async def test_a_ticket_is_a_second_subprotocol() -> None:
    """A client brings it with the upgrade, and leaves the token out of its hello; a wrong one is answered with 401."""
    module = example("ticket")
    async with served(authenticate=module.who) as server:
        for ticket, status in ((module.issue("alice"), 101), ("guess", 401)):
            async with server.peer() as peer:
                assert (await peer.ask(upgrade_request(ACTORS, f"actors.ticket.{ticket}"))).status == status
                if status == 101:
                    await peer.hello(None)
