"""A credential is written nowhere: not in a log, a failure, an answer, a close reason, or an explanation."""

from __future__ import annotations

import json
import logging

import pytest
import trio

import actors
from actors.server.authentication import Authenticate
from tests.support.raw import ACTORS, TEXT, Peer, frame, upgrade_request
from tests.support.served import Served, served

CANARY = "k4n4rien-Vogel-7f3a"
QUOTED = "k4n4rien'\"Vogel\\-7f3a"
"""One that looks different where Python shows it."""

USERS = {"alice": "alice"}


async def accepts(credentials: actors.Credentials) -> str | None:
    return "alice"


async def refuses(credentials: actors.Credentials) -> str | None:
    return None


async def looks_up(credentials: actors.Credentials) -> str | None:
    return USERS[credentials.token]


async def tells(credentials: actors.Credentials) -> str | None:
    raise ValueError(f"no user for {credentials.token!r}, that is {credentials}")


async def chains(credentials: actors.Credentials) -> str | None:
    try:
        return USERS[credentials.token]
    except KeyError as error:
        raise LookupError(f"nobody has {credentials.token}") from error


async def hangs(credentials: actors.Credentials) -> str | None:
    await trio.sleep_forever()
    raise AssertionError


async def mistakes(credentials: actors.Credentials) -> str | None:
    return credentials.token * 50


def hello(token: str, **fields: object) -> bytes:
    return frame(TEXT, json.dumps({"op": "hello", "v": 1, "token": token} | fields).encode())


def presented(token: str) -> dict[str, bytes]:
    """The ways to present a credential, and to get it wrong."""
    ticket = f"actors.ticket.{token}"
    upgrade = upgrade_request(ACTORS)
    ways = {
        "hello": upgrade + hello(token),
        "hello_twice": upgrade + hello(token) * 2,
        "hello_of_another_version": upgrade + hello(token, v=2),
        "hello_without_an_end": upgrade + frame(TEXT, json.dumps({"op": "hello", "token": token}).encode()[:-1]),
        "hello_with_a_list": upgrade + frame(TEXT, json.dumps({"op": "hello", "v": 1, "token": [token]}).encode()),
        "hello_too_long": upgrade + hello(token * 1_000),
        "as_a_session": upgrade + hello("alice", session=token, resume={"epoch": token, "offset": 0}),
        "as_an_ack": upgrade + hello(token) + frame(TEXT, json.dumps({"op": "ack", "offset": token}).encode()),
        "binary": upgrade + frame(0x2, token.encode()),
    }
    if token == CANARY:
        ways |= {
            "ticket": upgrade_request(ACTORS, ticket),
            "ticket_of_a_plain_client": upgrade_request(ticket),
            "ticket_and_hello": upgrade_request(ACTORS, ticket) + hello(token),
            "ticket_for_another_protocol": upgrade_request("graphql-ws", ticket),
            "ticket_without_an_upgrade": upgrade_request(ACTORS, ticket, without="Upgrade"),
            "ticket_with_a_foreign_page": upgrade_request(ACTORS, ticket, origin="http://evil.example"),
            "ticket_elsewhere": upgrade_request(ACTORS, ticket, path="/nowhere"),
            "cookie": upgrade_request(cookie=f"actors_token={token}"),
            "cookie_and_hello": upgrade_request(ACTORS, cookie=f"actors_token={token}")
            + frame(TEXT, b'{"op":"hello","v":1}'),
            "header_that_is_none": upgrade_request(ACTORS, extra=[(f"Cookie : actors_token={token}", "")]),
            "request_line_that_is_none": b"GET /ws?token=" + token.encode() + b" HTTP/1.1 x\r\n\r\n",
            "query": upgrade_request(ACTORS, path=f"/ws?token={token}") + hello(token),
            "query_elsewhere": upgrade_request(ACTORS, path=f"/nowhere?token={token}"),
        }
    return ways


async def read_all(peer: Peer) -> bytes:
    """All bytes that come, up to the end; nothing more is said."""
    assert isinstance(peer.stream, trio.SocketStream)
    received = b""
    try:
        await peer.stream.send_eof()
        while data := await peer.stream.receive_some():
            received += data
    except trio.BrokenResourceError:
        pass
    return received


def recorded(server: Served, log: pytest.LogCaptureFixture) -> str:
    """Everything that is written down on the server's side."""
    failures = "".join(f"{one}{one!r}{one.traceback}" for one in server.runtime.failures)
    records = "".join(f"{record.getMessage()}{record.args}{record.exc_text}{record.exc_info}" for record in log.records)
    presence = server.runtime.tree.registry.presence("alice")
    return f"{failures}{records}{log.text}{presence.departures}{server.runtime.dead_letters}{server.runtime.audit()}"


@pytest.mark.parametrize("token", [CANARY, QUOTED], ids=["plain", "quoted"])
@pytest.mark.parametrize("authenticate", [accepts, refuses, looks_up, tells, chains, hangs, mistakes])
async def test_credentials_are_written_nowhere(
    authenticate: Authenticate, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever becomes of a credential, and however it was presented, the server does not repeat it."""
    caplog.set_level(logging.DEBUG)
    limits = actors.Limits(authenticate_seconds=0.05, close_seconds=0.05)
    async with served(authenticate=authenticate, limits=limits, origins=["http://app.example"]) as server:
        receipts = await server.emit(2)
        answers = {}
        for way, data in presented(token).items():
            async with server.peer() as peer:
                await peer.send(data)
                answers[way] = await read_all(peer)
        await server.all_gone()
        explained = "".join(str(server.runtime.explain(receipt)) for receipt in receipts)
        for form in {token, repr(token)[1:-1], json.dumps(token)[1:-1]}:
            assert [way for way, received in answers.items() if form.encode() in received] == []
            assert form not in recorded(server, caplog)
            assert form not in explained


def test_credentials_do_not_show_themselves() -> None:
    """Credentials that an application prints, or has in an exception, do not say what they are."""
    shown = repr(
        actors.Credentials(
            token=CANARY, source="hello", peer="127.0.0.1:1", headers={"cookie": f"actors_token={CANARY}"}
        )
    )
    assert CANARY not in shown
    assert "hello" in shown


async def test_a_short_token_spoils_no_report() -> None:
    """Names of demonstrations are no secrets: a failure that mentions one is shown as it is."""
    async with served(authenticate=looks_up) as server, server.peer() as peer:
        await peer.send(upgrade_request(ACTORS) + hello("bob"))
        await read_all(peer)
        await server.all_gone()
        (failure,) = server.runtime.failures
        assert failure.error == "KeyError: 'bob'"


async def test_a_failure_says_where_it_was() -> None:
    """Without its credential, the report of a failing ``authenticate`` still says what failed, and where."""
    async with served(authenticate=looks_up) as server, server.peer() as peer:
        await peer.send(upgrade_request(ACTORS) + hello(CANARY))
        await read_all(peer)
        await server.all_gone()
        (failure,) = server.runtime.failures
        assert failure.error == "KeyError: '[credential]'"
        assert "looks_up" in failure.traceback
