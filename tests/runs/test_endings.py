"""Endings: runs end when they are cancelled, and when the runtime ends, whatever their code does."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors import Message, Run
from actors.stores.memory import MemoryStore
from actors.stores.store import Act, Answered
from tests.runs.harness import LIMITS, Agent, Harness, open_harness, quiet, stubborn
from tests.stores.waiting import WaitingStore

# --- cancelling -------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["user", "application"])
async def test_a_run_is_cancelled_before_its_turn(by: str) -> None:
    """A run that waits begins and ends at once, and is never called; those behind it keep their turn."""
    agent = Agent()
    async with open_harness(agent) as harness:
        device = await harness.device()
        replies = [await device.send(text) for text in "abc"]
        run_id = replies[1]["run_id"]
        if by == "user":
            reply = await device.ask("cancel", run_id=run_id)
            assert (reply["stopped"], reply["running"]) == ([run_id], [])
        else:
            assert await harness.runtime.cancel(run_id) == actors.Cancellation((run_id,), ())
        agent.open(*"abc")
        await quiet()
        assert agent.asked == ["a", "c"]
        story = await harness.story()
        assert story[4:6] == ["b: agent_started", f"b: agent_cancelled ({by})"]
        assert story[-1] == "c: agent_completed"
        assert harness.runtime.tree.runs.admission.messages == 0


async def test_a_run_is_cancelled_before_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is cancelled when its task is about to start begins and ends in the log; the agent is not called."""
    agent = Agent(patient=False)
    async with open_harness(agent) as harness:
        admit = harness.runtime.tree.runs.admission.admit

        def admit_and_cancel(run: Run) -> None:
            admit(run)
            run.cancel("user")

        monkeypatch.setattr(harness.runtime.tree.runs.admission, "admit", admit_and_cancel)
        await (await harness.device()).send("a")
        await quiet()
        assert await harness.story() == ["a?", "a: agent_started", "a: agent_cancelled (user)"]
        assert agent.asked == []


async def test_a_cancel_that_overtakes_its_message(autojump_clock: trio.testing.MockClock) -> None:
    """A cancel for a run that is not known waits a moment for the message that starts it."""
    async with open_harness() as harness, trio.open_nursery() as nursery:
        results: list[actors.Cancellation] = []

        async def cancel(run_id: str) -> None:
            results.append(await harness.runtime.cancel(run_id))

        nursery.start_soon(cancel, "mine")
        await trio.sleep(LIMITS.cancel_hold_seconds / 2)
        async with harness.runtime.thread("t1").run("bot", run_id="mine"):
            await trio.sleep_forever()
        await cancel("nobody's")
        assert results == [actors.Cancellation(("mine",), ()), actors.Cancellation((), ())]
        assert not harness.runtime.tree.runs.registry._awaited


async def test_others_runs_are_nobodys(autojump_clock: trio.testing.MockClock) -> None:
    """A user cannot cancel a run in a thread of another user, nor learn that there is one."""
    async with open_harness(Agent()) as harness:
        run_id = (await (await harness.device()).send("a"))["run_id"]
        mallory = await harness.device("mallory")
        refusals = [(await mallory.ask("cancel", run_id=name))["error"] for name in (run_id, "no such run")]
        assert refusals[0] == refusals[1]
        assert refusals[0]["name"] == "unknown_run"
        assert list(harness.runtime.tree.runs.registry.active) == [run_id]


# --- the runtime's end ------------------------------------------------------------------


async def test_runs_end_with_the_runtime(autojump_clock: trio.testing.MockClock) -> None:
    """Runs that are active when the runtime closes, and those that wait, end with ``shutdown``; no agent is called."""
    agent = Agent()
    async with open_harness(agent) as harness:
        device = await harness.device()
        for text in "abc":
            await device.send(text)
        ended = trio.current_time()
    assert trio.current_time() - ended < LIMITS.shutdown_seconds
    assert agent.asked == ["a"]
    ends = [line for line in await harness.story() if "cancelled" in line]
    assert sorted(ends) == [f"{text}: agent_cancelled (shutdown)" for text in "abc"]
    assert harness.failures() == []


async def test_a_run_that_shields_itself_from_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """A run that does not stop is closed in time and reported by its own name, with the place where it waits."""
    async with open_harness(stubborn) as harness:
        await (await harness.device()).send("a")
        await quiet()
    assert await harness.story() == ["a?", "a: agent_started", "a: agent_cancelled (shutdown)"]
    failure = harness.runtime.failures[0]
    assert failure.path.startswith("runs/run_")
    assert "shields itself" in failure.error
    assert "in stubborn" in failure.traceback


async def test_a_message_placed_while_the_runtime_closes(autojump_clock: trio.testing.MockClock) -> None:
    """A message that the store takes while the runtime closes gets a cancelled run; the agent is not called."""
    agent = Agent(patient=False)
    store = WaitingStore(delay_seconds=1.0)
    async with open_harness(agent, store=store) as harness:
        device = await harness.device()
        await device.peer.say({"op": "send", "id": 1, "thread_id": "t1", "payload": {"text": "a"}})
        await quiet()
    assert await harness.story() == ["a?", "a: agent_started", "a: agent_cancelled (shutdown)"]
    assert agent.asked == []
    assert harness.failures() == []


async def test_finishing_waits_for_messages_on_their_way(autojump_clock: trio.testing.MockClock) -> None:
    """Who waits for the runs to finish waits for those, too, whose message the store has yet to take."""
    agent = Agent(patient=False)
    store = WaitingStore(delay_seconds=1.0)
    async with open_harness(agent, store=store) as harness:
        device = await harness.device()
        for _ in range(2):
            await device.peer.say({"op": "send", "id": 1, "thread_id": "t1", "payload": {"text": "a"}})
        await quiet()
        assert agent.asked == []
        await harness.runtime.tree.runs.endings.finish(LIMITS.shutdown_seconds)
        assert agent.asked == ["a"]
        await trio.sleep(5)
        assert await harness.story() == ["a?", "a: agent_started", "a: agent_completed"]
        assert not harness.runtime.tree.runs.admission.expected


async def test_a_message_placed_when_the_runtime_has_closed(autojump_clock: trio.testing.MockClock) -> None:
    """A message that the store takes in the runtime's last moment starts nothing, and breaks nothing."""
    agent = Agent(patient=False)
    store = WaitingStore(delay_seconds=LIMITS.close_seconds * 3)
    async with open_harness(agent, store=store) as harness:
        device = await harness.device()
        await device.peer.say({"op": "send", "id": 1, "thread_id": "t1", "payload": {"text": "a"}})
        await quiet()
    assert agent.asked == []
    assert harness.failures() == []
    assert harness.runtime.tree.runs.admission.messages == 0


class BreakingStore(MemoryStore):
    """A store that crashes on events of the thread ``t1`` once it is set to."""

    broken = False

    def submit(self, act: Act, answered: Answered[Any]) -> None:
        if self.broken and act.thread_id == "t1":
            raise ZeroDivisionError("a bug in the store")
        super().submit(act, answered)


async def break_thread(harness: Harness, store: BreakingStore) -> None:
    store.broken = True
    with suppress(actors.Quarantined):
        while True:
            await harness.runtime.thread("t1").emit("note", {})
            await trio.sleep(1)


async def test_a_run_whose_thread_is_out_of_service(autojump_clock: trio.testing.MockClock) -> None:
    """A run that cannot emit its last event, because its thread is quarantined, ends all the same; others go on."""

    class Talker(Agent):
        async def __call__(self, run: Run, message: Message) -> str:
            text = await super().__call__(run, message)
            run.delta(text)
            return text

    store = BreakingStore()
    agent = Talker()
    async with open_harness(agent, store=store, concurrency="parallel") as harness:
        await harness.runtime.bind("t2", "alice")
        device = await harness.device()
        await device.send("a")
        await device.send("b", "t2")
        await break_thread(harness, store)
        agent.open("a")
        await quiet()
        assert len(harness.runtime.tree.runs.registry.active) == 1
        agent.open("b")
        await quiet()
        assert (await harness.story("t2"))[-1] == "b: agent_completed"
        assert "Quarantined" in harness.failures()[-1]
        assert not harness.runtime.tree.runs.registry.active
        await trio.sleep(1)
        assert not harness.runtime.tree.runs.deltas._due, "nobody tries to emit the text of a run that has ended"


async def test_closing_a_run_whose_thread_is_out_of_service(autojump_clock: trio.testing.MockClock) -> None:
    """A run that must be closed without its code, and cannot say so, costs no other run anything."""
    store = BreakingStore()

    async def answer(run: Run, message: Message) -> None:
        run.delta("text that cannot go")
        if message.payload["text"] == "a":
            await stubborn(run, message)
        await trio.sleep_forever()

    async with open_harness(answer, store=store, concurrency="cancel_previous") as harness:
        await harness.runtime.bind("t2", "alice")
        device = await harness.device()
        await device.send("a")
        await device.send("other", "t2")
        await device.send("b")
        await break_thread(harness, store)
        await trio.sleep(LIMITS.cancel_seconds + 1)
        assert [run.thread_id for run in harness.runtime.tree.runs.registry.active.values()] == ["t2"]
        assert (await harness.story("t2"))[-1] == "other: agent_delta"
