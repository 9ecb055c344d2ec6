"""The supervisor of runs, as a device and an agent see it: one message, one run, cancelled at any step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors import Message, Run
from actors.runs.run import RESERVED, TERMINAL
from actors.stores.memory import MemoryStore
from tests.runs.harness import Agent, open_harness, quiet
from tests.stores.waiting import WaitingStore
from tests.support.served import served

# --- one message, one run ---------------------------------------------------------------


async def test_a_message_is_answered_over_a_socket() -> None:
    """A user's message is placed, answered by a run that names it, and the agent's return value is the run's result."""
    async with served(on_message=Agent(patient=False)) as there, there.peer() as peer:
        await peer.attach("alice")
        await peer.say({"op": "send", "id": 1, "payload": {"text": "hi"}})
        seen = [await peer.next_message() for _ in range(4)]
        reply = next(message for message in seen if message.get("op") == "reply")
        said, started, completed = [message for message in seen if "op" not in message]
        assert (said["type"], said["payload"]) == ("user_message", {"text": "hi"})
        assert started["payload"] == {"agent_name": "Agent", "message_id": said["event_id"]}
        assert (completed["type"], completed["payload"]) == ("agent_completed", {"result": "HI"})
        assert {said["thread_id"], started["thread_id"], completed["thread_id"]} == {reply["thread_id"]}
        assert {started["run_id"], completed["run_id"]} == {reply["run_id"]}
        assert there.failures() == []


@pytest.mark.parametrize(
    ("set_before", "returned", "told"),
    [
        (None, None, {}),
        (None, 1, {"result": 1}),
        (1, None, {"result": 1}),
        (1, 2, {"result": 2}),
        (1, 0, {"result": 0}),
    ],
)
async def test_the_result_of_a_message(set_before: Any, returned: Any, told: dict[str, Any]) -> None:
    """What ``on_message`` returns is the result; when it returns nothing, what it set."""

    async def answer(run: Run, message: Message) -> Any:
        run.result = set_before
        return returned

    async with open_harness(answer) as harness:
        await (await harness.device()).send("a")
        await quiet()
        assert (await harness.events())[-1].payload == told


@pytest.mark.parametrize("concurrency", ["queue", "reject"])
async def test_a_message_that_comes_again_has_one_run(concurrency: Any) -> None:
    """The same request again is the same message: the same answer, and no second run, also while the first waits."""
    agent = Agent()
    async with open_harness(agent, concurrency=concurrency) as harness:
        device = await harness.device()
        replies = []
        for _ in range(3):
            await device.peer.say({"op": "send", "id": "x", "thread_id": "t1", "payload": {"text": "a"}})
            replies.append(await device.peer.next_op("reply"))
        assert replies[0] == replies[1] == replies[2]
        agent.open("a")
        await quiet()
        assert agent.asked == ["a"]
        assert await harness.story() == ["a?", "a: agent_started", "a: agent_completed"]
        assert harness.runtime.tree.runs.admission.messages == 0
        assert not harness.runtime.tree.runs.admission._turns


async def test_an_agent_that_raises_ends_nobody_else() -> None:
    """An exception out of ``on_message`` ends its run and is recorded once; other runs and the connection go on."""

    async def answer(run: Run, message: Message) -> None:
        if message.payload["text"] == "bad":
            raise LookupError("no idea")
        await trio.sleep_forever()

    async with open_harness(answer, concurrency="parallel") as harness:
        device = await harness.device()
        await device.send("good")
        await device.send("bad")
        await quiet()
        assert (await harness.events())[-1].payload == {"error": {"type": "LookupError", "message": "no idea"}}
        assert [failure.error for failure in harness.runtime.failures] == ["LookupError: no idea"]
        assert len(harness.runtime.tree.runs.registry.active) == 1
        assert (await device.send("good"))["ok"]


async def test_an_agents_unencodable_result() -> None:
    """A result that JSON cannot carry is the agent's failure."""

    async def answer(run: Run, message: Message) -> object:
        return object()

    async with open_harness(answer) as harness:
        await (await harness.device()).send("a")
        await quiet()
        assert (await harness.events())[-1].payload["error"]["type"] == "Unencodable"
        assert len(harness.runtime.failures) == 1


@pytest.mark.parametrize(
    ("then", "payload", "failures"),
    [
        ("returns", {"reason": "user", "result": "done"}, []),
        ("returns what JSON cannot carry", {"reason": "user"}, ["Unencodable"]),
        ("raises", {"reason": "user"}, ["ValueError"]),
    ],
)
async def test_an_agent_that_swallows_its_cancellation(then: str, payload: Any, failures: list[str]) -> None:
    """A run whose cancel came first was cancelled, whatever its code does then; a result is kept, an error reported."""

    async def answer(run: Run, message: Message) -> object:
        with suppress(trio.Cancelled):
            await trio.sleep_forever()
        if then == "raises":
            raise ValueError(then)
        return "done" if then == "returns" else object()

    async with open_harness(answer) as harness:
        device = await harness.device()
        run_id = (await device.send("a"))["run_id"]
        await quiet()
        assert (await device.ask("cancel", run_id=run_id))["stopped"] == [run_id]
        last = (await harness.events())[-1]
        assert (last.type, last.payload) == ("agent_cancelled", payload)
        assert [failure.error.partition(":")[0] for failure in harness.runtime.failures] == failures


async def test_a_result_that_was_there_before_the_cancel() -> None:
    """What a run had set as its result before it was cancelled is kept beside the reason."""

    async def answer(run: Run, message: Message) -> None:
        run.result = {"found": 3}
        await trio.sleep_forever()

    async with open_harness(answer) as harness:
        device = await harness.device()
        await device.ask("cancel", run_id=(await device.send("a"))["run_id"])
        assert (await harness.events())[-1].payload == {"reason": "user", "result": {"found": 3}}


async def test_a_task_that_outlives_its_run() -> None:
    """A task of the host that goes on with a run after its end is refused: RunEnded, and no event."""
    refused: list[str] = []
    ended = trio.Event()

    async def late(run: Run) -> None:
        await ended.wait()
        for text in ("one", "two"):
            try:
                await run.thinking(text)
            except actors.RunEnded as error:
                refused.append(str(error))

    async with trio.open_nursery() as host:

        async def answer(run: Run, message: Message) -> None:
            host.start_soon(late, run)

        async with open_harness(answer) as harness:
            await (await harness.device()).send("a")
            await quiet()
            ended.set()
            await quiet()
            assert await harness.story() == ["a?", "a: agent_started", "a: agent_completed"]
    assert len(refused) == 2


async def test_what_ends_the_program_comes_out(autojump_clock: trio.testing.MockClock) -> None:
    """A KeyboardInterrupt in an agent ends its run, and the program."""

    async def answer(run: Run, message: Message) -> None:
        raise KeyboardInterrupt

    seen = None
    with pytest.raises(BaseException) as raised:  # noqa: PT011, PT012 - a group or not, the next line looks
        async with open_harness(answer) as harness:
            seen = harness
            await (await harness.device()).send("a")
            await trio.sleep_forever()
    error = raised.value
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    assert isinstance(error, KeyboardInterrupt)
    assert seen is not None
    assert (await seen.story())[-1] == "a: agent_failed"


# --- cancelled at any step --------------------------------------------------------------


class ActAtStep(trio.abc.Instrument):
    """Does something when a task is about to take its ``step``-th step."""

    def __init__(self, step: int, act: Callable[[], None]) -> None:
        self.task: trio.lowlevel.Task | None = None
        self.left = step
        self._act = act

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self._act()


@pytest.mark.parametrize("store_class", [MemoryStore, WaitingStore])
@pytest.mark.parametrize("failed_commits", [0, 2])
async def test_cancelled_at_any_step(
    store_class: type[MemoryStore | WaitingStore], failed_commits: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Whenever a user cancels: one first event, one terminal event, tools paired; the next message has its turn."""
    step = 0
    while await _cancelled_at(store_class, failed_commits, step := step + 1):
        pass
    assert step > 10


async def _cancelled_at(store_class: type[MemoryStore | WaitingStore], failed_commits: int, step: int) -> bool:
    limits = actors.Limits(mailbox_messages=2)
    store = store_class()
    if isinstance(store, WaitingStore):
        store.journal.faults.extend(["unanswered"] * failed_commits)
    instrument = ActAtStep(step, lambda: next(iter(harness.runtime.tree.runs.registry.active.values())).cancel("user"))

    async def answer(run: Run, message: Message) -> str:
        if message.payload["text"] == "a":
            instrument.task = trio.lowlevel.current_task()
        await run.thinking("hm")
        async with run.tool("search") as tool:
            run.delta("one ")
            await trio.sleep(0.02)
            tool.result = 1
        async with run.run("child") as child:
            await child.emit("note", {})
        for _ in range(6):
            run.delta("two ")
            await run.emit("note", {})
        return "done"

    trio.lowlevel.add_instrument(instrument)
    try:
        async with open_harness(answer, limits=limits, store=store) as harness:
            device = await harness.device()
            await device.send("a")
            await device.send("b")
            await trio.sleep(10)
            by_run: dict[str | None, list[str]] = {}
            for event in await harness.events():
                by_run.setdefault(event.run_id, []).append(event.type)
            assert len(by_run.pop(None)) == 2
            assert list(by_run.values())[-2][-1] == "agent_completed", "b's, and after it its child's"
            for kinds in by_run.values():
                assert (kinds[0], kinds[-1] in TERMINAL) == ("agent_started", True)
                assert sum(kind in RESERVED for kind in kinds) == 2
                assert kinds.count("tool_executing") == kinds.count("tool_completed")
            assert harness.failures() == []
            assert not harness.runtime.tree.runs.registry.active
            assert not harness.runtime.tree.runs.admission._turns
            assert harness.runtime.tree.runs.admission.messages == 0
    finally:
        trio.lowlevel.remove_instrument(instrument)
    return instrument.left <= 0
