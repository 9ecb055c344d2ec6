"""Isolation of users: no request, cursor, session or ack reaches what is another user's, or tells whether it exists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

import actors
from tests.support.raw import Message, Peer, upgrade_request
from tests.support.served import offsets, served


async def authorize(user_id: str, thread_id: str) -> bool:
    """Takes its time, and allows nothing."""
    await trio.sleep(0.25)
    return False


async def agent(run: actors.Run, message: actors.Message) -> None:
    if message.payload.get("for_ever"):
        await trio.sleep_forever()


@attrs.define
class Theirs:
    """Bob's things, by name, and a device of Mallory's."""

    peer: Peer
    names: dict[str, str]


@asynccontextmanager
async def theirs() -> AsyncIterator[Theirs]:
    """Bob has a thread, a run that goes on, one that ended, one that waits, and two questions. Time is virtual."""
    async with actors.open_runtime(on_message=agent, authorize=authorize) as runtime, trio.open_nursery() as nursery:

        async def device(user_id: str) -> Peer:
            ours, other = memory_stream_pair()
            nursery.start_soon(runtime.handle, other)
            peer = Peer(ours)
            await peer.attach(user_id)
            return peer

        async def ask() -> None:
            with trio.move_on_after(3_600):
                await runtime.thread(ended["thread_id"]).ask("approval", {}, timeout=3_600)

        bob, mallory = await device("bob"), await device("mallory")
        ended = await request(bob, op="send", payload={})
        active = await request(bob, op="send", payload={"for_ever": True})
        waits = await request(bob, op="send", thread_id=active["thread_id"], payload={})
        questions = []
        for number in range(2):
            nursery.start_soon(ask)
            questions.append((await bob.next_op("ask"))["event"]["event_id"])
            if number == 0:
                await request(bob, op="answer", ask=questions[0], payload={})
        await runtime.thread("held").emit("tick", {})
        yield Theirs(
            mallory,
            {
                "thread": ended["thread_id"],
                "held": "held",
                "ended": ended["run_id"],
                "active": active["run_id"],
                "waits": waits["run_id"],
                "closed": questions[0],
                "open": questions[1],
            },
        )
        assert next(iter(runtime.tree.runs.registry.active)) == active["run_id"]
        assert list(runtime.failures) == []
        nursery.cancel_scope.cancel()


async def request(peer: Peer, **fields: object) -> Message:
    """Ask; the reply without the id that was asked under."""
    await peer.say({"id": len(peer.frames)} | fields)
    reply = await peer.next_op("reply")
    del reply["id"]
    return reply


OPS = [
    ({"op": "send", "payload": {}}, "thread_id", ["thread", "held"]),
    ({"op": "send", "payload": {}, "type": "agent_started"}, "thread_id", ["thread", "held"]),
    ({"op": "send", "payload": {}, "type": ""}, "thread_id", ["thread", "held"]),
    ({"op": "read"}, "thread_id", ["thread", "held"]),
    ({"op": "read", "after_seq": 100, "limit": 1}, "thread_id", ["thread", "held"]),
    ({"op": "cancel"}, "run_id", ["active", "ended", "waits"]),
    ({"op": "answer", "payload": {}}, "ask", ["open", "closed"]),
]


@pytest.mark.parametrize(("fields", "field", "names"), OPS, ids=str)
async def test_forbidden_is_unknown(fields: Message, field: str, names: list[str], autojump_clock: MockClock) -> None:
    """A request for what is another user's gets the reply of one for what does not exist, to the letter, after the
    same time."""
    async with theirs() as his:
        messages = []
        for name in ["nothing-of-this-name", *(his.names[name] for name in names)]:
            began = trio.current_time()
            reply = await request(his.peer, **fields, **{field: name})
            messages.append((reply, trio.current_time() - began))
        assert "error" in messages[0][0]
        assert all(reply == messages[0][0] for reply, _ in messages)
        assert all(seconds == pytest.approx(messages[0][1]) for _, seconds in messages)


async def test_a_stolen_cursor() -> None:
    """Another user's epoch, offset and session open nothing, ack nothing, and fence no connection."""
    async with served() as server, server.peer() as alice, server.peer() as mallory:
        receipts = await server.emit(5)
        mine = await alice.attach("alice")
        resume = {"epoch": mine["epoch"], "offset": 5}
        got = await mallory.attach("mallory", session=mine["session"], resume=resume)
        assert (got["resume"], got["head"], got["session"] == mine["session"]) == ("reset", 0, False)
        await mallory.echo()
        await alice.echo()
        assert {receipt.stage for receipt in receipts} == {actors.Stage.WRITTEN}
        assert [message for message in mallory.messages() if "type" in message] == []


async def test_a_stolen_session_repeats_nothing() -> None:
    """A request under another user's session and id is a request of one's own."""
    async with served(on_message=agent) as server, server.peer() as alice, server.peer() as mallory:
        session = (await alice.attach("alice"))["session"]
        sent = await request(alice, op="send", id="c1", payload={"text": "hers"})
        await mallory.attach("mallory", session=session)
        again = await request(mallory, op="send", id="c1", payload={"text": "hers"})
        assert again["thread_id"] != sent["thread_id"]
        assert again["event_id"] != sent["event_id"]
        assert server.runtime.owner(again["thread_id"]) == "mallory"


async def test_acks_for_others() -> None:
    """An ack covers the events written to this user on this connection, and none of another user's."""
    async with served() as server, server.peer() as alice, server.peer() as mallory:
        await alice.attach("alice")
        await mallory.attach("mallory")
        hers, his = await server.emit(3), await server.emit(2, "mallory")
        for _ in range(2):
            await mallory.next_event()
        await mallory.ack(2)
        await mallory.echo()
        assert {receipt.stage for receipt in his} == {actors.Stage.ACKED}
        assert actors.Stage.ACKED not in {receipt.stage for receipt in hers}


@pytest.mark.parametrize("offset", [0, 1, 2])
async def test_acks_behind(offset: int) -> None:
    """An old acknowledgement, however often it comes, changes nothing."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        receipts = await server.emit(3)
        assert offsets([await peer.next_event() for _ in range(3)]) == [1, 2, 3]
        await peer.ack(2)
        for _ in range(50):
            await peer.ack(offset)
        await peer.echo()
        assert [receipt.stage.name for receipt in receipts] == ["ACKED", "ACKED", "WRITTEN"]


@pytest.mark.parametrize("offset", [4, 1_000, 2**53 - 1])
async def test_acks_ahead(offset: int) -> None:
    """An ack of an offset that was not sent acks nothing, and ends the connection."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        receipts = await server.emit(3)
        for _ in range(3):
            await peer.next_event()
        await peer.ack(offset)
        ending = await peer.farewell()
        assert ending is not None
        assert ending[0] == 4503
        assert {receipt.stage for receipt in receipts} == {actors.Stage.WRITTEN}


@pytest.mark.parametrize("offset", [-1, 2**53, 1.5, "1", None, [1], True, {"epoch": 1}])
async def test_acks_of_no_kind(offset: object) -> None:
    """An acknowledgement that is no offset ends the connection."""
    async with served() as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.say({"op": "ack", "offset": offset})
        ending = await peer.farewell()
        assert ending is not None
        assert ending[0] == 4502
        assert server.failures() == []


@pytest.mark.parametrize("origin", ["http://evil.example", "http://evil.example:8765", "null", "file://", "http://["])
@pytest.mark.parametrize("offers", [(), ("actors.v1",), ("actors.v1", "actors.ticket.alice")])
async def test_pages_of_others(origin: str, offers: tuple[str, ...]) -> None:
    """A page from elsewhere is refused with any credentials, before ``authenticate`` is called."""
    asked = []

    async def authenticate(credentials: actors.Credentials) -> str | None:
        asked.append(credentials)
        return "alice"

    async with served(authenticate=authenticate) as server, server.peer() as peer:
        answer = await peer.ask(upgrade_request(*offers, origin=origin, cookie="actors_token=alice"))
        assert answer.status == 403
        assert asked == []


async def test_a_name_that_leads_here() -> None:
    """While tokens are not checked, a page of a foreign name that resolves to this machine is refused."""
    async with served() as server:
        for host, status in (("evil.example:8765", 403), ("localhost:8765", 101), ("[::1]:8765", 101)):
            async with server.peer() as peer:
                answer = await peer.ask(upgrade_request("actors.v1", host=host, origin=f"http://{host}"))
                assert answer.status == status


async def test_what_is_quoted_is_text() -> None:
    """An answer that repeats what was asked for is plain text, and no browser takes it for anything else."""
    async with served() as server, server.peer() as peer:
        answer = await peer.ask(upgrade_request(path="/<script>alert(1)</script>"))
        assert answer.status == 404
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["x-content-type-options"] == "nosniff"
