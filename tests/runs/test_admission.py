"""Admission: whose turn it is in a thread, in each way of getting along."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors import Message, Run
from tests.runs.harness import LIMITS, Agent, open_harness, quiet, stubborn


async def test_queue() -> None:
    """Messages wait for the run before them: they are placed at once, and answered in order, one after another."""
    agent = Agent()
    async with open_harness(agent) as harness:
        device = await harness.device()
        for text in "abc":
            assert (await device.send(text))["ok"]
        assert agent.asked == ["a"]
        agent.open("c", "b")
        await quiet()
        assert agent.asked == ["a"]
        agent.open("a")
        await quiet()
        runs = [f"{text}: {end}" for text in "abc" for end in ("agent_started", "agent_completed")]
        assert sorted(await harness.story()) == sorted(["a?", "b?", "c?", *runs])
        assert [line for line in await harness.story() if "?" not in line] == runs


async def test_threads_do_not_wait_for_each_other() -> None:
    """Whose turn it is, is a matter of one thread."""
    agent = Agent()
    async with open_harness(agent) as harness:
        await harness.runtime.bind("t2", "alice")
        device = await harness.device()
        await device.send("a")
        await device.send("b", "t2")
        assert agent.asked == ["a", "b"]


@pytest.mark.parametrize(
    ("concurrency", "limits", "most"),
    [
        ("queue", {"runs_per_thread": 3}, 3),
        ("parallel", {"runs_per_thread": 3}, 3),
        ("queue", {"runs": 2}, 2),
        ("parallel", {"runs": 2}, 2),
        ("reject", {}, 1),
    ],
)
async def test_busy(concurrency: Any, limits: dict[str, int], most: int) -> None:
    """Beyond its bound a thread, or the runtime, is busy: it refuses and places no message, until a run has ended."""
    agent = Agent()
    async with open_harness(agent, concurrency=concurrency, limits=actors.Limits(**limits)) as harness:
        device = await harness.device()
        texts = [f"m{number}" for number in range(most)]
        for text in texts:
            assert (await device.send(text))["ok"]
        error = (await device.send("too much"))["error"]
        assert (error["name"], error["temporary"]) == ("busy", True)
        agent.open(texts[0])
        await quiet()
        assert (await device.send("again"))["ok"]
        assert [line for line in await harness.story() if "?" in line] == [f"{text}?" for text in [*texts, "again"]]


async def test_cancel_previous(autojump_clock: trio.testing.MockClock) -> None:
    """A new message cancels the run before it, as ``superseded``; its own run starts when that one has ended."""
    agent = Agent()
    async with open_harness(agent, concurrency="cancel_previous") as harness:
        device = await harness.device()
        for text in "ab":
            await device.send(text)
        await quiet()
        agent.open("b")
        await quiet()
        assert await harness.story() == [
            "a?",
            "a: agent_started",
            "b?",
            "a: agent_cancelled (superseded)",
            "b: agent_started",
            "b: agent_completed",
        ]


async def test_cancel_previous_of_one_that_does_not_stop(autojump_clock: trio.testing.MockClock) -> None:
    """A run that shields itself is closed without its code after ``cancel_seconds``; what it emits later is refused."""

    async def answer(run: Run, message: Message) -> None:
        if message.payload["text"] == "a":
            await stubborn(run, message)

    async with open_harness(answer, concurrency="cancel_previous") as harness:
        device = await harness.device()
        await device.send("a")
        for text in "bc":
            await device.send(text)
        await trio.sleep(LIMITS.cancel_seconds - 1)
        assert len(await harness.story()) == 6
        await trio.sleep(2)
        assert await harness.story() == [
            "a?",
            "a: agent_started",
            "b?",
            "c?",
            "b: agent_started",
            "b: agent_cancelled (superseded)",
            "a: agent_cancelled (superseded)",
            "c: agent_started",
            "c: agent_completed",
        ]
        await trio.sleep(60)
        assert len(await harness.story()) == 9
        reported = [failure.error.partition(":")[0].partition(",")[0] for failure in harness.runtime.failures]
        assert reported == ["shields itself from cancellation", "RunEnded"]


@pytest.mark.parametrize("concurrency", ["queue", "reject", "cancel_previous", "parallel"])
async def test_a_tool_that_blocks_a_thread_is_stopped(concurrency: Any) -> None:
    """A run that waits for a thread is closed after ``cancel_seconds``, and reported as running as long as it does: its
    thread's next turn begins, its place among all runs stays taken, and its failure shows where it waits."""
    blocked = threading.Event()

    async def answer(run: Run, message: Message) -> str:
        if message.payload["text"] == "a":
            await trio.to_thread.run_sync(blocked.wait)
        return "done"

    limits = actors.Limits(cancel_seconds=0.05, runs=2)
    async with open_harness(answer, concurrency=concurrency, limits=limits) as harness:
        try:
            device = await harness.device()
            run_id = (await device.send("a"))["run_id"]
            cancelled = await device.ask("cancel", run_id=run_id)
            assert (cancelled["stopped"], cancelled["running"]) == ([], [run_id])
            await device.send("b")
            await quiet()
            assert (await harness.story())[-1] == "b: agent_completed"
            assert (await harness.story())[:3] == ["a?", "a: agent_started", "a: agent_cancelled (user)"]
            assert (await device.ask("cancel", run_id=run_id))["running"] == [run_id]
            (failure,) = harness.runtime.failures
            assert (failure.path, failure.handling) == (f"runs/{run_id}", "its cancellation")
            assert "await trio.to_thread.run_sync(blocked.wait)" in failure.traceback
            assert harness.runtime.tree.runs.admission.messages == 1
            code = harness.runtime.tree.runs.registry.abandoned[run_id]
        finally:
            blocked.set()
        await code.over.wait()
        await quiet()
        assert harness.runtime.tree.runs.admission.messages == 0
        assert (await device.ask("cancel", run_id=run_id))["stopped"] == [run_id]
        assert [line for line in await harness.story() if line.startswith("a: ")][1:] == ["a: agent_cancelled (user)"]


@pytest.mark.parametrize("reason", ["superseded", "disconnected", "application", "user"])
async def test_whatever_asks_it_to_stop(reason: str, autojump_clock: trio.testing.MockClock) -> None:
    """The bound is the same for every cause of a cancel, and the last event has the cause as its reason."""
    concurrency: Any = "cancel_previous" if reason == "superseded" else "queue"
    grace = actors.Limits(disconnect_grace_seconds=1)
    async with open_harness(stubborn, concurrency=concurrency, on_disconnect="cancel_after", limits=grace) as harness:
        device = await harness.device()
        run_id = (await device.send("a"))["run_id"]
        if reason == "user":
            await device.ask("cancel", run_id=run_id)
        elif reason == "application":
            await harness.runtime.cancel(run_id)
        elif reason == "superseded":
            await device.send("b")
        else:
            await device.leave()
        await trio.sleep(LIMITS.cancel_seconds + 3)
        assert f"a: agent_cancelled ({reason})" in await harness.story()
        assert [failure.path for failure in harness.runtime.failures] == [f"runs/{run_id}"]


async def test_parallel() -> None:
    """Messages are answered at the same time."""
    agent = Agent()
    async with open_harness(agent, concurrency="parallel") as harness:
        device = await harness.device()
        for text in "ab":
            await device.send(text)
        assert agent.asked == ["a", "b"]
        agent.open("b")
        await quiet()
        assert (await harness.story())[-1] == "b: agent_completed"
        agent.open("a")
        await quiet()
        assert (await harness.story())[-1] == "a: agent_completed"


async def test_the_hosts_own_run_has_its_turn() -> None:
    """A run that the application opens begins at once; a message that comes meanwhile waits for it."""
    agent = Agent(patient=False)
    async with open_harness(agent) as harness:
        device = await harness.device()
        async with harness.runtime.thread("t1").run("indexer"):
            assert (await device.send("a"))["ok"]
            await quiet()
            assert agent.asked == []
        await quiet()
        assert agent.asked == ["a"]


async def test_a_message_ends_the_hosts_own_run() -> None:
    """With ``cancel_previous`` the application's run is superseded like any other."""
    async with open_harness(Agent(patient=False), concurrency="cancel_previous") as harness:
        device = await harness.device()
        async with harness.runtime.thread("t1").run("indexer"):
            await device.send("a")
            await trio.sleep_forever()
        await quiet()
        assert [line for line in await harness.story() if "(" in line] == ["None: agent_cancelled (superseded)"]
        assert (await harness.story())[-1] == "a: agent_completed"
