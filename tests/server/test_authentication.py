"""Authentication: which credentials count, and what the application may answer about them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import actors
from actors.environment import Environment
from actors.errors import PeerError
from actors.server.authentication import Authentication, trust
from actors.wire.http import RequestHead
from tests.support.raw import ACTORS, upgrade_request
from tests.support.served import Served, ask, context_of, served

ALICE = "actors_token=alice"


# --- credentials ----------------------------------------------------------------


async def test_plain_needs_a_cookie() -> None:
    """A plain client is known by its cookie, and refused before the upgrade without one."""
    async with served() as server:
        status, text = await ask(server, upgrade_request())
        assert status == 401
        assert "actors_token" in text
        assert (await ask(server, upgrade_request(cookie="actors_token=")))[0] == 401
        async with server.peer() as peer:
            await peer.open(cookie=f"other={{}}; {ALICE}")
            await server.emit(1)
            assert (await peer.next_event())["offset"] == 1


async def test_credentials() -> None:
    """A token in the hello, a ticket among the offers, or a cookie: the application hears which, and from whom."""
    seen: list[tuple[str, str]] = []

    async def authenticate(credentials: actors.Credentials) -> str | None:
        seen.append((credentials.source, credentials.token))
        assert credentials.peer.startswith("127.0.0.1:")
        assert credentials.headers["sec-websocket-version"] == "13"
        return "alice"

    async with served(authenticate=authenticate) as server:
        async with server.peer() as peer:
            await peer.open(ACTORS)
            await peer.hello("t1")
        async with server.peer() as peer:
            await peer.open(ACTORS, "actors.ticket.t2")
            await peer.hello(None)
        async with server.peer() as peer:
            await peer.open(ACTORS, cookie="actors_token=t3")
            await peer.hello(None)
        async with server.peer() as peer:
            await peer.open(cookie="actors_token=t4")
        async with server.peer() as peer:
            await peer.open(ACTORS, cookie="actors_token=not asked")
            await peer.hello("t5")
        assert seen == [("hello", "t1"), ("ticket", "t2"), ("cookie", "t3"), ("cookie", "t4"), ("hello", "t5")]
        async with server.peer() as peer:
            await peer.open(ACTORS)
            await peer.say({"op": "hello", "v": 1})
            assert (await peer.next_message())["error"]["name"] == "unauthenticated"
            text = "hello: expected a token, a ticket or a cookie actors_token, got none"
            assert await peer.farewell() == (4501, text)


async def test_a_cookie_of_another_name() -> None:
    """The cookie that carries a token may be the application's own, and then no other does."""
    async with served(cookie="__Host-live") as server:
        async with server.peer() as peer:
            await peer.open(cookie="actors_token=bob; __Host-live=alice")
            await server.emit(1)
            assert (await peer.next_event())["offset"] == 1
        status, text = await ask(server, upgrade_request(cookie=ALICE))
        assert status == 401
        assert "expected a cookie __Host-live" in text


@pytest.mark.parametrize("offers", [(), (ACTORS,)])
async def test_the_request_itself(offers: tuple[str, ...]) -> None:
    """An application that knows its users by what it finds in a request is asked about those without a token."""
    seen: list[tuple[str, str]] = []

    async def authenticate(credentials: actors.Credentials) -> str | None:
        seen.append((credentials.source, credentials.token))
        assert credentials.scope is None
        return credentials.cookie("session")

    async def come(server: Served, **options: Any) -> None:
        async with server.peer() as peer:
            await peer.open(*offers, **options)
            if offers:
                await peer.hello(None)

    async with served(authenticate=authenticate, from_request=True) as server:
        await come(server, cookie="session=alice")
        await come(server, cookie="session=bob; actors_token=t1")
        assert seen == [("request", ""), ("cookie", "t1")]


async def test_the_request_of_a_stranger() -> None:
    """A request in which the application finds no user is refused, in words."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        return credentials.cookie("session")

    async with served(authenticate=authenticate, from_request=True) as server:
        assert await ask(server, upgrade_request()) == (401, "expected valid credentials in the request\n")
        async with server.peer() as peer:
            await peer.open(ACTORS)
            await peer.say({"op": "hello", "v": 1})
            assert await peer.farewell() == (4501, "expected valid credentials in the request")


@pytest.mark.parametrize("token", ["", " ", "\t"])
async def test_an_empty_credential_is_none(token: str) -> None:
    """An empty token is refused, wherever it stands, and the application is not asked whose it is."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        return pytest.fail(f"asked about {credentials}")

    async with served(authenticate=authenticate) as server:
        async with server.peer() as peer:
            await peer.open(ACTORS, cookie="actors_token=x")
            await peer.say({"op": "hello", "v": 1, "token": token})
            assert await peer.farewell() == (4501, "expected valid credentials in the hello")
        assert (await ask(server, upgrade_request(ACTORS, f"actors.ticket.{token}")))[0] == 401
        assert (await ask(server, upgrade_request(cookie=f"actors_token={token}")))[0] == 401
        assert (await ask(server, upgrade_request(cookie=f'actors_token="{token}"')))[0] == 401
        assert server.failures() == []


async def test_a_token_that_is_nobodys_name() -> None:
    """Without ``authenticate`` a token is a name; one that cannot be is refused for good, and is no failure of ours."""
    async with served() as server, server.peer() as peer:
        await peer.open(ACTORS)
        await peer.say({"op": "hello", "v": 1, "token": "x" * 257})
        ending = await peer.farewell()
        assert ending is not None
        assert ending[0] == 4501
        assert server.failures() == []


# --- asking the application -----------------------------------------------------


@pytest.mark.parametrize("answer", [False, True, 0, 7, [], b"alice", "x" * 257])
async def test_who_is_nobody(answer: Any) -> None:
    """What the application names must be able to be a user: anything else, ``False`` included, lets nobody in."""

    async def authenticate(_: actors.Credentials) -> str | None:
        return answer  # type: ignore[no-any-return]

    async with served(authenticate=authenticate) as server:
        async with server.peer() as peer:
            await peer.open(ACTORS)
            await peer.say({"op": "hello", "v": 1, "token": "x"})
            assert (await peer.farewell() or (0, ""))[0] == 4007
        (failure,) = server.failures()
        assert "user_id: expected" in failure


@pytest.mark.parametrize("how", ["refuses", "raises", "hangs", "names nobody"])
async def test_authenticate(how: str) -> None:
    """Who is refused is told not to come back; when it could not be found out, that he may; and nothing hangs."""

    async def authenticate(credentials: actors.Credentials) -> str | None:
        if how == "raises":
            raise LookupError("the database is away")
        if how == "hangs":
            await trio.sleep_forever()
        return 0 if how == "names nobody" else None  # type: ignore[return-value] # as an application may get it wrong

    status, code = (401, 4501) if how == "refuses" else (503, 4007)
    limits = actors.Limits(authenticate_seconds=0.05)
    async with served(authenticate=authenticate, limits=limits) as server:
        assert (await ask(server, upgrade_request(cookie="actors_token=x")))[0] == status
        assert (await ask(server, upgrade_request(ACTORS, "actors.ticket.x")))[0] == status
        async with server.peer() as peer:
            await peer.open(ACTORS)
            await peer.say({"op": "hello", "v": 1, "token": "x"})
            said = (await peer.next_message())["error"]
            assert (said["code"], said["temporary"]) == (code, how != "refuses")
            ending = await peer.farewell()
            assert ending is not None
            assert ending[0] == code
        assert len(server.failures()) == {"refuses": 0, "names nobody": 1}.get(how, 3)
        assert all(failure.startswith("listeners/authenticate failed") for failure in server.failures())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (7, "user_id: expected a string, got int"),
        (True, "user_id: expected a string, got bool"),
        (b"s3cret-alice", "user_id: expected a string, got bytes"),
        ("x" * 300, "user_id: expected 1 to 256 characters, got 300"),
        ("\ud83d", "user_id: expected text that UTF-8 can encode"),
    ],
)
async def test_answers_of_the_wrong_kind(answer: Any, said: str) -> None:
    """A function that names nobody's id is said to once in a period, however often its devices come back."""

    async def authenticate(credentials: actors.Credentials) -> Any:
        return answer

    later = 0.0
    environment = Environment(clock=lambda: trio.current_time() + later)
    async with served(authenticate=authenticate, environment=environment) as server:
        for _ in range(3):
            assert (await ask(server, upgrade_request(cookie="actors_token=s3cret-alice")))[0] == 503
        assert len(server.failures()) == 1
        assert said in server.failures()[0]
        assert "s3cret" not in server.runtime.failures[0].traceback
        later = server.runtime.limits.warning_seconds
        assert (await ask(server, upgrade_request(cookie="actors_token=s3cret-alice")))[0] == 503
        assert len(server.failures()) == 2


async def test_a_lambda_that_returns_no_coroutine() -> None:
    """A lambda cannot say what it returns; where that cannot be awaited, it is named, and said once in a period."""
    async with served(authenticate=lambda _: "alice") as server:
        for _ in range(3):
            assert (await ask(server, upgrade_request(cookie="actors_token=x")))[0] == 503
        (failure,) = server.failures()
        assert failure.endswith("NotAwaitable: authenticate: expected a coroutine function, got one that returned str")


async def test_a_credential_at_the_cut(caplog: pytest.LogCaptureFixture) -> None:
    """A credential is taken out of a failure before that is cut: no half of it stays."""
    secret = "s3cret-" * 60

    async def authenticate(credentials: actors.Credentials) -> str | None:
        raise ValueError("x" * 900 + credentials.token + "x" * 30_000)

    async with served(authenticate=authenticate) as server:
        assert (await ask(server, upgrade_request(cookie=f"actors_token={secret}")))[0] == 503
        (failure,) = server.runtime.failures
        assert "s3cret" not in failure.error + failure.traceback + caplog.text
        assert "[credential]" in failure.error


# --- by itself ------------------------------------------------------------------


def head(**headers: str) -> RequestHead:
    return RequestHead(method="GET", path="/ws", headers=headers, rest=b"")


async def test_without_a_socket() -> None:
    """A request and a hello are enough; of a request that presents nothing, the hello is waited for."""
    authentication = Authentication(context_of(), trust)
    assert authentication.is_trusting
    assert await authentication.identify_request(head(cookie=ALICE), "peer", plain=True) == "alice"
    assert await authentication.identify_request(head(cookie=ALICE), "peer", plain=False) is None
    assert await authentication.identify_hello(head(cookie=ALICE), "peer", None) == "alice"
    assert await authentication.identify_hello(head(cookie=ALICE), "peer", "bob") == "bob"
    with pytest.raises(PeerError) as caught:
        await authentication.identify_request(head(), "peer", plain=True)
    assert caught.value.name == "unauthenticated"


async def test_revoked_while_the_application_is_asked() -> None:
    """Who is revoked during the check is refused whatever it answers; other users, and later checks, are not."""
    may_answer = trio.Event()

    async def authenticate(credentials: actors.Credentials) -> str | None:
        await may_answer.wait()
        return credentials.token

    authentication = Authentication(context_of(), authenticate)
    assert not authentication.is_trusting
    said: list[str] = []

    async def check(token: str) -> None:
        try:
            said.append(await authentication.identify_hello(head(), "peer", token))
        except PeerError as error:
            said.append(f"{token} {error.name}")

    async with trio.open_nursery() as checks:
        for token in ("alice", "bob"):
            checks.start_soon(check, token)
        await wait_all_tasks_blocked()
        authentication.revoke("alice")
        may_answer.set()
    await check("alice")
    assert sorted(said) == ["alice", "alice revoked", "bob"]
