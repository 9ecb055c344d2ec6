"""Asks: one answer, from whichever device gives it first, or the reason why there is none."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import trio
import trio.testing

import actors
from tests.support.raw import Message, Peer
from tests.support.served import Served, served

QUESTION = {"question": "Deploy?", "choices": ["yes", "no"]}


class Asking:
    """A question under way, and what came of it."""

    def __init__(self, server: Served, thread_id: str = "t1", timeout: float = 60.0) -> None:
        self.outcome: Any = None
        self.over = trio.Event()
        self.scope = trio.CancelScope()
        self._thread = server.runtime.thread(thread_id)
        self._timeout = timeout
        server.nursery.start_soon(self._ask)

    async def _ask(self) -> None:
        with self.scope:
            try:
                self.outcome = await self._thread.ask("approval", QUESTION, timeout=self._timeout, run_id="r1")
            except actors.Unanswered as error:
                self.outcome = error
        self.over.set()


async def shown(peer: Peer) -> Message:
    """The next question that a device is shown."""
    ask = await peer.next_op("ask")
    assert ask["event"]["type"] == "approval"
    assert ask["event"]["payload"] == QUESTION
    assert ask["event"]["run_id"] == "r1"
    assert "offset" not in ask["event"]
    assert 0 < ask["timeout_s"] <= 60
    event: Message = ask["event"]
    return event


async def answer(peer: Peer, ask_id: str, choice: str, id_: Any = 1) -> Message:
    """Answer a question; the reply."""
    await peer.say({"op": "answer", "id": id_, "ask": ask_id, "payload": {"choice": choice}})
    return await peer.next_op("reply")


async def test_the_first_answer_counts() -> None:
    """Every device is shown the question; the first answer is the emitter's, and the question closes on the others."""
    async with served() as server, server.peer() as phone, server.peer() as laptop:
        await server.runtime.bind("t1", "alice")
        await phone.attach("alice")
        await laptop.attach("alice")
        asking = Asking(server)
        question = await shown(phone)
        assert (await shown(laptop))["event_id"] == question["event_id"]
        assert await answer(laptop, question["event_id"], "yes") == {
            "op": "reply",
            "id": 1,
            "ok": True,
            "ask": question["event_id"],
        }
        await asking.over.wait()
        assert asking.outcome.payload == {"choice": "yes"}
        assert asking.outcome.user_id == "alice"
        closed = {"op": "ask_closed", "ask": question["event_id"], "reason": "answered"}
        assert await phone.next_op("ask_closed") == closed
        late = await answer(phone, question["event_id"], "no")
        assert late["error"]["name"] == "ask_closed"


async def test_shown_on_every_attach_after_caught_up() -> None:
    """A device that comes, or comes back, is shown what is open, after ``caught_up``; what is closed it is not."""
    async with served() as server:
        await server.emit(3)
        asking = Asking(server, "thread-of-alice")
        for _ in range(2):
            async with server.peer() as peer:
                await peer.attach("alice", **{"from": "low"})
                question = await shown(peer)
                ops = [message.get("op", "event") for message in peer.messages()]
                assert ops == ["welcome", "event", "event", "event", "caught_up", "ask"]
        async with server.peer() as peer:
            await peer.attach("alice")
            await shown(peer)
            await answer(peer, question["event_id"], "no")
            await asking.over.wait()
        async with server.peer() as peer:
            await peer.attach("alice")
            await peer.echo()
            assert "ask" not in [message.get("op") for message in peer.messages()]


async def test_the_same_answer_again() -> None:
    """An answer whose reply was lost is given again on the next connection of its session, and is accepted again."""
    async with served() as server:
        await server.runtime.bind("t1", "alice")
        asking = Asking(server)
        async with server.peer() as peer:
            welcome = await peer.attach("alice")
            question = await shown(peer)
            first = await answer(peer, question["event_id"], "yes", "a1")
        await asking.over.wait()
        async with server.peer() as peer:
            await peer.attach("alice", session=welcome["session"])
            assert await answer(peer, question["event_id"], "yes", "a1") == first
            assert (await answer(peer, question["event_id"], "yes", "a2"))["error"]["name"] == "ask_closed"


@pytest.mark.parametrize(
    ("bound", "attached", "reason"),
    [
        (False, False, "thread t1 has no owner"),
        (True, False, "no device of alice was there to see it"),
        (True, True, "alice saw it on 1 device"),
    ],
)
async def test_why_there_is_no_answer(bound: bool, attached: bool, reason: str) -> None:
    """A question that expires raises with the reason, and closes on every device."""
    async with served() as server, server.peer() as peer:
        if bound:
            await server.runtime.bind("t1", "alice")
        if attached:
            await peer.attach("alice")
        asking = Asking(server, timeout=0.05)
        if attached:
            question = await shown(peer)
            assert (await peer.next_op("ask_closed"))["reason"] == "expired"
            assert (await answer(peer, question["event_id"], "yes"))["error"]["name"] == "ask_closed"
        await asking.over.wait()
        assert re.search(f"expected an answer within 0.05 s, got none; {reason}$", str(asking.outcome))


async def test_no_deadline() -> None:
    """With ``math.inf`` a question is open until it is answered, and its devices get no timeout."""
    async with served() as server, server.peer() as phone, server.peer() as laptop:
        await server.runtime.bind("t1", "alice")
        await phone.attach("alice")
        asking = Asking(server, timeout=math.inf)
        live = await phone.next_op("ask")
        await laptop.attach("alice")
        later = await laptop.next_op("ask")
        assert live == later
        assert live.keys() == {"op", "event"}
        assert (await answer(phone, live["event"]["event_id"], "yes"))["ok"]
        await asking.over.wait()
        assert asking.outcome.payload == {"choice": "yes"}


@pytest.mark.parametrize("seconds", [-0.001, -math.inf, math.nan, 2_147_484, 1e300, "60", None, True])
@pytest.mark.parametrize("asker", ["thread", "run"])
async def test_a_timeout_that_is_none(asker: str, seconds: Any) -> None:
    """A time that cannot be waited, here or by a client's timer, is refused, and the question is not sent."""
    async with served() as server, server.peer() as peer:
        await server.runtime.bind("t1", "alice")
        await peer.attach("alice")
        thread = server.runtime.thread("t1")
        got = repr(seconds) if type(seconds) in {int, float} else type(seconds).__name__
        expected = re.escape(f"timeout: expected seconds, 0 or more, at most 2,147,483, or math.inf, got {got}")
        async with thread.run("bot") as run:
            with pytest.raises((TypeError, ValueError), match=expected):
                await (thread if asker == "thread" else run).ask("approval", QUESTION, timeout=seconds)
        await peer.say({"op": "ping"})
        await peer.next_op("pong")
        assert "ask" not in [message.get("op") for message in peer.messages()]
        assert len(server.runtime.tree.asks._threads) == 0


async def test_the_longest_timeout() -> None:
    """What a browser's timer can wait may be asked for."""
    async with served() as server, server.peer() as peer:
        await server.runtime.bind("t1", "alice")
        await peer.attach("alice")
        asking = Asking(server, timeout=2_147_483)
        assert 2_147_480 < (await peer.next_op("ask"))["timeout_s"] <= 2_147_483
        asking.scope.cancel()


async def test_withdrawn_with_its_asker() -> None:
    """A question whose asker is cancelled is withdrawn from every screen."""
    async with served() as server, server.peer() as peer:
        await server.runtime.bind("t1", "alice")
        await peer.attach("alice")
        asking = Asking(server)
        question = await shown(peer)
        asking.scope.cancel()
        closed = {"op": "ask_closed", "ask": question["event_id"], "reason": "withdrawn"}
        assert await peer.next_op("ask_closed") == closed
        assert asking.outcome is None


async def test_a_question_follows_its_thread() -> None:
    """A thread that gets an owner, or another one, takes its open questions along: only the owner may answer."""
    async with served() as server, server.peer() as alices, server.peer() as bobs:
        await alices.attach("alice")
        await bobs.attach("bob")
        asking = Asking(server)
        await server.runtime.bind("t1", "alice")
        question = await shown(alices)
        await server.runtime.rebind("t1", "bob")
        assert (await alices.next_op("ask_closed"))["reason"] == "withdrawn"
        assert (await shown(bobs))["event_id"] == question["event_id"]
        assert (await answer(alices, question["event_id"], "no"))["error"]["name"] == "unknown_ask"
        assert "ok" in await answer(bobs, question["event_id"], "yes")
        await asking.over.wait()
        assert asking.outcome.user_id == "bob"


async def test_nobody_else_may_answer() -> None:
    """Another user's question and one that does not exist get the same reply."""
    async with served() as server, server.peer() as alices, server.peer() as bobs:
        await server.runtime.bind("t1", "alice")
        await alices.attach("alice")
        await bobs.attach("bob")
        asking = Asking(server)
        question = await shown(alices)
        foreign = await answer(bobs, question["event_id"], "yes")
        assert foreign["error"]["name"] == "unknown_ask"
        assert await answer(bobs, "a_nothing", "yes") == foreign
        assert not asking.over.is_set()
        await answer(alices, question["event_id"], "no")
        await asking.over.wait()
        assert await answer(bobs, question["event_id"], "yes") == foreign


async def test_bounds() -> None:
    """A thread has so many open questions and no more; what cannot be asked raises, and leaves nothing behind."""
    async with served(limits=actors.Limits(asks_per_thread=2)) as server:
        thread = server.runtime.thread("t1")
        first, second = Asking(server), Asking(server)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(actors.Unanswered, match="at most 2 open questions in thread t1"):
            await thread.ask("approval", {}, timeout=1)
        for asking in (first, second):
            asking.scope.cancel()
            await asking.over.wait()
        with pytest.raises(actors.Unencodable):
            await thread.ask("approval", {"when": object()}, timeout=1)
        with pytest.raises(actors.Unanswered, match="no owner"):
            await thread.ask("approval", {}, timeout=0.01)


async def test_a_run_asks() -> None:
    """A run's question names it, comes after the events of the run so far, and is withdrawn when the run ends."""
    async with served() as server, server.peer() as peer:
        await server.runtime.bind("t1", "alice")
        await peer.attach("alice")
        async with trio.open_nursery() as nursery, server.runtime.thread("t1").run("deployer", run_id="r1") as run:
            run.delta("I could deploy this.")
            nursery.start_soon(answer_when_shown, peer)
            answered = await run.ask("approval", QUESTION, timeout=60)
            assert answered.payload == {"choice": "yes"}
        said = [message.get("type", message.get("op")) for message in peer.messages()]
        assert said.index("agent_delta") < said.index("ask")
        with pytest.raises(actors.RunEnded):
            await run.ask("approval", QUESTION, timeout=60)
        async with server.runtime.thread("t1").run("deployer", run_id="r1") as run:
            server.nursery.start_soon(cancel_when_shown, peer, run)
            await run.ask("approval", QUESTION, timeout=60)
        assert run.outcome == "agent_cancelled"
        assert (await peer.next_op("ask_closed"))["reason"] == "withdrawn"


async def answer_when_shown(peer: Peer) -> None:
    question = await shown(peer)
    await answer(peer, question["event_id"], "yes")


async def cancel_when_shown(peer: Peer, run: actors.Run) -> None:
    await shown(peer)
    run.cancel()
