"""What a session is opened with: what cannot be meant is refused before anything is started; who gives the token."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import actors
from actors.client import Cursor, Session, State, connect
from tests.support.scripted_server import URL, Scripted, autojump_clock, event, server
from tests.support.served import served

__all__ = ["autojump_clock", "server"]

SECRET = "s3cret-of-alice"


async def coroutine(state: State) -> None:
    """Is not awaited by anything that calls ``on_state``."""


class Coroutine:
    """Neither is what this returns."""

    async def __call__(self, state: State) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"url": None}, "url: expected a string like wss://host/ws, got NoneType"),
        ({"url": URL.encode()}, "url: expected a string like wss://host/ws, got bytes"),
        ({"url": f"{URL}/\ud83d"}, "url: expected text that UTF-8 can encode, got half of a surrogate pair, U+D83D"),
        ({"token": 5}, "token: expected a string, a function that gives one, or None, got int"),
        ({"token": SECRET.encode()}, "token: expected a string, a function that gives one, or None, got bytes"),
        ({"token": f"{SECRET}\ud83d"}, "token: expected text that UTF-8 can encode, got half of a surrogate pair"),
        ({"token": SECRET * 1_000}, "token: expected at most 4,096 characters, got 15,000"),
        ({"cursor": ("e", 1)}, "cursor: expected an instance of actors.events.items.Cursor, got tuple"),
        (
            {"cursor": {"epoch": "e", "offset": 1}},
            "cursor: expected an instance of actors.events.items.Cursor, got dict",
        ),
        ({"cursor": Cursor("\ud83d", 1)}, "cursor.epoch: expected text that UTF-8 can encode"),
        ({"cursor": Cursor(None, 1)}, "cursor.epoch: expected a string, got null"),  # type: ignore[arg-type] # a mistake
        ({"cursor": Cursor("e" * 5_000, 1)}, "cursor.epoch: expected at most 4,096 characters, got 5,000"),
        ({"cursor": Cursor("e", -1)}, "cursor.offset: expected a whole number from 0 on, got -1"),
        ({"cursor": Cursor("e", 2**53)}, "cursor.offset: expected a whole number from 0 on, got 9007199254740992"),
        ({"cursor": Cursor("e", "1")}, "cursor.offset: expected a whole number from 0 on, got str"),  # type: ignore[arg-type] # a mistake
        ({"origin": "start"}, "origin: expected one of 'unacked', 'low', 'head', got 'start'"),
        ({"origin": None}, "origin: expected one of 'unacked', 'low', 'head', got None"),
        ({"headers": "x"}, "headers: expected a mapping from names to values, got str"),
        ({"headers": [("X", SECRET)]}, "headers: expected a mapping from names to values, got list"),
        ({"headers": {"X": 5}}, "headers: expected strings, got int as 'X'"),
        ({"headers": {"X": None}}, "headers: expected strings, got None as 'X'"),
        ({"headers": {b"X": SECRET}}, "headers: expected strings, got str as b'X'"),
        ({"headers": {"X": f"{SECRET}\ud83d"}}, "headers['X']: expected text that UTF-8 can encode, got half of"),
        ({"headers": {"X": f"{SECRET}\r\nY: z"}}, "headers: expected a value of X on one line"),
        ({"headers": {"Host": "other"}}, "headers: expected names that the upgrade does not have itself, got 'Host'"),
        ({"headers": {"sec-websocket-protocol": "x"}}, "headers: expected names that the upgrade does not have itself"),
        ({"headers": {"UPGRADE": "h2c"}}, "headers: expected names that the upgrade does not have itself"),
        ({"ssl_context": True}, "ssl_context: expected an instance of ssl.SSLContext, got True"),
        ({"ssl_context": ssl.create_default_context()}, "ssl_context: expected none for a URL without TLS"),
        (
            {"url": "wss://server/ws", "ssl_context": ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)},
            "ssl_context: expected an ssl.SSLContext of a client",
        ),
        ({"connect_seconds": 0}, "connect_seconds: expected more than 0 seconds"),
        ({"connect_seconds": -1}, "connect_seconds: expected seconds, 0 or more, got -1"),
        ({"connect_seconds": math.nan}, "connect_seconds: expected seconds, 0 or more, got nan"),
        ({"connect_seconds": "10"}, "connect_seconds: expected seconds, 0 or more, got str"),
        ({"queued_items": 0}, "queued_items: expected a whole number from 1 on, got 0"),
        ({"queued_items": 1.5}, "queued_items: expected a whole number from 1 on, got float"),
        ({"queued_bytes": -1}, "queued_bytes: expected a whole number from 1 on, got -1"),
        ({"queued_bytes": True}, "queued_bytes: expected a whole number from 1 on, got bool"),
        ({"queued_bytes": None}, "queued_bytes: expected a whole number from 1 on, got null"),
        ({"on_state": None}, "on_state: expected a function, on_state(state), got None"),
        ({"on_state": coroutine}, "on_state: expected a function, on_state(state), got a coroutine function"),
        ({"on_state": Coroutine()}, "on_state: expected a function, on_state(state), got a coroutine function"),
        ({"on_state": lambda: None}, "on_state: expected a function, on_state(state), got one that takes ()"),
        ({"environment": {}}, "environment: expected an instance of actors.environment.Environment, got dict"),
    ],
)
async def test_what_cannot_be_meant(server: Scripted, options: dict[str, Any], reason: str) -> None:
    """An option that cannot be meant is refused by its name, bare, before there is a session; no secret is repeated."""
    with pytest.raises((TypeError, ValueError)) as caught:
        async with connect(**({"url": URL} | options)):
            pytest.fail("it has begun")
    assert str(caught.value).startswith(reason)
    assert SECRET not in str(caught.value)
    assert server.attempts == 0


@pytest.mark.parametrize("seconds", [0.5, 10, math.inf])
async def test_what_can_be_meant(server: Scripted, seconds: float) -> None:
    """What may be set to its bounds is taken."""
    async with connect(
        URL,
        token="t" * 4_096,
        cursor=Cursor("ep_1", 0),
        origin="head",
        headers={"Cookie": "a=b; c=é", "Authorization": "Bearer x"},
        connect_seconds=seconds,
        queued_items=1,
        queued_bytes=1,
        on_state=print,
    ):
        line = await server.accept()
        assert (await line.welcome(resume="replayed"))["token"] == "t" * 4_096


# --- a token that is asked for ------------------------------------------------------------


async def reached_state(session: Session, name: str) -> State:
    """Wait until the state has this name, and return it."""
    while session.state.name != name:  # noqa: ASYNC110 - no event says that the state has changed
        await trio.sleep(0.01)
    return session.state


def plainly(token: str | None) -> Callable[[], Any]:
    return lambda: token


def in_a_while(token: str | None) -> Callable[[], Any]:
    async def later() -> str | None:
        await trio.sleep(1)
        return token

    return later


@pytest.mark.parametrize("function", [plainly, in_a_while])
@pytest.mark.parametrize("token", ["t1", None])
async def test_a_function_gives_the_token(
    server: Scripted, autojump_clock: MockClock, function: Callable[[str | None], Callable[[], Any]], token: str | None
) -> None:
    """A function, async or not, returns the token; ``None`` leaves it to a cookie."""
    async with connect(URL, token=function(token)) as session:
        hello = await (await server.accept()).welcome(resume="fresh")
        assert hello == {"op": "hello", "v": 1, "renames": True} | ({} if token is None else {"token": token})
        assert (await reached_state(session, "open")).failures == 0


async def test_each_connection_has_its_own(server: Scripted, autojump_clock: MockClock) -> None:
    """The function is asked for each connection, and the session keeps its id, its place and what it has asked for."""
    tokens = iter(["t1", "t2"])
    async with connect(URL, token=lambda: next(tokens)) as session, trio.open_nursery() as nursery:
        line = await server.accept()
        assert (await line.welcome(resume="fresh"))["token"] == "t1"
        await line.say(event(1))
        assert (await anext(session)) is not None
        nursery.start_soon(session.cancel, "run_1")
        later = await line.hear_op("cancel")
        await line.drop()
        line = await server.accept()
        hello = await line.welcome(resume="replayed", head=1)
        assert (hello["token"], hello["session"], hello["resume"]) == ("t2", "s_1", {"epoch": "ep_1", "offset": 0})
        assert await line.hear_op("cancel") == later
        reply = {"run_id": "run_1", "stopped": [], "running": []}
        await line.say({"op": "reply", "id": later["id"], "ok": True, **reply})


async def test_not_asked_where_no_server_is(server: Scripted, autojump_clock: MockClock) -> None:
    """As long as no server can be reached nothing asks for tokens, which may cost a request each."""
    server.up = False
    async with connect(URL, token=lambda: pytest.fail("it was asked")) as session:
        await reached_state(session, "waiting")
        await trio.sleep(30)
        assert server.attempts > 1


class Unreachable(Exception):
    """The service that gives tokens is away."""


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Unreachable("503 from the service"), "no token: Unreachable: 503 from the service"),
        (Unreachable("x\x1b[2J" * 100_000), "no token: Unreachable: x\\x1b[2Jx"),
        (SystemExit(1), "no token: SystemExit: 1"),
        (StopIteration(), "no token: StopIteration"),
        (ExceptionGroup("both", [Unreachable("503")]), "no token: Unreachable: 503"),
        (5, "no token: TypeError: token: expected a string"),
        (SECRET.encode(), "no token: TypeError: token: expected a string"),
        (plainly("t"), "no token: TypeError: token: expected a string or None, got function"),
        (f"{SECRET}\ud83d", "no token: Unencodable: token: expected text that UTF-8 can encode"),
        (SECRET * 1_000, "no token: ValueError: token: expected at most 4,096 characters"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_no_token_is_no_connection(
    server: Scripted, autojump_clock: MockClock, wrong: Any, reason: str, is_async: bool
) -> None:
    """A token function that raises, or returns no token, fails the connection: reported, and tried again."""
    answers = [wrong, wrong, "t3"]

    def give() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def give_later() -> Any:
        await trio.sleep(0.1)
        return give()

    states: list[State] = []
    async with connect(URL, token=give_later if is_async else give, on_state=states.append) as session:
        for _ in range(2):
            line = await server.accept()
            await line.upgrade()
            assert await line.ending() is not None
            assert line.said == []
        hello = await (await server.accept()).welcome(resume="fresh")
        assert hello["token"] == "t3"
        await reached_state(session, "open")
    if wrong.__class__ is StopIteration and is_async:
        reason = "no token: RuntimeError: coroutine raised StopIteration"
    waits = [state for state in states if state.name == "waiting"]
    assert [state.failures for state in waits] == [1, 2]
    assert all(state.text.startswith(reason) and len(state.text) < 10_000 for state in waits)
    assert all(SECRET not in state.text and "\x1b" not in state.text for state in waits)


async def test_a_token_that_never_comes(server: Scripted, autojump_clock: MockClock) -> None:
    """A function that hangs is given up with its connection, after what that may take."""
    async with connect(URL, token=trio.sleep_forever, connect_seconds=3) as session:
        before = trio.current_time()
        await (await server.accept()).upgrade()
        assert (await reached_state(session, "waiting")).text == "no token: expected one within 3 s"
        assert 3 <= trio.current_time() - before < 6


async def test_leaving_while_a_token_is_asked_for(server: Scripted, autojump_clock: MockClock) -> None:
    """A session that is left waits for no token."""
    async with connect(URL, token=trio.sleep_forever):
        await (await server.accept()).upgrade()
        await trio.sleep(0.1)
        before = trio.current_time()
    assert trio.current_time() - before < 3


async def test_ctrl_c_while_a_token_is_asked_for(server: Scripted, autojump_clock: MockClock) -> None:
    """The wish of the person at the keyboard is no failure of a token."""

    def give() -> str:
        raise KeyboardInterrupt

    async def follow() -> None:
        async with connect(URL, token=give):
            await (await server.accept()).upgrade()
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        await follow()


async def test_a_session_outlives_its_token() -> None:
    """With a real server: the first token is worth nothing any more, and the session goes on with the next one."""
    valid = {"t1"}
    given = 0

    async def authenticate(credentials: actors.Credentials) -> str | None:
        return "alice" if credentials.token in valid else None

    async def token() -> str:
        nonlocal given
        given += 1
        await trio.lowlevel.checkpoint()
        return f"t{given}"

    async with served(authenticate=authenticate) as server:
        assert isinstance(server.address, tuple)
        host, port = server.address
        async with connect(f"ws://{host}:{port}/ws", token=token) as session:
            first = await session.send({"text": "x"})
            valid.clear()
            valid.add("t2")
            for connection in tuple(server.runtime.tree.server.connections.values()):
                connection._transport.abort()
            second = await session.send({"text": "y"}, thread_id=first.thread_id)
            assert (first.seq, second.seq, given) == (1, 2, 2)
