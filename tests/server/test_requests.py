"""What clients ask for, as a client that shares no code with the server sees it: to say, to cancel, to read."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
import trio

import actors
from actors.kernel.signals import Reply
from actors.limits import Limits
from actors.protocol.codes import REFUSALS
from actors.runtime import Runtime
from actors.threads.messages import OwnerRequest, ThreadMessage
from tests.stores.held import FullStore, HeldStore
from tests.stores.waiting import WaitingStore
from tests.support.crashing import crash
from tests.support.raw import ACTORS, TEXT, Message, Peer, frame
from tests.support.served import Served, served
from tests.support.stores import bounds_of, state_of

HELD_SECONDS = 0.02


# --- asking ---------------------------------------------------------------------


async def reply_to(peer: Peer, id_: str | int) -> Message:
    """The reply to a request; whatever else comes before it is read over."""
    while (message := await peer.next_op("reply"))["id"] != id_:
        pass
    return message


async def ask(peer: Peer, op: str, id_: str | int = "c1", **fields: Any) -> Message:
    """Ask, and read the reply."""
    await peer.say({"op": op, "id": id_, **fields})
    return await reply_to(peer, id_)


async def send(peer: Peer, id_: str | int = "c1", text: str = "hi", **fields: Any) -> Message:
    """Say something."""
    return await ask(peer, "send", id_, payload={"text": text}, **fields)


def refused(reply: Message, name: str) -> str:
    """The reply refuses for a reason of the table, and says no more than that; returns its text."""
    row, error = REFUSALS[name], reply["error"]
    assert set(reply) == {"op", "id", "error"}
    assert (error["code"], error["name"], error["temporary"]) == (row.code, name, row.temporary), reply
    text = error["message"]
    assert isinstance(text, str)
    return text


def placement(reply: Message) -> Message:
    """A reply to a message that was placed, without its id."""
    assert reply.pop("op") == "reply"
    assert reply.pop("ok") is True
    del reply["id"]
    assert set(reply) == {"thread_id", "event_id", "run_id", "epoch", "seq", "offset"}
    return reply


def log(runtime: Runtime, user_id: str = "alice", type_: str = "user_message") -> list[Message]:
    """The events of one type in a user's log."""
    events = [json.loads(text) for text in state_of(runtime.tree.store).log(user_id).texts()]
    return [event for event in events if event["type"] == type_]


async def until_logged(runtime: Runtime, type_: str) -> Message:
    """Until there is an event of a type in alice's log; the first."""
    while not (events := log(runtime, type_=type_)):
        await trio.lowlevel.checkpoint()
    return events[0]


async def at_rest(runtime: Runtime) -> None:
    """Until no run is left; then nothing of any is: no turn is taken or reserved, and no message counted."""
    runs = runtime.tree.runs
    while (
        runs.registry.active or runs.admission._tasks or any(turns.expected for turns in runs.admission._turns.values())
    ):
        await trio.lowlevel.checkpoint()
    assert (runs.admission._turns, runs.admission.messages, runs.registry._awaited) == ({}, 0, {})


async def quietly(run: actors.Run, message: actors.Message) -> None:
    """An agent with nothing to say."""


async def for_ever(run: actors.Run, message: actors.Message) -> None:
    """An agent that has to be stopped."""
    await trio.sleep_forever()


async def anybody(user_id: str, thread_id: str) -> bool:
    """Whoever names a thread that nobody owns gets it."""
    return True


def waiting() -> WaitingStore:
    """A store that has to be waited for."""
    return WaitingStore(delay_seconds=0)


@asynccontextmanager
async def attached(server: Served, user_id: str = "alice", **hello: Any) -> AsyncIterator[Peer]:
    """A device that has read its log."""
    async with server.peer() as peer:
        await peer.attach(user_id, **hello)
        yield peer


@asynccontextmanager
async def alice(**options: Any) -> AsyncIterator[tuple[Served, Peer]]:
    """A served runtime and a device of alice's; afterwards no run has left anything behind."""
    async with served(**options) as server:
        async with attached(server) as peer:
            yield server, peer
        if server.runtime.tree.messages.refusing:
            return
        for run in tuple(server.runtime.tree.runs.registry.active.values()):
            run.cancel()
        await at_rest(server.runtime)


# --- saying something ---------------------------------------------------------------


async def test_a_reply_says_where_the_message_is() -> None:
    """The reply to a message names its thread, event and run, and the one place of it: epoch, seq and offset."""
    async with alice(on_message=quietly) as (server, peer):
        await server.runtime.bind("t1", "alice")
        reply = placement(await send(peer, thread_id="t1"))
        (event,) = log(server.runtime)
        said = {key: event[key] for key in ("thread_id", "event_id", "seq", "offset")}
        epoch = bounds_of(server.runtime.tree.store, "alice").epoch
        assert reply == {**said, "run_id": reply["run_id"], "epoch": epoch}
        assert (event["thread_id"], event["seq"], event["offset"]) == ("t1", 1, 1)
        assert (event["type"], event["payload"]) == ("user_message", {"text": "hi"})
        assert reply["run_id"] in {one.get("run_id") for one in log(server.runtime, type_="agent_started")}


async def test_a_thread_without_a_name() -> None:
    """A message without a thread opens one: the server names it, and the sender owns it."""
    async with alice(on_message=quietly) as (server, peer):
        first, second = placement(await send(peer, "c1")), placement(await send(peer, "c2"))
        assert first["thread_id"] != second["thread_id"]
        assert server.runtime.owner(first["thread_id"]) == server.runtime.owner(second["thread_id"]) == "alice"
        again = placement(await send(peer, "c3", thread_id=first["thread_id"]))
        assert again["thread_id"] == first["thread_id"]


async def test_all_devices_see_a_message() -> None:
    """A message is an event like any other: all the user's devices see the same, the sender's included."""
    async with alice() as (server, phone), attached(server) as laptop, attached(server, "bob") as stranger:
        await send(phone, text="hé")
        seen = await laptop.next_event()
        assert seen["payload"] == {"text": "hé"}
        await phone.echo()
        assert laptop.frames[-1] in phone.frames
        await stranger.echo()
        assert not [message for message in stranger.messages() if "type" in message]


async def test_a_type_of_ones_own() -> None:
    """A message may be of any type that is not an agent's."""
    async with alice() as (server, peer):
        placement(await send(peer, type="reaction"))
        assert [event["type"] for event in log(server.runtime, type_="reaction")] == ["reaction"]


@pytest.mark.parametrize("type_", [*actors.Lifecycle, "dropped"])
async def test_a_type_that_pretends(type_: str) -> None:
    """A user cannot say what agents and the runtime say."""
    async with alice() as (server, peer):
        assert type_ in refused(await send(peer, type=type_), "bad_request")
        assert not bounds_of(server.runtime.tree.store, "alice").head


async def test_nobody_answers() -> None:
    """Where no agent answers messages they are placed all the same, and there is no run."""
    async with alice(on_message=None) as (server, peer):
        assert placement(await send(peer))["run_id"] is None
        assert len(log(server.runtime)) == 1


async def test_claimed() -> None:
    """A thread of nobody's that the application allows becomes the sender's; what it held comes first."""
    async with alice(authorize=anybody) as (server, peer):
        await server.runtime.thread("t1").emit("tick", {"n": 1})
        reply = placement(await send(peer, thread_id="t1"))
        assert (reply["seq"], reply["offset"]) == (2, 2)
        assert [one["type"] for one in peer.messages() if "type" in one][:1] in ([], ["tick"])
        await peer.echo()
        assert [one["type"] for one in peer.messages() if "type" in one] == ["tick", "user_message"]
        assert server.runtime.owner("t1") == "alice"


# --- what is no request ---------------------------------------------------------------

SEND = {"op": "send", "id": "c1", "payload": {}}
READ = {"op": "read", "id": "c1", "thread_id": "t1"}


def with_payload(text: str) -> str:
    return '{"op":"send","id":"c1","payload":' + text + "}"


MALFORMED = [
    {**SEND, "payload": None},
    {**SEND, "payload": []},
    {**SEND, "payload": "text"},
    {**SEND, "payload": 1},
    {"op": "send", "id": "c1"},
    {**SEND, "thread_id": 1},
    {**SEND, "thread_id": ""},
    {**SEND, "thread_id": "x" * 257},
    {**SEND, "thread_id": "x" * 5_000},
    {**SEND, "type": ""},
    {**SEND, "type": None},
    {**SEND, "type": "x" * 257},
    with_payload("[" * 64 + "]" * 64),
    with_payload('{"x":' * 65 + "1" + "}" * 65),
    with_payload('{"x":' * 900 + "1" + "}" * 900),
    with_payload('{"x":1e400}'),
    with_payload('{"x":[2512292042121000001]}'),
    with_payload('{"x":12345678901234567890.0}'),
    '{"op":"answer","id":"c1","ask":"a_1","payload":{"x":9007199254740993}}',
    with_payload('{"x":' + "9" * 5_000 + "}"),
    with_payload('{"x":NaN}'),
    with_payload('{"x":-Infinity}'),
    with_payload('{"x":"\\ud83d"}'),
    with_payload('{"x":"\\ude00 cut before it"}'),
    with_payload('{"\\ud83d":1}'),
    {"op": "cancel", "id": "c1"},
    {"op": "cancel", "id": "c1", "run_id": 1},
    {"op": "cancel", "id": "c1", "run_id": None},
    {"op": "read", "id": "c1"},
    {**READ, "thread_id": None},
    {**READ, "after_seq": -1},
    {**READ, "after_seq": None},
    {**READ, "after_seq": 1.5},
    {**READ, "after_seq": 2**53},
    {**READ, "limit": 0},
    {**READ, "limit": -1},
    {**READ, "limit": "1"},
    {**READ, "limit": 2**31 + 1},
]


@pytest.mark.parametrize("request_", MALFORMED, ids=lambda one: str(one)[:60])
async def test_malformed(request_: Message | str) -> None:
    """A request that has an id and is wrong is told so, and costs its connection nothing: the next one is answered."""
    async with alice() as (server, peer):
        await server.runtime.bind("t1", "alice")
        await peer.say(request_)
        assert refused(await reply_to(peer, "c1"), "bad_request")
        assert placement(await send(peer, "c1", thread_id="t1"))["offset"] == 1
        assert server.failures() == []


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "send", "payload": {}},
        {**SEND, "id": None},
        {**SEND, "id": 1.5},
        {**SEND, "id": True},
        {**SEND, "id": {}},
        {**SEND, "id": "x" * 4_097},
        {**SEND, "id": 2**53 + 1},
        '{"op":"send","payload":{},"id":"\\ud83d"}',
        '{"op":"send","payload":{},"id":' + "9" * 5_000 + "}",
        '{"op":"send","id":"c1","payload":{]}',
        with_payload('{"x":' * 10_000 + "1" + "}" * 10_000),
    ],
    ids=lambda one: str(one)[:60],
)
async def test_not_to_be_answered(request_: Message | str) -> None:
    """A request without an id that could be read cannot be answered: it ends the connection, as any bad message."""
    async with served() as server, attached(server) as peer:
        await peer.say(request_)
        ending = await peer.farewell()
        assert ending is not None
        assert ending[0] == 4502
        assert server.failures() == []


@pytest.mark.parametrize("id_", ["", "x", "x" * 4_096, "\0", "é\n", 0, 1, -(2**53), 2**53])
async def test_ids(id_: str | int) -> None:
    """An id is a text or a whole number, the client's to choose; it comes back as it was."""
    async with alice() as (_, peer):
        await peer.say({**SEND, "id": id_})
        reply = await peer.next_op("reply")
        assert reply["id"] == id_
        assert type(reply["id"]) is type(id_)


async def test_ids_are_not_alike() -> None:
    """The number 1 and the text "1" are two ids."""
    async with alice() as (server, peer):
        assert placement(await send(peer, 1))["event_id"] != placement(await send(peer, "1"))["event_id"]
        assert len(log(server.runtime)) == 2


async def test_a_message_over_the_limit() -> None:
    """A message that is larger than a connection may send ends it, and is not placed."""
    async with served() as server, attached(server) as peer:
        await peer.say({**SEND, "payload": {"x": "x" * 65_536}})
        ending = await peer.farewell()
        assert ending is not None
        assert ending[0] == 1009
        assert not bounds_of(server.runtime.tree.store, "alice").head


async def test_an_event_over_the_limit() -> None:
    """A message that no event has room for is refused, and says what the limit is."""
    async with alice(limits=Limits(event_bytes=1_000)) as (server, peer):
        assert "at most 1000 bytes" in refused(await send(peer, text="x" * 1_000), "bad_request")
        assert not bounds_of(server.runtime.tree.store, "alice").head


async def test_an_op_of_the_future() -> None:
    """An op that this server does not have is said to be unknown where it has an id, and ignored where not."""
    async with alice() as (_, peer):
        await peer.say({"op": "dance"})
        assert "dance" in refused(await ask(peer, "dance"), "unknown_op")
        placement(await send(peer))


async def test_a_plain_client_asks_for_nothing() -> None:
    """What a client without the protocol sends is nobody's request."""
    async with served() as server, server.peer() as peer, attached(server) as other:
        await peer.open(cookie="actors_token=alice")
        await peer.say(SEND)
        await peer.say("[" * 50_000)
        placement(await send(other))
        assert (await peer.next_event())["offset"] == 1
        assert len(log(server.runtime)) == 1


# --- the same message again -------------------------------------------------------------


@pytest.mark.parametrize("thread_id", [None, "t1"])
@pytest.mark.parametrize("store", [None, waiting])
async def test_again(thread_id: str | None, store: Callable[[], WaitingStore] | None) -> None:
    """A message that is sent again has been placed and answered once, and gets the first reply."""
    async with alice(on_message=quietly, store=store and store()) as (server, peer):
        await server.runtime.bind("t1", "alice")
        named = {} if thread_id is None else {"thread_id": thread_id}
        replies = [await send(peer, **named) for _ in range(3)]
        assert replies == replies[:1] * 3
        assert len(log(server.runtime)) == 1
        await at_rest(server.runtime)
        assert len(log(server.runtime, type_="agent_started")) == 1


async def test_again_on_another_connection() -> None:
    """A session keeps its ids across connections: the message that was sent before the cut is known after it."""
    async with served(on_message=quietly) as server:
        async with server.peer() as before:
            session = (await before.attach("alice"))["session"]
            first = await send(before)
        async with server.peer() as after:
            assert (await after.attach("alice", session=session))["session"] == session
            assert await send(after) == first
            placement(await send(after, "c2"))
        await at_rest(server.runtime)
        assert len(log(server.runtime)) == len(log(server.runtime, type_="agent_started")) == 2


async def test_again_by_the_name_it_got() -> None:
    """Sent again with the thread that the server had named, it is the same message."""
    async with alice() as (server, peer):
        first = await send(peer)
        assert await send(peer, thread_id=first["thread_id"]) == first
        assert len(log(server.runtime)) == 1


async def test_again_after_it_left_the_log() -> None:
    """A message that is in the log no more is still known: it is neither placed nor answered a second time."""
    async with alice(on_message=quietly, limits=Limits(retained_events=2)) as (server, peer):
        first = await send(peer)
        await server.emit(5)
        assert await send(peer) == first
        assert log(server.runtime) == []


async def test_again_while_no_other_would_be_taken() -> None:
    """A message that the store knows to be placed is known here, too, and not told that as many runs are active as may
    be."""
    async with alice(on_message=for_ever, limits=Limits(idempotency_ids=8, runs=9)) as (_, peer):
        replies = [await send(peer, f"c{n}") for n in range(9)]
        refused(await send(peer, "c9"), "busy")
        assert await send(peer, "c3") == replies[3]


async def test_again_while_the_store_has_it() -> None:
    """A message that is sent again before the store has answered is placed and answered once, and both are told."""
    store = HeldStore()
    async with alice(on_message=quietly, store=store) as (server, before):
        await server.runtime.bind("t1", "alice")
        request = {**SEND, "thread_id": "t1"}
        await before.say(request)
        await store.journal.asked.wait()
        await before.say(request)
        store.journal.released.set()
        assert await reply_to(before, "c1") == await reply_to(before, "c1")
        await at_rest(server.runtime)
        assert len(log(server.runtime)) == len(log(server.runtime, type_="agent_started")) == 1


async def test_again_by_two_connections() -> None:
    """A message under way on one connection, and sent again on the next one of its session, is one message."""
    store = HeldStore()
    async with served(on_message=quietly, store=store) as server, server.peer() as before, server.peer() as after:
        session = (await before.attach("alice"))["session"]
        await before.say(SEND)
        await store.journal.asked.wait()
        await after.attach("alice", session=session)
        await after.say(SEND)
        await after.echo()
        store.journal.released.set()
        reply = await reply_to(after, "c1")
        assert reply["offset"] == 1
        await before.farewell()
        assert [one for one in before.messages() if one.get("op") == "reply"] in ([], [reply])
        await at_rest(server.runtime)
        assert len(log(server.runtime)) == len(log(server.runtime, type_="agent_started")) == 1


@pytest.mark.parametrize("store", [None, waiting])
async def test_another_message_under_the_same_id(store: Callable[[], WaitingStore] | None) -> None:
    """An id names one message: with another payload, type or thread it is a conflict, and nothing happens."""
    async with alice(on_message=quietly, store=store and store()) as (server, peer):
        for thread_id in ("t1", "t2"):
            await server.runtime.bind(thread_id, "alice")
        first = await send(peer, thread_id="t1")
        refused(await send(peer, text="ho", thread_id="t1"), "conflict")
        refused(await send(peer, type="other", thread_id="t1"), "conflict")
        refused(await send(peer, thread_id="t2"), "conflict")
        refused(await send(peer), "conflict")
        assert await send(peer, thread_id="t1") == first
        assert len(log(server.runtime)) == 1


async def test_what_was_refused_is_not_remembered() -> None:
    """The id of a message that was refused is free: corrected, it may be sent under it."""
    async with alice() as (server, peer):
        refused(await send(peer, type="dropped"), "bad_request")
        refused(await send(peer, thread_id="bobs"), "unknown_thread")
        placement(await send(peer, text="corrected"))
        assert len(log(server.runtime)) == 1


async def test_ids_of_another_session() -> None:
    """Ids are a session's own: another session of the user, or of another user, says something else under them."""
    async with served() as server, server.peer() as one, server.peer() as other, server.peer() as bobs:
        session = (await one.attach("alice"))["session"]
        await other.attach("alice")
        assert (await bobs.attach("bob", session=session))["session"] != session
        replies = [placement(await send(peer)) for peer in (one, other, bobs)]
        assert len({reply["event_id"] for reply in replies}) == 3
        assert (len(log(server.runtime)), len(log(server.runtime, "bob"))) == (2, 1)


@pytest.mark.parametrize("concurrency", ["queue", "reject", "cancel_previous", "parallel"])
async def test_again_while_its_run_is_active(concurrency: Any) -> None:
    """A message that is sent again while it is being answered gets its reply, and disturbs nothing."""
    async with alice(on_message=for_ever, concurrency=concurrency) as (server, peer):
        first = await send(peer)
        assert await send(peer) == first
        assert list(server.runtime.tree.runs.registry.active) == [first["run_id"]]
        assert len(log(server.runtime)) == 1


async def test_again_at_the_limit_of_runs() -> None:
    """As many runs as may be: a new message is refused for now, one that came before is not."""
    async with alice(on_message=for_ever, limits=Limits(runs=1)) as (server, peer):
        first = await send(peer)
        refused(await send(peer, "c2"), "busy")
        assert await send(peer) == first
        server.runtime.tree.runs.registry.active[first["run_id"]].cancel()
        await at_rest(server.runtime)
        placement(await send(peer, "c2"))


# --- the cut --------------------------------------------------------------------------


async def resent(server: Served, session: str, request: Message) -> Message:
    """What a device that comes back is told when it sends its message again."""
    async with server.peer() as peer:
        await peer.attach("alice", session=session, **{"from": "head"})
        await peer.say(request)
        return placement(await reply_to(peer, request["id"]))


@pytest.mark.parametrize("store", [None, waiting])
async def test_cut_behind_the_request(store: Callable[[], WaitingStore] | None) -> None:
    """A connection that breaks right behind a message: placed once, answered once, and the next one gets the reply."""
    async with served(on_message=quietly, store=store and store()) as server:
        async with server.peer() as peer:
            session = (await peer.attach("alice"))["session"]
        for number in range(20):
            request = {**SEND, "id": number}
            async with server.peer() as peer:
                await peer.attach("alice", session=session, **{"from": "head"})
                await peer.say(request)
                peer.reset()
            assert (await resent(server, session, request))["offset"]
        await at_rest(server.runtime)
        assert len(log(server.runtime)) == len(log(server.runtime, type_="agent_started")) == 20
        assert server.failures() == []


async def test_gone_while_the_store_has_it() -> None:
    """A message that the store has is placed and answered, whether anybody is left to be told or not."""
    store = HeldStore()
    async with served(on_message=quietly, store=store) as server:
        async with server.peer() as peer:
            session = (await peer.attach("alice"))["session"]
            await peer.say(SEND)
            await store.journal.asked.wait()
            peer.reset()
        await server.all_gone()
        store.journal.released.set()
        await until_logged(server.runtime, "agent_completed")
        assert (await resent(server, session, SEND))["offset"] == 1
        await at_rest(server.runtime)
        assert len(log(server.runtime)) == len(log(server.runtime, type_="agent_started")) == 1


async def test_cut_at_every_byte() -> None:
    """Wherever its frame is cut, a message is placed once or not at all; sent again, it is placed once."""
    whole = frame(TEXT, json.dumps({**SEND, "id": 100, "thread_id": "t1"}).encode())
    async with served(on_message=quietly, limits=Limits(runs=10_000)) as server:
        await server.runtime.bind("t1", "alice")
        async with server.peer() as peer:
            session = (await peer.attach("alice"))["session"]
        for cut in range(len(whole) + 1):
            request = {**SEND, "id": 100 + cut, "thread_id": "t1"}
            async with server.peer() as peer:
                await peer.attach("alice", session=session, **{"from": "head"})
                await peer.send(frame(TEXT, json.dumps(request).encode())[:cut])
                peer.reset()
            await resent(server, session, request)
        await at_rest(server.runtime)
        assert len(log(server.runtime)) == len(log(server.runtime, type_="agent_started")) == len(whole) + 1
        assert server.failures() == []


@pytest.mark.parametrize("store", [None, waiting])
@pytest.mark.parametrize("seed", range(4))
async def test_again_and_again(store: Callable[[], WaitingStore] | None, seed: int) -> None:
    """However often a session's connections break and its messages come again, each is placed and answered once."""
    chance, requests = random.Random(seed), [{**SEND, "id": id_, "payload": {"n": id_}} for id_ in range(12)]
    async with served(on_message=quietly, store=store and store()) as server:
        async with server.peer() as peer:
            session = (await peer.attach("alice"))["session"]
        for _ in range(15):
            async with server.peer() as peer:
                await peer.attach("alice", session=session, **{"from": "head"})
                for request in chance.choices(requests, k=4):
                    await peer.say(request)
                if chance.random() < 0.5:
                    await peer.next_op("reply")
                if chance.random() < 0.5:
                    peer.reset()
        offsets = [(await resent(server, session, request))["offset"] for request in requests]
        await at_rest(server.runtime)
        placed = {event["offset"]: event["payload"]["n"] for event in log(server.runtime)}
        assert placed == dict(zip(offsets, range(12), strict=True))
        assert len(log(server.runtime, type_="agent_started")) == 12
        assert server.failures() == []


# --- whose thread it is ------------------------------------------------------------------


async def test_unknown_and_forbidden_are_one() -> None:
    """Another's thread, one that is refused, and one that does not exist: asked about alike, and answered alike."""
    asked: list[tuple[str, str]] = []

    async def nobody(user_id: str, thread_id: str) -> bool:
        asked.append((user_id, thread_id))
        return False

    async with alice(authorize=nobody, on_message=quietly) as (server, peer):
        await server.runtime.bind("bobs", "bob")
        await server.runtime.thread("unowned").emit("tick", {})
        replies = []
        for thread_id in ("bobs", "unowned", "nowhere"):
            refused(await send(peer, thread_id=thread_id), "unknown_thread")
            replies.append(peer.frames[-1])
        assert replies == replies[:1] * 3
        assert asked == [("alice", thread_id) for thread_id in ("bobs", "unowned", "nowhere")]
        assert server.runtime.owner("bobs") == "bob"
        assert server.runtime.owner("unowned") is server.runtime.owner("nowhere") is None


async def test_nobody_is_allowed_by_default() -> None:
    """Without a word of the application no user gets a thread by naming it."""
    async with alice() as (server, peer):
        refused(await send(peer, thread_id="t1"), "unknown_thread")
        assert server.runtime.owner("t1") is None


async def test_anothers_thread_is_not_to_be_had() -> None:
    """What the application says about a thread that another user owns is not heard, and nothing shows of it."""
    async with (
        alice(authorize=anybody, on_message=for_ever, concurrency="reject") as (server, peer),
        attached(server, "bob") as bobs,
    ):
        thread_id = (await send(bobs))["thread_id"]
        refused(await send(bobs, "c2", thread_id=thread_id), "busy")
        refused(await send(peer, thread_id=thread_id), "unknown_thread")
        refused(await ask(peer, "send", thread_id=thread_id, payload={}, type=""), "unknown_thread")
        assert server.runtime.owner(thread_id) == "bob"
        assert len(log(server.runtime, "bob")) == 1


@pytest.mark.parametrize("text", ["hi", "another"])
@pytest.mark.parametrize("store", [None, waiting])
async def test_what_was_taken_away_is_not_had_back(text: str, store: Callable[[], WaitingStore] | None) -> None:
    """A thread that the application took from its user does not become his by sending the message that opened it."""
    async with alice(store=store and store()) as (server, peer):
        thread_id = (await send(peer))["thread_id"]
        for take in (server.runtime.unbind(thread_id), server.runtime.rebind(thread_id, "bob")):
            await take
            owner = server.runtime.owner(thread_id)
            refused(await send(peer, text=text), "unknown_thread")
            assert server.runtime.owner(thread_id) == owner


async def fails(user_id: str, thread_id: str) -> bool:
    raise RuntimeError("no database")


async def fails_in_a_group(user_id: str, thread_id: str) -> bool:
    raise ExceptionGroup("several", [RuntimeError("no database")])


async def hangs(user_id: str, thread_id: str) -> bool:
    await trio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize("authorize", [fails, fails_in_a_group, hangs])
@pytest.mark.parametrize("thread_id", ["bobs", "nowhere"])
async def test_not_to_be_checked(authorize: Callable[[str, str], Awaitable[bool]], thread_id: str) -> None:
    """Where the application cannot say, the client is told to try again, and the observer why; once."""
    limits = Limits(authorize_seconds=0.01)
    async with alice(authorize=authorize, limits=limits) as (server, peer):
        await server.runtime.bind("bobs", "bob")
        refused(await send(peer, thread_id=thread_id), "unavailable")
        (failure,) = server.failures()
        assert failure.startswith(f"listeners/authorize failed handling user alice, thread {thread_id}: ")
        placement(await send(peer, "c2"))


async def test_gone_while_the_application_thinks() -> None:
    """A device that goes while the application thinks about its message has sent nothing, and nothing is left of it."""
    async with served(authorize=hangs, on_message=quietly) as server:
        async with attached(server) as peer:
            await peer.say({**SEND, "thread_id": "t1"})
            await peer.echo()
            peer.reset()
        await server.all_gone()
        await at_rest(server.runtime)
        assert not bounds_of(server.runtime.tree.store, "alice").head
        assert server.failures() == []


@pytest.mark.parametrize("store", [None, waiting])
@pytest.mark.parametrize(("other", "name"), [("bob", "unknown_thread"), ("alice", None)])
async def test_bound_while_the_application_thinks(
    store: Callable[[], WaitingStore] | None, other: str, name: str | None
) -> None:
    """A thread that gets another owner while the application thinks about it is not the sender's."""
    servers: list[Served] = []

    async def thinks(user_id: str, thread_id: str) -> bool:
        await servers[0].runtime.bind(thread_id, other)
        return True

    async with alice(authorize=thinks, store=store and store(), on_message=quietly) as (server, peer):
        servers.append(server)
        reply = await send(peer, thread_id="t1")
        assert server.runtime.owner("t1") == other
        if name is None:
            placement(reply)
        else:
            assert refused(reply, name) == REFUSALS[name].text
            assert not bounds_of(server.runtime.tree.store, "bob").head


# --- ending a run --------------------------------------------------------------------------


def run_of(session: str, id_: str | int) -> str:
    """The run that will answer a message, before anybody was told."""
    return f"run_{blake2b(msgspec.json.encode([session, id_]), digest_size=12).hexdigest()}"


async def test_cancel() -> None:
    """A run that is cancelled has ended when the reply comes, and everybody hears of it."""
    async with alice(on_message=for_ever) as (server, peer):
        run_id = (await send(peer))["run_id"]
        reply = await ask(peer, "cancel", "c2", run_id=run_id)
        assert reply == {"op": "reply", "id": "c2", "ok": True, "run_id": run_id, "stopped": [run_id], "running": []}
        (event,) = log(server.runtime, type_="agent_cancelled")
        assert (event["run_id"], event["payload"]) == (run_id, {"reason": "user"})


async def test_cancel_before_its_turn() -> None:
    """A run that waits for its turn is cancelled as well; it began, and ended, and the one before it goes on."""
    async with alice(on_message=for_ever) as (server, peer):
        thread_id, first = [(await send(peer))[key] for key in ("thread_id", "run_id")]
        second = (await send(peer, "c2", thread_id=thread_id))["run_id"]
        assert (await ask(peer, "cancel", "c3", run_id=second))["stopped"] == [second]
        assert [one["run_id"] for one in log(server.runtime, type_="agent_cancelled")] == [second]
        assert list(server.runtime.tree.runs.registry.active) == [first]


async def test_cancel_too_late() -> None:
    """A run that has ended has ended: that is no error."""
    async with alice(on_message=quietly) as (server, peer):
        run_id = (await send(peer))["run_id"]
        await at_rest(server.runtime)
        for id_ in ("c2", "c2"):
            reply = await ask(peer, "cancel", id_, run_id=run_id)
            assert (reply["stopped"], reply["running"]) == ([run_id], [])
        assert log(server.runtime, type_="agent_cancelled") == []


async def test_cancel_overtakes_its_message() -> None:
    """A cancel that comes before the message that starts the run waits for it, a moment."""
    store = HeldStore()
    async with served(on_message=for_ever, store=store) as server, server.peer() as peer:
        run_id = run_of((await peer.attach("alice"))["session"], "c1")
        await peer.say({"op": "cancel", "id": "c2", "run_id": run_id})
        await peer.say(SEND)
        await store.journal.asked.wait()
        store.journal.released.set()
        assert (await reply_to(peer, "c2"))["stopped"] == [run_id]
        await at_rest(server.runtime)
        assert (await until_logged(server.runtime, "agent_cancelled"))["run_id"] == run_id


async def test_cancel_of_what_shields_itself() -> None:
    """A run that does not stop in time is said to be running."""
    stop = trio.Event()

    async def stubborn(run: actors.Run, message: actors.Message) -> None:
        with trio.CancelScope(shield=True):
            await stop.wait()

    limits = Limits(cancel_seconds=HELD_SECONDS)
    async with alice(on_message=stubborn, limits=limits) as (_, peer):
        run_id = (await send(peer))["run_id"]
        reply = await ask(peer, "cancel", "c2", run_id=run_id)
        assert (reply["stopped"], reply["running"]) == ([], [run_id])
        stop.set()


async def test_cancel_of_a_family() -> None:
    """What a run has started ends with it, and is named."""

    async def parent(run: actors.Run, message: actors.Message) -> None:
        async with run.run("child"):
            await trio.sleep_forever()

    async with alice(on_message=parent) as (server, peer):
        run_id = (await send(peer))["run_id"]
        while len(server.runtime.tree.runs.registry.active) < 2:
            await trio.lowlevel.checkpoint()
        reply = await ask(peer, "cancel", "c2", run_id=run_id)
        assert (reply["stopped"], reply["running"]) == ([run_id, f"{run_id}.1"], [])


async def test_cancel_of_anothers_run() -> None:
    """Another's run, one that ended, and one that nobody knows are one: alike in the reply, and nothing happens."""
    limits = Limits(cancel_hold_seconds=HELD_SECONDS)
    async with alice(on_message=for_ever, limits=limits) as (server, peer), attached(server, "bob") as bobs:
        active, ended = [(await send(bobs, id_))["run_id"] for id_ in ("c1", "c2")]
        assert (await ask(bobs, "cancel", "c3", run_id=ended))["stopped"] == [ended]
        replies = []
        for run_id in (active, ended, "nobody's", "x" * 4_096):
            refused(await ask(peer, "cancel", run_id=run_id), "unknown_run")
            replies.append(peer.frames[-1])
        assert replies == replies[:1] * 4
        assert list(server.runtime.tree.runs.registry.active) == [active]
        assert server.runtime.tree.runs.registry._awaited == {}


async def test_cancel_while_a_message_waits() -> None:
    """A cancel is answered while a message of the same connection still has to wait."""
    async with alice(on_message=for_ever, authorize=hangs) as (_, peer):
        run_id = (await send(peer))["run_id"]
        await peer.say({**SEND, "id": "c2", "thread_id": "slow"})
        assert (await ask(peer, "cancel", "c3", run_id=run_id))["stopped"] == [run_id]


async def test_in_order() -> None:
    """What one connection asks for is done in the order in which it asked, however long one of it takes."""
    go = trio.Event()

    async def slowly(user_id: str, thread_id: str) -> bool:
        await go.wait()
        return True

    async with alice(authorize=slowly) as (server, peer):
        await server.runtime.bind("mine", "alice")
        for id_, thread_id in enumerate(("slow", "mine", "slow")):
            await peer.say({**SEND, "id": id_, "thread_id": thread_id})
        await peer.say({"op": "read", "id": 3, "thread_id": "mine"})
        await peer.echo()
        assert not bounds_of(server.runtime.tree.store, "alice").head
        go.set()
        replies = [await peer.next_op("reply") for _ in range(4)]
        assert [reply["id"] for reply in replies] == [0, 1, 2, 3]
        assert [event["thread_id"] for event in log(server.runtime)] == ["slow", "mine", "slow"]
        assert len(replies[3]["events"]) == 1


async def test_too_many_requests() -> None:
    """So many requests may wait for their answers; more are refused at once, and those that wait are answered."""
    go = trio.Event()

    async def slowly(user_id: str, thread_id: str) -> bool:
        await go.wait()
        return True

    async with alice(authorize=slowly, limits=Limits(requests=3)) as (server, peer):
        for id_ in range(3):
            await peer.say({**SEND, "id": id_, "thread_id": "t1"})
        refused(await ask(peer, "read", 3, thread_id="t1"), "too_many_requests")
        refused(await ask(peer, "cancel", 4, run_id="r"), "too_many_requests")
        go.set()
        for id_ in range(3):
            placement(await reply_to(peer, id_))
        placement(await send(peer, 5))
        assert len(log(server.runtime)) == 4


# --- reading a thread ------------------------------------------------------------------------


def texts_of(frames: Sequence[Any]) -> list[bytes]:
    """The events among what came, byte by byte."""
    return [one.payload for one in frames if one.opcode == TEXT and b'"op"' not in one.payload[:6]]


def raw_events(text: bytes) -> list[bytes]:
    """The events in a reply to a read, as they stand in it."""

    class Reply(msgspec.Struct):
        events: list[msgspec.Raw]

    return [bytes(event) for event in msgspec.json.decode(text, type=Reply).events]


async def read(peer: Peer, thread_id: str = "t1", id_: str | int = "r1", **fields: Any) -> Message:
    """Read a thread."""
    reply = await ask(peer, "read", id_, thread_id=thread_id, **fields)
    assert set(reply) == {"op", "id", "ok", "thread_id", "events", "gone", "head_seq", "more"}, reply
    return reply


def seqs(reply: Message) -> list[int]:
    return [event["seq"] for event in reply["events"]]


async def fill(server: Served, count: int, thread_id: str = "t1", size: int = 0) -> None:
    """Emit numbered events into a thread of alice's, and as many into others."""
    for n in range(count):
        for one in (thread_id, f"{thread_id}1", "other"):
            payload = {"n": n, "é": [1.5, None, {"x": "x" * size}], '"thread_id":"t1"': {"thread_id": "t1", "seq": 1}}
            await server.runtime.thread(one).emit("tick", payload, user_id="alice")


async def test_read_gives_what_was_delivered() -> None:
    """A thread's events come as they were delivered, byte by byte; no other thread's are among them."""
    async with alice() as (server, peer):
        await fill(server, 5)
        await peer.echo()
        delivered = [text for text in texts_of(peer.frames) if json.loads(text)["thread_id"] == "t1"]
        reply = await read(peer)
        assert raw_events(peer.frames[-1].payload) == delivered
        assert (seqs(reply), reply["gone"], reply["head_seq"], reply["more"]) == ([1, 2, 3, 4, 5], [], 5, False)
        assert reply["thread_id"] == "t1"


async def test_read_by_and_by() -> None:
    """A limit gives the next so many events after a sequence number, and says whether there are more."""
    async with alice() as (server, peer):
        await fill(server, 5)
        pages = [await read(peer, after_seq=after, limit=2) for after in (0, 2, 4, 5, 2**53 - 1)]
        assert [(seqs(page), page["more"]) for page in pages] == [
            ([1, 2], True), ([3, 4], True), ([5], False), ([], False), ([], False),
        ]  # fmt: skip
        assert [(page["gone"], page["head_seq"]) for page in pages] == [([], 5)] * 5


async def test_read_what_is_gone() -> None:
    """What has left the log is said to be gone, as far as it was asked for."""
    async with alice(limits=Limits(retained_events=6)) as (server, peer):
        await fill(server, 4)
        reply = await read(peer)
        assert (reply["gone"], seqs(reply), reply["head_seq"]) == ([[1, 2]], [3, 4], 4)
        assert (await read(peer, after_seq=1))["gone"] == [[2, 2]]
        assert (await read(peer, after_seq=2))["gone"] == []
        await server.runtime.thread("other").emit("tick", {})
        await server.emit(6)
        reply = await read(peer)
        assert (reply["gone"], seqs(reply), reply["more"]) == ([[1, 4]], [], False)


async def test_read_what_was_a_former_owners() -> None:
    """What was placed for a former owner is gone for this one, and is not shown."""
    async with alice() as (server, peer):
        thread = server.runtime.thread("t1")
        await server.runtime.bind("t1", "alice")
        await thread.emit("tick", {"n": 1})
        await server.runtime.rebind("t1", "bob")
        await thread.emit("tick", {"n": 2})
        refused(await ask(peer, "read", thread_id="t1"), "unknown_thread")
        await server.runtime.rebind("t1", "alice")
        await thread.emit("tick", {"n": 3})
        reply = await read(peer)
        assert (seqs(reply), reply["gone"], reply["head_seq"]) == ([1, 3], [[2, 2]], 3)


async def test_read_a_notice() -> None:
    """A notice stands for the numbers it names: those are not gone besides."""
    async with alice(limits=Limits(unbound_events=2)) as (server, peer):
        for _ in range(5):
            await server.runtime.thread("t1").emit("tick", {})
        await server.runtime.bind("t1", "alice")
        reply = await read(peer)
        assert [(one.get("seq0"), one["seq"]) for one in reply["events"]] == [(1, 3), (None, 4), (None, 5)]
        assert (reply["gone"], reply["head_seq"]) == ([], 5)
        assert [one["seq"] for one in (await read(peer, after_seq=1))["events"]] == [3, 4, 5]
        assert [one["seq"] for one in (await read(peer, after_seq=3))["events"]] == [4, 5]


async def test_read_is_bounded() -> None:
    """A reply holds so many bytes of events, and one event whatever its size; and so many events whatever is asked."""
    async with alice(limits=Limits(history_bytes=3_000)) as (server, peer):
        await fill(server, 4, size=1_000)
        reply = await read(peer)
        assert (seqs(reply), reply["more"]) == ([1, 2], True)
        await fill(server, 1, size=10_000)
        assert (seqs(await read(peer, after_seq=4)), len(peer.frames[-1].payload) > 10_000) == ([5], True)
    async with alice(limits=Limits(history_events=3)) as (server, peer):
        await fill(server, 4)
        for limit in (None, 4, 2**31):
            assert seqs(await read(peer, limit=limit)) == [1, 2, 3]


async def test_read_names_that_resemble() -> None:
    """A thread is read by its whole name, whatever characters are in it."""
    names = ["t", "t1", 't1"', "t\\", "té", "t\n", "t/", "\x7f", "t\u2028", "x" * 256, '","thread_id":"t']
    async with alice() as (server, peer):
        for n, name in enumerate(names):
            await server.runtime.thread(name).emit("tick", {"n": n}, user_id="alice")
        for n, name in enumerate(names):
            reply = await read(peer, name, id_=n)
            assert [event["payload"]["n"] for event in reply["events"]] == [n]
            assert reply["thread_id"] == name


async def test_read_anothers_thread() -> None:
    """Another's thread, one of nobody's, and one that does not exist are one: alike in the reply."""
    async with alice(authorize=anybody) as (server, peer):
        await server.runtime.thread("bobs").emit("tick", {}, user_id="bob")
        await server.runtime.thread("unowned").emit("tick", {})
        replies = []
        for thread_id in ("bobs", "unowned", "nowhere", "", "x" * 4_096):
            refused(await ask(peer, "read", thread_id=thread_id), "unknown_thread")
            replies.append(peer.frames[-1])
        assert replies == replies[:1] * 5
        assert server.runtime.owner("unowned") is None


async def test_the_application_reads() -> None:
    """The application reads the same, of every thread; of one that nobody owns there is nothing yet."""
    async with alice(limits=Limits(history_bytes=700)) as (server, peer):
        await fill(server, 5)
        for after_seq, limit in ((0, None), (0, 2), (2, 1), (5, None)):
            reply = await read(peer, after_seq=after_seq, limit=limit)
            found = await server.runtime.read("t1", after_seq=after_seq, limit=limit)
            assert [event.offset for event in found.events] == [event["offset"] for event in reply["events"]]
            assert ([list(one) for one in found.gone], found.head_seq, found.more, found.thread_id) == (
                reply["gone"], reply["head_seq"], reply["more"], "t1",
            )  # fmt: skip
        await server.runtime.thread("unowned").emit("tick", {})
        assert await server.runtime.read("unowned") == actors.History(
            thread_id="unowned", events=(), gone=(), head_seq=1, more=False
        )
        assert await server.runtime.read("nowhere") == actors.History(
            thread_id="nowhere", events=(), gone=(), head_seq=0, more=False
        )
        wrongs: list[dict[str, Any]] = [{"after_seq": wrong} for wrong in (-1, "1", 1.5, None, True, 2**53)]
        for options in (*wrongs, {"limit": 0}, {"limit": -1}, {"limit": "1"}, {"limit": True}):
            with pytest.raises(actors.Unencodable, match=r"(after_seq|limit): expected a whole number from \d on, got"):
                await server.runtime.read("t1", **options)


# --- what else may happen ---------------------------------------------------------------------


class BrokenActor:
    """An actor with a bug."""

    def handle(self, message: ThreadMessage) -> bool | None:
        raise RuntimeError("a bug")

    async def settle(self) -> None:
        """Nothing."""


def break_thread(runtime: Runtime, thread_id: str) -> None:
    """A bug in a thread's actor."""
    mailbox = runtime.tree.threads.mailbox(thread_id)
    mailbox.actor = BrokenActor()
    mailbox.tell(OwnerRequest(thread_id, None, True, act="unbind", reply=Reply()))


async def test_a_quarantined_thread() -> None:
    """A thread that is out of service says so, and its owner's other threads go on."""
    async with alice(on_message=quietly, limits=Limits(restarts=0)) as (server, peer):
        await server.runtime.bind("t1", "alice")
        break_thread(server.runtime, "t1")
        while server.runtime.tree.threads.quarantined("t1") is None:
            await trio.lowlevel.checkpoint()
        refused(await send(peer, thread_id="t1"), "quarantined")
        placement(await send(peer, "c2"))
        assert len(server.failures()) == 1
        server.runtime.release("threads/t1")
        placement(await send(peer, thread_id="t1"))


async def test_quarantined_with_the_message_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message in the hands of a thread that is taken out of service is lost, and its sender is told."""
    store = FullStore()
    monkeypatch.setattr(store, "room", broken)
    async with alice(on_message=quietly, store=store, limits=Limits(restarts=0)) as (server, peer):
        await server.runtime.bind("t1", "alice")
        await peer.say({**SEND, "thread_id": "t1"})
        refused(await reply_to(peer, "c1"), "quarantined")
        await at_rest(server.runtime)
        assert log(server.runtime) == []
        assert len(server.failures()) == 1


async def broken() -> None:
    raise RuntimeError("a bug")


async def test_quarantined_while_the_store_has_the_message() -> None:
    """A message that the store has is placed and answered though its thread is taken out of service meanwhile; it is
    the agent's run that cannot speak there."""
    store = HeldStore()
    async with alice(on_message=quietly, store=store, limits=Limits(restarts=0)) as (server, peer):
        await server.runtime.bind("t1", "alice")
        await peer.say({**SEND, "thread_id": "t1"})
        await store.journal.asked.wait()
        break_thread(server.runtime, "t1")
        while server.runtime.tree.threads.quarantined("t1") is None:
            await trio.lowlevel.checkpoint()
        store.journal.released.set()
        assert placement(await reply_to(peer, "c1"))["offset"] == 1
        await at_rest(server.runtime)
        assert len(log(server.runtime)) == 1
        assert server.runtime.audit().balanced


async def test_a_quarantined_user() -> None:
    """A user who is out of service has no connection to ask on."""
    async with served(limits=Limits(restarts=0)) as server, attached(server) as peer, server.peer() as after:
        server.runtime.tree.users.mailbox("alice").tell(crash())
        ending = await peer.farewell()
        assert ending is not None
        assert ending[0] == 4008
        await after.open(ACTORS)
        await after.say({"op": "hello", "v": 1, "token": "alice"})
        assert (await after.next_op("error"))["error"]["name"] == "quarantined"


async def test_going_away() -> None:
    """A runtime that goes away takes no message; runs can still be ended, and threads read."""
    async with alice(on_message=for_ever) as (server, peer):
        first = await send(peer)
        server.nursery.start_soon(server.runtime.drain, 5.0)
        await peer.next_op("going_away")
        refused(await send(peer, "c2"), "shutting_down")
        assert len((await read(peer, first["thread_id"]))["events"]) == 2
        assert (await ask(peer, "cancel", "c3", run_id=first["run_id"]))["stopped"] == [first["run_id"]]
        while "agent_cancelled" not in [message.get("type") for message in peer.messages()]:
            await peer.next_message()
        await peer.ack(3)
        await peer.farewell()
    assert server.runtime.tree.runs.admission.messages == 0
    assert server.runtime.tree.runs.admission._turns == {}


async def test_a_failure_of_ours() -> None:
    """What fails in carrying out a request is said to its client and, once, to the observer; the connection lives."""
    async with alice() as (server, peer):
        await server.runtime.bind("t1", "alice")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server.runtime.tree.store, "history", lambda *_: 1 // 0)
            refused(await ask(peer, "read", thread_id="t1"), "failed")
        (failure,) = server.failures()
        assert failure.startswith("requests failed handling ReadThread, user alice: ZeroDivisionError")
        assert seqs(await read(peer)) == []


async def test_a_failure_of_ours_in_a_message() -> None:
    """A message that fails in our hands leaves no turn reserved."""
    async with alice(on_message=quietly) as (server, peer):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server.runtime.tree.emitter, "emit", lambda _: 1 // 0)
            refused(await send(peer), "failed")
        await at_rest(server.runtime)
        placement(await send(peer))
        assert len(server.failures()) == 1


async def test_cancelled_while_it_waits_for_room() -> None:
    """A sender who goes while the thread has no room for his message has sent nothing, and no turn is kept for it."""
    limits, store = Limits(mailbox_messages=1), FullStore()
    async with served(on_message=quietly, store=store, limits=limits) as server:
        await server.runtime.bind("t1", "alice")
        async with attached(server, "alice") as peer:
            thread = server.runtime.thread("t1")
            await thread.emit("tick", {})
            await trio.testing.wait_all_tasks_blocked()
            await thread.emit("tick", {})
            await peer.say({**SEND, "thread_id": "t1"})
            while not server.runtime.tree.runs.admission.messages:
                await trio.lowlevel.checkpoint()
            peer.reset()
        await server.all_gone()
        await at_rest(server.runtime)
        store.gate.set()
        await (await thread.emit("tick", {})).reached(actors.Stage.STORED)
        assert log(server.runtime) == []
