"""Messages that the host has from users, and the threads that users may have by naming them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors import Busy, IdempotencyConflict, Limits, NotTheOwner, RuntimeClosed, Unencodable, claim_new
from actors.errors import Quarantined
from actors.events.items import Sent
from tests.runs.harness import Agent, open_harness, quiet
from tests.server.test_requests import alice, break_thread, broken, for_ever, log, quietly, send
from tests.stores.held import FullStore
from tests.stores.waiting import WaitingStore

STORES = [None, lambda: WaitingStore(delay_seconds=0)]


# --- from the host's code ---------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
async def test_it_is_as_one_of_a_client(store: Callable[[], Any] | None) -> None:
    """A message of the host's is an event for all devices, and answered by one run."""
    async with open_harness(Agent(patient=False), store=store and store()) as harness:
        device = await harness.device()
        sent = await harness.runtime.thread("t1").send({"text": "hi"}, user_id="alice", message_id="m1")
        assert sent == Sent(thread_id="t1", event_id="m1", run_id=sent.run_id, epoch=sent.epoch, seq=1, offset=1)
        await quiet()
        assert await harness.story() == ["hi?", "hi: agent_started", "hi: agent_completed"]
        events = await harness.events()
        assert {event.run_id for event in events[1:]} == {sent.run_id}
        assert events[1].payload["message_id"] == "m1"
        said = await device.peer.next_event()
        assert (said["type"], said["event_id"], said["payload"]) == ("user_message", "m1", {"text": "hi"})


@pytest.mark.parametrize("store", STORES)
async def test_again_is_the_same(store: Callable[[], Any] | None) -> None:
    """The same message again gives the same answer and starts nothing, with a name for its run or without one."""
    agent = Agent(patient=False)
    async with open_harness(agent, store=store and store()) as harness:
        thread = harness.runtime.thread("t1")
        for named in ({}, {"run_id": "mine"}):
            message: dict[str, Any] = {"user_id": "alice", "message_id": f"m{len(named)}", **named}
            first = await thread.send({"text": "hi"}, **message)
            assert [await thread.send({"text": "hi"}, **message) for _ in range(2)] == [first, first]
            del message["message_id"], named
            assert await thread.send({"text": "hi"}, user_id="alice", message_id=first.event_id) == first
        assert first.run_id == "mine"
        await quiet()
        assert agent.asked == ["hi", "hi"]


async def test_at_once_is_the_same() -> None:
    """Of a message that is sent by several tasks at once there is one event and one run; each gets its place."""
    agent, found = Agent(patient=False), []
    async with open_harness(agent, store=WaitingStore(delay_seconds=0)) as harness:

        async def say() -> None:
            found.append(await harness.runtime.thread("t1").send({"text": "hi"}, user_id="alice", message_id="m1"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(say)
        await quiet()
        assert found == found[:1] * 5
        assert agent.asked == ["hi"]
        assert harness.runtime.tree.runs.admission.messages == 0


async def test_without_an_id() -> None:
    """A message without an id is a new one each time."""
    async with open_harness(Agent(patient=False)) as harness:
        thread = harness.runtime.thread("t1")
        one, other = [await thread.send({"text": "hi"}, user_id="alice") for _ in range(2)]
        assert one.event_id != other.event_id
        assert one.run_id != other.run_id


async def test_without_an_agent() -> None:
    """Where no agent answers messages they are placed all the same, and there is no run, nor a name of one."""
    async with open_harness() as harness:
        sent = await harness.runtime.thread("t1").send({}, user_id="alice", run_id="mine")
        assert sent.run_id is None


async def test_a_restart_remembers(tmp_path: Any) -> None:
    """After a restart on the same journal the same message again has the same place and run, and is answered once."""
    agent = Agent(patient=False)
    found = []
    for _ in range(2):
        store = actors.SQLiteStore(tmp_path / "events.db")
        async with open_harness(agent, store=store) as harness:
            found.append(await harness.runtime.thread("t1").send({"text": "hi"}, user_id="alice", message_id="m1"))
            while len(await harness.events()) < 3:
                pass
    assert found[0] == found[1]
    assert agent.asked == ["hi"]


async def test_the_agent_has_a_copy() -> None:
    """What the host does with its payload afterwards is not seen by the agent; ready JSON is as good as a mapping."""
    agent, payload = Agent(patient=False), {"text": "hi"}
    async with open_harness(agent) as harness:
        await harness.runtime.thread("t1").send(payload, user_id="alice")
        payload["text"] = "bye"
        await harness.runtime.thread("t1").send(b'{"text":"ready"}', user_id="alice")
        await quiet()
        assert agent.asked == ["hi", "ready"]


async def test_it_claims() -> None:
    """A thread without an owner becomes the sender's, with what it held before; another's does not."""
    async with open_harness() as harness:
        thread = harness.runtime.thread("free")
        await thread.emit("tick", {})
        assert (await thread.send({}, user_id="alice")).offset == 2
        with pytest.raises(NotTheOwner):
            await thread.send({}, user_id="bob")
        assert harness.runtime.owner("free") == "alice"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"user_id": ""}, "user_id: expected 1 to 256 characters"),
        ({"user_id": 7}, "user_id: "),
        ({"message_id": ""}, "message_id: "),
        ({"run_id": "x" * 257}, "run_id: "),
        ({"run_id": 1}, "run_id: "),
        ({"type": "agent_started"}, "type: expected a type that is not an agent's, got 'agent_started'"),
        ({"type": "dropped"}, "type: "),
        ({"type": []}, "type: "),
        ({"payload": [1]}, "payload: "),
        ({"payload": {"at": object()}}, "payload.at: "),
    ],
)
async def test_what_cannot_be_meant(wrong: dict[str, Any], said: str) -> None:
    """What no message can be is refused, and no turn is kept for it."""
    async with open_harness(Agent()) as harness:
        arguments: dict[str, Any] = {"payload": {}, "user_id": "alice", **wrong}
        with pytest.raises(Unencodable) as caught:
            await harness.runtime.thread("t1").send(arguments.pop("payload"), **arguments)
        assert str(caught.value).startswith(said)
        assert harness.runtime.tree.runs.admission.messages == 0


@pytest.mark.parametrize("store", STORES)
async def test_conflicts(store: Callable[[], Any] | None) -> None:
    """An id that names another message or another run raises, also where the store has to be waited for."""
    async with open_harness(Agent(), store=store and store()) as harness:
        thread = harness.runtime.thread("t1")
        await thread.send({"text": "hi"}, user_id="alice", message_id="m1", run_id="r1")
        with pytest.raises(IdempotencyConflict, match="m1"):
            await thread.send({"text": "other"}, user_id="alice", message_id="m1")
        with pytest.raises(IdempotencyConflict, match="expected its run, 'r1', got 'r2'"):
            await thread.send({"text": "hi"}, user_id="alice", message_id="m1", run_id="r2")
        with pytest.raises(IdempotencyConflict, match="run id 'r1'"):
            await thread.send({"text": "hi"}, user_id="alice", message_id="m2", run_id="r1")
        await thread.emit("tick", {})
        with pytest.raises(NotTheOwner):
            await thread.send({"text": "hi"}, user_id="bob")
        assert harness.runtime.tree.runs.admission.messages == 1


@pytest.mark.parametrize(("concurrency", "limits"), [("reject", Limits()), ("queue", Limits(runs_per_thread=1))])
async def test_busy(concurrency: Any, limits: Limits) -> None:
    """Where so many messages wait that there is no room for another, the call says so, and may be made again."""
    agent = Agent()
    async with open_harness(agent, concurrency=concurrency, limits=limits) as harness:
        thread = harness.runtime.thread("t1")
        first = await thread.send({"text": "one"}, user_id="alice", message_id="m1")
        with pytest.raises(Busy, match="t1"):
            await thread.send({"text": "two"}, user_id="alice", message_id="m2")
        assert await thread.send({"text": "one"}, user_id="alice", message_id="m1") == first
        agent.open("one", "two")
        await quiet()
        await thread.send({"text": "two"}, user_id="alice", message_id="m2")
        await quiet()
        assert agent.asked == ["one", "two"]


async def test_on_the_way_out() -> None:
    """A runtime that drains, or is closed, takes no message of the host's."""
    async with open_harness(Agent(patient=False)) as harness:
        thread = harness.runtime.thread("t1")
        await harness.runtime.drain(1)
        with pytest.raises(RuntimeClosed):
            await thread.send({"text": "hi"}, user_id="alice")
    with pytest.raises(RuntimeClosed):
        await thread.send({"text": "hi"}, user_id="alice")


async def test_out_of_service() -> None:
    """A thread that is out of service takes no message, and no turn is kept."""
    async with open_harness(Agent(), limits=Limits(restarts=0)) as harness:
        break_thread(harness.runtime, "t1")
        while harness.runtime.tree.threads.quarantined("t1") is None:
            await trio.lowlevel.checkpoint()
        with pytest.raises(Quarantined):
            await harness.runtime.thread("t1").send({"text": "hi"}, user_id="alice")
        assert harness.runtime.tree.runs.admission.messages == 0


async def test_taken_out_of_service_with_the_message_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is lost with its thread raises what the emit would have raised, had that been known in time."""
    store = FullStore()
    monkeypatch.setattr(store, "room", broken)
    async with open_harness(Agent(), store=store, limits=Limits(restarts=0)) as harness:
        with pytest.raises(Quarantined):
            await harness.runtime.thread("t1").send({"text": "hi"}, user_id="alice")
        await quiet()
        assert harness.runtime.tree.runs.admission.messages == 0


async def test_cancelled_while_it_waits() -> None:
    """A sender that is cancelled while the thread has no room has sent nothing, and no turn is kept."""
    store = FullStore()
    async with open_harness(Agent(), store=store, limits=Limits(mailbox_messages=1)) as harness:
        thread = harness.runtime.thread("t1")
        await thread.emit("tick", {})
        await trio.testing.wait_all_tasks_blocked()
        await thread.emit("tick", {})
        with trio.move_on_after(0.01):
            await thread.send({"text": "hi"}, user_id="alice")
        assert harness.runtime.tree.runs.admission.messages == 0
        store.gate.set()
        await quiet()
        assert [event.type for event in await harness.events()] == ["tick", "tick"]


# --- threads that clients name ------------------------------------------------------


async def test_a_new_thread_is_its_first_users() -> None:
    """With claim_new a client names its thread, which is its from then on, and nobody else's."""
    async with alice(authorize=claim_new) as (server, peer):
        assert (await send(peer, thread_id="mine"))["offset"] == 1
        assert server.runtime.owner("mine") == "alice"
        async with server.peer() as bobs:
            await bobs.attach("bob")
            assert (await send(bobs, thread_id="mine"))["error"]["name"] == "unknown_thread"
        assert (await send(peer, "c2", thread_id="mine"))["offset"] == 2
        assert len(log(server.runtime)) == 2


@pytest.mark.parametrize("store", STORES)
async def test_what_an_agent_has_said_is_not_had_by_naming_it(store: Callable[[], Any] | None) -> None:
    """A thread without an owner that holds events is no new one; neither is one that was taken away."""
    async with alice(authorize=claim_new, store=store and store()) as (server, peer):
        await server.runtime.thread("held").emit("secret", {})
        await send(peer, thread_id="taken")
        await server.runtime.unbind("taken")
        for number, thread_id in enumerate(("held", "taken")):
            reply = await send(peer, f"c{number + 10}", thread_id=thread_id)
            assert reply["error"]["name"] == "unknown_thread"
            assert server.runtime.owner(thread_id) is None
        await peer.echo()
        assert [one["type"] for one in peer.messages() if "type" in one] == ["user_message"]


@pytest.mark.parametrize("store", STORES)
async def test_an_event_that_comes_meanwhile(store: Callable[[], Any] | None) -> None:
    """An event that comes between the question and the claim is not had either: the store decides, not the question."""

    async def asks(user_id: str, thread_id: str) -> Any:
        permitted = await claim_new(user_id, thread_id)
        await servers[0].runtime.thread(thread_id).emit("secret", {})
        return permitted

    servers: list[Any] = []
    async with alice(authorize=asks, store=store and store(), on_message=quietly) as (server, peer):
        servers.append(server)
        reply = await send(peer, thread_id="t9")
        assert reply["error"]["name"] == "unknown_thread"
        assert server.runtime.owner("t9") is None


@pytest.mark.parametrize("store", STORES)
async def test_two_at_once(store: Callable[[], Any] | None) -> None:
    """Of two users who name the same new thread at once, one has it."""
    async with alice(authorize=claim_new, store=store and store()) as (server, peer), server.peer() as bobs:
        await bobs.attach("bob")
        replies: dict[str, Any] = {}

        async def say(name: str, by: Any) -> None:
            replies[name] = await send(by, thread_id="t1")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, "alice", peer)
            nursery.start_soon(say, "bob", bobs)
        owner = server.runtime.owner("t1")
        assert owner in replies
        assert ["error" in replies[name] for name in ("alice", "bob")] == [owner != "alice", owner != "bob"]


async def test_the_host_asks_the_same_policy() -> None:
    """A thread that a client named to the host is the client's only if the application's function agrees."""
    async with open_harness(for_ever, authorize=claim_new) as harness:
        runtime = harness.runtime
        assert (await runtime.thread("new").send({}, user_id="bob", authorize=True)).seq == 1
        await runtime.thread("held").emit("secret", {})
        for thread_id, user_id in (("new", "alice"), ("t1", "bob"), ("held", "bob")):
            with pytest.raises(NotTheOwner):
                await runtime.thread(thread_id).send({}, user_id=user_id, authorize=True)
        assert (await runtime.thread("new").send({}, user_id="bob", authorize=True)).seq > 1


async def test_the_policy_of_the_host_fails() -> None:
    """What the application's function raises comes out of the call, and so does the end of its time."""

    async def fails(user_id: str, thread_id: str) -> bool:
        if thread_id == "slow":
            await trio.sleep_forever()
        raise LookupError("no database")

    async with open_harness(authorize=fails, limits=Limits(authorize_seconds=0.01)) as harness:
        with pytest.raises(LookupError):
            await harness.runtime.thread("t2").send({}, user_id="alice", authorize=True)
        with pytest.raises(trio.TooSlowError):
            await harness.runtime.thread("slow").send({}, user_id="alice", authorize=True)


async def test_nobody_is_allowed_by_default() -> None:
    """Without a word of the application a thread that was named by a client is nobody's."""
    async with open_harness() as harness:
        with pytest.raises(NotTheOwner):
            await harness.runtime.thread("t2").send({}, user_id="alice", authorize=True)
