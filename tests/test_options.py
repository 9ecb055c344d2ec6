"""What a runtime is opened with: what cannot be meant is refused before anything is started."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest
import trio

import actors
import actors.web
from actors.environment import Environment
from actors.stores.memory import MemoryStore
from actors.wire.http import Page
from tests.support.served import served

PAGE = Page(b"", "text/plain")
USERS = {"token": "alice"}


async def who(credentials: actors.Credentials) -> str | None:
    return credentials.token


def plain(credentials: actors.Credentials) -> str | None:
    return credentials.token


def decorated(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Awaitable[Any]:
        return function(*args)

    return wrapper


class Directory:
    async def who(self, credentials: actors.Credentials) -> str | None:
        return credentials.token

    def plain(self, credentials: actors.Credentials) -> str | None:
        return credentials.token

    async def __call__(self, credentials: actors.Credentials) -> str | None:
        return credentials.token


def says_so(credentials: actors.Credentials) -> Awaitable[str | None]:
    return who(credentials)


async def opened(**options: Any) -> None:
    async with actors.open_runtime(**options):
        pass


@pytest.mark.parametrize(
    "function",
    [
        who,
        Directory().who,
        Directory(),
        functools.partial(who),
        decorated(who),
        decorated(Directory().who),
        says_so,
        lambda credentials: who(credentials),  # noqa: PLW0108 - what a lambda returns can be awaited
        AsyncMock(),
    ],
)
async def test_what_can_be_awaited(function: Any) -> None:
    """Whatever may return something to await is taken."""
    await opened(authenticate=function)


@pytest.mark.parametrize(
    ("options", "expected", "came"),
    [
        ({"authenticate": plain}, "async def authenticate(credentials)", "the function plain, which cannot be awaited"),
        ({"authenticate": Directory().plain}, "async def authenticate(credentials)", "cannot be awaited"),
        ({"authenticate": functools.partial(plain)}, "async def authenticate(credentials)", "cannot be awaited"),
        ({"authenticate": USERS.get}, "async def authenticate(credentials)", "cannot be awaited"),
        ({"authenticate": Directory}, "async def authenticate(credentials)", "the class Directory"),
        ({"authenticate": USERS}, "async def authenticate(credentials)", "got dict"),
        ({"authenticate": "alice"}, "async def authenticate(credentials)", "got 'alice'"),
        ({"authenticate": None}, "async def authenticate(credentials)", "got None"),
        ({"authorize": who}, "async def authorize(user_id, thread_id)", "one that takes (credentials"),
        ({"authorize": True}, "async def authorize(user_id, thread_id)", "got True"),
        ({"on_message": who}, "async def on_message(run, message)", "one that takes (credentials"),
        ({"on_message": plain}, "async def on_message(run, message)", "cannot be awaited"),
        ({"on_undelivered": opened}, "async def on_undelivered(fate)", "one that takes (**options"),
        ({"limits": {"retained_events": 10}}, "an instance of actors.limits.Limits", "got dict"),
        ({"limits": actors.Limits}, "an instance of actors.limits.Limits", "the class Limits"),
        ({"environment": Environment}, "an instance of actors.environment.Environment", "the class Environment"),
        ({"store": MemoryStore}, "store: expected", "the class MemoryStore"),
        ({"store": "sqlite:///events.db"}, "store: expected", "got 'sqlite:///events.db'"),
        ({"pages": actors.web.pages}, "a mapping from paths to pages", "the function pages"),
        ({"pages": "web"}, "a mapping from paths to pages", "got 'web'"),
        ({"pages": [("/", PAGE)]}, "a mapping from paths to pages", "got list"),
        ({"pages": {"/": "<p>"}}, "a Page for each path", "got '<p>' for '/'"),
        ({"pages": {b"/": PAGE}}, "a Page for each path", "got Page for b'/'"),
        ({"cookie": b"session"}, "an instance of builtins.str", "got b'session'"),
        ({"from_request": "yes"}, "an instance of builtins.bool", "got 'yes'"),
        ({"origins": 8765}, "a collection of web origins, or None", "got int"),
    ],
)
async def test_what_is_of_the_wrong_kind(options: dict[str, Any], expected: str, came: str) -> None:
    """An option of another kind is refused at once, by its name, with what was expected and what came."""
    with pytest.raises(TypeError) as caught:
        await opened(**options)
    (name,) = options
    assert str(caught.value).startswith(f"{name}: expected")
    assert expected in str(caught.value)
    assert came in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"concurrency": "que"}, "'queue', 'reject', 'cancel_previous', 'parallel', got 'que'"),
        ({"concurrency": None}, "'queue', 'reject', 'cancel_previous', 'parallel', got None"),
        ({"concurrency": ["queue"]}, "'parallel', got ['queue']"),
        ({"on_disconnect": "x"}, "'detach', 'cancel_after', got 'x'"),
        ({"origins": ""}, "'https://chat.example.com'"),
        ({"origins": "https://chat.example.com/"}, "'https://chat.example.com'"),
        ({"cookie": ""}, "the name of a cookie, got ''"),
        ({"cookie": "a=b"}, "the name of a cookie, got 'a=b'"),
        ({"from_request": True}, "authenticate beside it"),
        ({"pages": {"page.js": PAGE}}, "paths that begin with /"),
        ({"pages": {"/a?b": PAGE}}, "paths that begin with /"),
        ({"pages": {"/é": PAGE}}, "paths that begin with /"),
        ({"pages": {"/ws": PAGE}}, "beside /healthz and /ws, got '/ws'"),
        ({"pages": {"/healthz": PAGE}}, "beside /healthz and /ws, got '/healthz'"),
    ],
)
async def test_what_cannot_be_meant(options: dict[str, Any], expected: str) -> None:
    """A word that is none of its row, an origin that no page has and a path that is never asked for are refused."""
    with pytest.raises(ValueError, match="expected") as caught:
        await opened(**options)
    (name,) = options
    assert str(caught.value).startswith(f"{name}: expected")
    assert expected in str(caught.value)


async def test_lambdas_that_return_nothing_to_await() -> None:
    """A lambda cannot say what it returns: where that cannot be awaited, its first call says which one it is."""
    limits = actors.Limits(undelivered_seconds=0.0, sweep_seconds=0.01)
    options: dict[str, Any] = {
        "on_message": lambda run, message: "done",
        "authorize": lambda user_id, thread_id: True,
        "on_undelivered": lambda fate: None,
    }
    async with served(limits=limits, **options) as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.say({"op": "send", "id": "c1", "payload": {}, "thread_id": "t1"})
        await peer.say({"op": "send", "id": "c2", "payload": {}})
        expected = {
            f"NotAwaitable: {name}: expected a coroutine function, got one that returned {came}"
            for name, came in (("on_message", "str"), ("authorize", "bool"), ("on_undelivered", "None"))
        }
        while {failure.error for failure in server.runtime.failures} != expected:  # noqa: ASYNC110 - the record of failures has no bell
            await trio.sleep(0.01)


@pytest.mark.parametrize("user_id", [["alice", "bob"], {"alice"}, None, "", b"alice", 7])
async def test_whose_connections_are_ended(user_id: Any) -> None:
    """Who is to be revoked is one user: what can be none is refused, and not taken for a user without connections."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(actors.Unencodable, match="user_id: expected"):
            runtime.revoke(user_id)


@pytest.mark.parametrize("runs", ["finnish", None, True])
async def test_how_runs_end(runs: Any) -> None:
    """A drain is told one of two words about runs; another one changes nothing."""
    async with actors.open_runtime() as runtime:
        with pytest.raises(ValueError, match="runs: expected one of 'finish', 'cancel', got"):
            await runtime.drain(1, runs=runs)
        await runtime.thread("t1").emit("tick", {})


@pytest.mark.parametrize("seconds", ["10", None, True, float("nan"), -1])
async def test_how_long_a_drain_may_take(seconds: Any) -> None:
    """A drain is given seconds; what is no time changes nothing."""
    async with actors.open_runtime() as runtime:
        with pytest.raises((TypeError, ValueError), match="deadline_seconds: expected seconds, 0 or more, got"):
            await runtime.drain(seconds)
        await runtime.thread("t1").emit("tick", {})
