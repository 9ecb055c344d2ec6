"""Credentials that are revoked while they are in use: the connections end, and nothing of them is of use."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import actors
from actors.connections.actor import Connection
from tests.support.raw import ACTORS, Peer, upgrade_request
from tests.support.served import Served, served

REVOKED = 4504


class Door:
    """An application that lets users in until it does not."""

    def __init__(self) -> None:
        self.shut = False
        self.asked = trio.Event()
        self.answer = trio.Event()
        self.answer.set()

    async def __call__(self, credentials: actors.Credentials) -> str | None:
        allowed = not self.shut
        self.asked.set()
        await self.answer.wait()
        return credentials.token if allowed else None


async def is_sent_away(peer: Peer, code: int = REVOKED) -> None:
    ending = await peer.farewell()
    assert ending is not None
    assert ending[0] == code


async def test_every_connection_ends() -> None:
    """A user's connections are closed with 4504, plain ones too, and told why; other users' stay."""
    async with (
        served() as server,
        server.peer() as one,
        server.peer() as two,
        server.peer() as plain,
        server.peer() as bobs,
    ):
        await one.attach("alice")
        await two.attach("alice")
        await plain.open(cookie="actors_token=alice")
        await bobs.attach("bob")
        await server.emit(1)
        await plain.next_message()
        assert server.runtime.revoke("alice") == 3
        assert server.runtime.devices("alice") == 0
        for peer in (one, two, plain):
            await is_sent_away(peer)
        error = next(message for message in one.messages() if message.get("op") == "error")["error"]
        assert (error["name"], error["temporary"]) == ("revoked", False)
        await bobs.echo()
        await server.emit(1, "bob")
        assert (await bobs.next_event())["offset"] == 1


async def test_nothing_is_written_afterwards() -> None:
    """An event emitted after a revocation reaches none of the connections that it ended, and waits for the next."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        server.runtime.revoke("alice")
        (receipt,) = await server.emit(1)
        await is_sent_away(peer)
        assert [message for message in peer.messages() if "type" in message] == []
        await server.all_gone()
        assert receipt.stage is actors.Stage.STORED
        assert "(revoked:" in str(server.runtime.explain(receipt))
        async with server.peer() as again:
            await again.attach("alice")
            assert again.messages()[1]["offset"] == 1


async def test_an_unread_backlog_is_not_delivered() -> None:
    """A socket gets nothing that it had not taken when its user was revoked: the connection is aborted."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        (device,) = server.runtime.tree.registry.presence("alice").devices
        assert isinstance(device, Connection)
        while not device.writing:
            await server.emit(4, size=200_000)
            await trio.testing.wait_all_tasks_blocked()
        assert server.runtime.revoke("alice") == 1
        assert not device.writing
        await server.all_gone()


async def test_a_peer_that_does_not_answer() -> None:
    """A peer that does not answer the Close loses the socket before others would: no patience is spent on it."""
    limits = actors.Limits(close_seconds=3_600.0, revoked_seconds=0.05)
    async with served(limits=limits) as server, server.peer() as peer:
        await peer.attach("alice")
        server.runtime.revoke("alice")
        await server.all_gone()
        while server.runtime.tree.server.sockets:
            await trio.lowlevel.checkpoint()


async def test_a_session_is_worth_nothing_without_credentials() -> None:
    """A session id from before the revocation goes on for whoever has the user's new credentials, and for nobody else;
    it fences no other session."""
    async with served() as server, server.peer() as before, server.peer() as after, server.peer() as thief:
        session = (await before.attach("alice"))["session"]
        server.runtime.revoke("alice")
        await is_sent_away(before)
        own = (await after.attach("alice"))["session"]
        async with server.peer() as back:
            assert (await back.attach("alice", session=session))["session"] == session
            stolen = (await thief.attach("mallory", session=session))["session"]
            assert len({session, own, stolen}) == 3
            await after.echo()
            await back.echo()


async def test_runs_go_on() -> None:
    """A revocation says who may listen, not what is done: runs finish, and their events wait in the log."""
    go_on = trio.Event()

    async def agent(run: actors.Run, message: actors.Message) -> None:
        await go_on.wait()

    async with served(on_message=agent) as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.say({"op": "send", "id": 1, "payload": {}})
        await peer.next_op("reply")
        server.runtime.revoke("alice")
        await is_sent_away(peer)
        assert len(server.runtime.tree.runs.registry.active) == 1
        go_on.set()
        while server.runtime.tree.runs.registry.active:
            await trio.lowlevel.checkpoint()
        async with server.peer() as again:
            await again.attach("alice")
            types = [message["type"] for message in again.messages() if "type" in message]
            assert types == ["user_message", "agent_started", "agent_completed"]


@pytest.mark.parametrize("how", ["hello", "ticket", "cookie"])
async def test_while_the_application_is_asked(how: str) -> None:
    """An answer that the application began before the revocation, and gave after it, lets no connection in."""
    door = Door()
    door.answer = trio.Event()
    async with served(authenticate=door) as server, server.peer() as peer, trio.open_nursery() as nursery:
        nursery.start_soon(_come_in, peer, how)
        await door.asked.wait()
        door.shut = True
        assert server.runtime.revoke("alice") == 0
        door.answer.set()
    assert server.failures() == []


async def _come_in(peer: Peer, how: str) -> None:
    if how == "hello":
        await peer.open(ACTORS)
        await peer.say({"op": "hello", "v": 1, "token": "alice"})
        await is_sent_away(peer)
    else:
        offers = [ACTORS, "actors.ticket.alice"] if how == "ticket" else []
        cookie = "actors_token=alice" if how == "cookie" else None
        assert (await peer.ask(upgrade_request(*offers, cookie=cookie))).status == 401


async def test_before_the_hello() -> None:
    """A connection that showed a ticket and has not said hello, is ended as well."""
    async with served() as server, server.peer() as peer:
        await peer.open(ACTORS, "actors.ticket.alice")
        assert server.runtime.revoke("alice") == 1
        await is_sent_away(peer)


async def test_with_the_hello_on_its_way() -> None:
    """However the revocation and the hello meet: the user has no device, and what is emitted then reaches no device."""
    async with served() as server:
        for steps in range(12):
            async with server.peer() as peer:
                await peer.open(ACTORS, "actors.ticket.alice")
                await peer.say({"op": "hello", "v": 1})
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                assert server.runtime.revoke("alice") == 1
                (receipt,) = await server.emit(1)
                await is_sent_away(peer)
                assert receipt.event_id not in {message.get("event_id") for message in peer.messages()}
            await server.all_gone()
            assert server.runtime.devices("alice") == 0


async def test_nobody_there() -> None:
    """A user without connections, or one who was never here, can be revoked, again and again."""
    async with served() as server:
        assert server.runtime.revoke("alice") == 0
        async with server.peer() as peer:
            await peer.attach("alice")
            await peer.leave()
        await server.all_gone()
        assert server.runtime.revoke("alice") == server.runtime.revoke("alice") == 0
        assert _emitted(server)


def _emitted(server: Served) -> bool:
    return server.failures() == [] and server.runtime.audit().balanced
