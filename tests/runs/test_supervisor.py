"""The supervisor of runs, as a device and an agent see it: whose turn it is, and how runs end that do not end."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import attrs
import pytest
import trio
import trio.testing

import actors
from actors import Message, Run
from actors.environment import Environment
from actors.errors import StoreUnavailable
from actors.events.delivered import Event
from actors.runs.run import RESERVED, TERMINAL
from actors.stores.memory import MemoryStore
from actors.stores.store import Append, Placement
from tests.stores.waiting import WaitingStore
from tests.support.raw import Peer
from tests.support.served import served

LIMITS = actors.Limits()


@attrs.define
class Device:
    """One device of a user, on a connection in memory."""

    peer: Peer
    numbers: Any = attrs.field(factory=count)

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Say something that is answered; the answer."""
        await self.peer.say({"op": op, "id": f"{id(self)} {next(self.numbers)}", **fields})
        return await self.peer.next_op("reply")

    async def send(self, text: str, thread_id: str = "t1") -> dict[str, Any]:
        return await self.ask("send", thread_id=thread_id, payload={"text": text})

    async def leave(self) -> None:
        await trio.aclose_forcefully(self.peer.stream)


@attrs.define
class Harness:
    """A runtime in which alice owns the thread ``t1``."""

    runtime: actors.Runtime
    nursery: trio.Nursery
    devices: list[Device] = attrs.field(factory=list)

    async def device(self, user_id: str = "alice") -> Device:
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.runtime.handle, theirs)
        device = Device(Peer(ours))
        await device.peer.attach(user_id)
        self.devices.append(device)
        return device

    async def events(self, thread_id: str = "t1") -> tuple[Event, ...]:
        return (await self.runtime.read(thread_id)).events

    async def story(self, thread_id: str = "t1") -> list[str]:
        """What happened in a thread, each run by the text that it answers."""
        events = await self.events(thread_id)
        texts = {event.event_id: event.payload["text"] for event in events if event.type == "user_message"}
        names = {one.run_id: texts.get(one.payload.get("message_id")) for one in events if one.type == "agent_started"}
        lines = []
        for event in events:
            if event.type == "user_message":
                lines.append(f"{event.payload['text']}?")
            else:
                reason = event.payload.get("reason")
                lines.append(f"{names[event.run_id]}: {event.type}" + (f" ({reason})" if reason else ""))
        return lines

    def failures(self) -> list[str]:
        return [str(failure) for failure in self.runtime.failures]


@asynccontextmanager
async def house(on_message: Any = None, **options: Any) -> AsyncIterator[Harness]:
    async with trio.open_nursery() as nursery:
        async with actors.open_runtime(on_message=on_message, **options) as runtime:
            await runtime.bind("t1", "alice")
            here = Harness(runtime, nursery)
            yield here
            for device in here.devices:
                await device.leave()
        nursery.cancel_scope.cancel()


quiet = trio.testing.wait_all_tasks_blocked


class Agent:
    """Answers each message with its text, when its gate opens; what it was asked, in order."""

    def __init__(self, *, patient: bool = True) -> None:
        self.asked: list[str] = []
        self.gates: dict[str, trio.Event] = {}
        self._patient = patient

    async def __call__(self, run: Run, message: Message) -> str:
        text: str = message.payload["text"]
        self.asked.append(text)
        if self._patient:
            await self.gates.setdefault(text, trio.Event()).wait()
        return text.upper()

    def open(self, *texts: str) -> None:
        for text in texts:
            self.gates.setdefault(text, trio.Event()).set()


async def stubborn(run: Run, message: Message) -> None:
    """Does not listen when it is cancelled; then has something to say."""
    with trio.CancelScope(shield=True):
        await trio.sleep(message.payload.get("seconds", 60))
    run.delta("where was I?")


# --- one message, one run ---------------------------------------------------------------


async def test_a_message_is_answered_over_a_socket() -> None:
    """What a user says is placed, answered by a run that names it, and what the agent returns is the run's result."""
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

    async with house(answer) as here:
        await (await here.device()).send("a")
        await quiet()
        assert (await here.events())[-1].payload == told


@pytest.mark.parametrize("concurrency", ["queue", "reject"])
async def test_a_message_that_comes_again_has_one_run(concurrency: Any) -> None:
    """The same request again is the same message: the same answer, and no second run, also while the first waits."""
    agent = Agent()
    async with house(agent, concurrency=concurrency) as here:
        device = await here.device()
        replies = []
        for _ in range(3):
            await device.peer.say({"op": "send", "id": "x", "thread_id": "t1", "payload": {"text": "a"}})
            replies.append(await device.peer.next_op("reply"))
        assert replies[0] == replies[1] == replies[2]
        agent.open("a")
        await quiet()
        assert agent.asked == ["a"]
        assert await here.story() == ["a?", "a: agent_started", "a: agent_completed"]
        assert here.runtime.tree.runs._messages == 0
        assert not here.runtime.tree.runs._turns


async def test_an_agent_that_raises_ends_nobody_else() -> None:
    """An exception out of ``on_message`` ends its run and is recorded once; other runs and the connection go on."""

    async def answer(run: Run, message: Message) -> None:
        if message.payload["text"] == "bad":
            raise LookupError("no idea")
        await trio.sleep_forever()

    async with house(answer, concurrency="parallel") as here:
        device = await here.device()
        await device.send("good")
        await device.send("bad")
        await quiet()
        assert (await here.events())[-1].payload == {"error": {"type": "LookupError", "message": "no idea"}}
        assert [failure.error for failure in here.runtime.failures] == ["LookupError: no idea"]
        assert len(here.runtime.tree.runs.active) == 1
        assert (await device.send("good"))["ok"]


async def test_an_agents_unencodable_result() -> None:
    """A result that JSON cannot carry is the agent's failure."""

    async def answer(run: Run, message: Message) -> object:
        return object()

    async with house(answer) as here:
        await (await here.device()).send("a")
        await quiet()
        assert (await here.events())[-1].payload["error"]["type"] == "Unencodable"
        assert len(here.runtime.failures) == 1


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

    async with house(answer) as here:
        device = await here.device()
        run_id = (await device.send("a"))["run_id"]
        await quiet()
        assert (await device.ask("cancel", run_id=run_id))["stopped"] == [run_id]
        last = (await here.events())[-1]
        assert (last.type, last.payload) == ("agent_cancelled", payload)
        assert [failure.error.partition(":")[0] for failure in here.runtime.failures] == failures


async def test_a_result_that_was_there_before_the_cancel() -> None:
    """What a run had set as its result before it was cancelled is kept beside the reason."""

    async def answer(run: Run, message: Message) -> None:
        run.result = {"found": 3}
        await trio.sleep_forever()

    async with house(answer) as here:
        device = await here.device()
        await device.ask("cancel", run_id=(await device.send("a"))["run_id"])
        assert (await here.events())[-1].payload == {"reason": "user", "result": {"found": 3}}


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

        async with house(answer) as here:
            await (await here.device()).send("a")
            await quiet()
            ended.set()
            await quiet()
            assert await here.story() == ["a?", "a: agent_started", "a: agent_completed"]
    assert len(refused) == 2


async def test_what_ends_the_program_comes_out(autojump_clock: trio.testing.MockClock) -> None:
    """A KeyboardInterrupt in an agent ends its run, and the program."""

    async def answer(run: Run, message: Message) -> None:
        raise KeyboardInterrupt

    seen = None
    with pytest.raises(BaseException) as raised:  # noqa: PT011, PT012 - a group or not, the next line looks
        async with house(answer) as here:
            seen = here
            await (await here.device()).send("a")
            await trio.sleep_forever()
    error = raised.value
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    assert isinstance(error, KeyboardInterrupt)
    assert seen is not None
    assert (await seen.story())[-1] == "a: agent_failed"


# --- whose turn it is -------------------------------------------------------------------


async def test_queue() -> None:
    """Messages wait for the run before them: they are placed at once, and answered in order, one after another."""
    agent = Agent()
    async with house(agent) as here:
        device = await here.device()
        for text in "abc":
            assert (await device.send(text))["ok"]
        assert agent.asked == ["a"]
        agent.open("c", "b")
        await quiet()
        assert agent.asked == ["a"]
        agent.open("a")
        await quiet()
        runs = [f"{text}: {end}" for text in "abc" for end in ("agent_started", "agent_completed")]
        assert sorted(await here.story()) == sorted(["a?", "b?", "c?", *runs])
        assert [line for line in await here.story() if "?" not in line] == runs


async def test_threads_do_not_wait_for_each_other() -> None:
    """Whose turn it is, is a matter of one thread."""
    agent = Agent()
    async with house(agent) as here:
        await here.runtime.bind("t2", "alice")
        device = await here.device()
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
    async with house(agent, concurrency=concurrency, limits=actors.Limits(**limits)) as here:
        device = await here.device()
        texts = [f"m{number}" for number in range(most)]
        for text in texts:
            assert (await device.send(text))["ok"]
        error = (await device.send("too much"))["error"]
        assert (error["name"], error["temporary"]) == ("busy", True)
        agent.open(texts[0])
        await quiet()
        assert (await device.send("again"))["ok"]
        assert [line for line in await here.story() if "?" in line] == [f"{text}?" for text in [*texts, "again"]]


async def test_cancel_previous(autojump_clock: trio.testing.MockClock) -> None:
    """A new message ends the run before it, which says so; its own run starts when that one has ended."""
    agent = Agent()
    async with house(agent, concurrency="cancel_previous") as here:
        device = await here.device()
        for text in "ab":
            await device.send(text)
        await quiet()
        agent.open("b")
        await quiet()
        assert await here.story() == [
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

    async with house(answer, concurrency="cancel_previous") as here:
        device = await here.device()
        await device.send("a")
        for text in "bc":
            await device.send(text)
        await trio.sleep(LIMITS.cancel_seconds - 1)
        assert len(await here.story()) == 6
        await trio.sleep(2)
        assert await here.story() == [
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
        assert len(await here.story()) == 9
        reported = [failure.error.partition(":")[0].partition(",")[0] for failure in here.runtime.failures]
        assert reported == ["shields itself from cancellation", "RunEnded"]


@pytest.mark.parametrize("concurrency", ["queue", "reject", "cancel_previous", "parallel"])
async def test_a_tool_that_blocks_a_thread_is_stopped(concurrency: Any) -> None:
    """A run that waits for a thread is closed after ``cancel_seconds``, and said to be running as long as it does: its
    thread's next turn begins, its place among all runs stays taken, and its failure shows where it waits."""
    blocked = threading.Event()

    async def answer(run: Run, message: Message) -> str:
        if message.payload["text"] == "a":
            await trio.to_thread.run_sync(blocked.wait)
        return "done"

    limits = actors.Limits(cancel_seconds=0.05, runs=2)
    async with house(answer, concurrency=concurrency, limits=limits) as here:
        try:
            device = await here.device()
            run_id = (await device.send("a"))["run_id"]
            cancelled = await device.ask("cancel", run_id=run_id)
            assert (cancelled["stopped"], cancelled["running"]) == ([], [run_id])
            await device.send("b")
            await quiet()
            assert (await here.story())[-1] == "b: agent_completed"
            assert (await here.story())[:3] == ["a?", "a: agent_started", "a: agent_cancelled (user)"]
            assert (await device.ask("cancel", run_id=run_id))["running"] == [run_id]
            (failure,) = here.runtime.failures
            assert (failure.path, failure.handling) == (f"runs/{run_id}", "its cancellation")
            assert "await trio.to_thread.run_sync(blocked.wait)" in failure.traceback
            assert here.runtime.tree.runs._messages == 1
            code = here.runtime.tree.runs.abandoned[run_id]
        finally:
            blocked.set()
        await code.over.wait()
        await quiet()
        assert here.runtime.tree.runs._messages == 0
        assert (await device.ask("cancel", run_id=run_id))["stopped"] == [run_id]
        assert [line for line in await here.story() if line.startswith("a: ")][1:] == ["a: agent_cancelled (user)"]


@pytest.mark.parametrize("reason", ["superseded", "disconnected", "application", "user"])
async def test_whatever_asks_it_to_stop(reason: str, autojump_clock: trio.testing.MockClock) -> None:
    """The bound is the same for every cause of a cancel, and the cause is what the last event says."""
    concurrency: Any = "cancel_previous" if reason == "superseded" else "queue"
    grace = actors.Limits(disconnect_grace_seconds=1)
    async with house(stubborn, concurrency=concurrency, on_disconnect="cancel_after", limits=grace) as here:
        device = await here.device()
        run_id = (await device.send("a"))["run_id"]
        if reason == "user":
            await device.ask("cancel", run_id=run_id)
        elif reason == "application":
            await here.runtime.cancel(run_id)
        elif reason == "superseded":
            await device.send("b")
        else:
            await device.leave()
        await trio.sleep(LIMITS.cancel_seconds + 3)
        assert f"a: agent_cancelled ({reason})" in await here.story()
        assert [failure.path for failure in here.runtime.failures] == [f"runs/{run_id}"]


async def test_parallel() -> None:
    """Messages are answered at the same time."""
    agent = Agent()
    async with house(agent, concurrency="parallel") as here:
        device = await here.device()
        for text in "ab":
            await device.send(text)
        assert agent.asked == ["a", "b"]
        agent.open("b")
        await quiet()
        assert (await here.story())[-1] == "b: agent_completed"
        agent.open("a")
        await quiet()
        assert (await here.story())[-1] == "a: agent_completed"


async def test_the_hosts_own_run_has_its_turn() -> None:
    """A run that the application opens begins at once; a message that comes meanwhile waits for it."""
    agent = Agent(patient=False)
    async with house(agent) as here:
        device = await here.device()
        async with here.runtime.thread("t1").run("indexer"):
            assert (await device.send("a"))["ok"]
            await quiet()
            assert agent.asked == []
        await quiet()
        assert agent.asked == ["a"]


async def test_a_message_ends_the_hosts_own_run() -> None:
    """With ``cancel_previous`` the application's run is superseded like any other."""
    async with house(Agent(patient=False), concurrency="cancel_previous") as here:
        device = await here.device()
        async with here.runtime.thread("t1").run("indexer"):
            await device.send("a")
            await trio.sleep_forever()
        await quiet()
        assert [line for line in await here.story() if "(" in line] == ["None: agent_cancelled (superseded)"]
        assert (await here.story())[-1] == "a: agent_completed"


# --- cancelling -------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["user", "application"])
async def test_a_run_is_cancelled_before_its_turn(by: str) -> None:
    """A run that waits begins and ends at once, and is never called; those behind it keep their turn."""
    agent = Agent()
    async with house(agent) as here:
        device = await here.device()
        replies = [await device.send(text) for text in "abc"]
        run_id = replies[1]["run_id"]
        if by == "user":
            reply = await device.ask("cancel", run_id=run_id)
            assert (reply["stopped"], reply["running"]) == ([run_id], [])
        else:
            assert await here.runtime.cancel(run_id) == actors.Cancellation((run_id,), ())
        agent.open(*"abc")
        await quiet()
        assert agent.asked == ["a", "c"]
        story = await here.story()
        assert story[4:6] == ["b: agent_started", f"b: agent_cancelled ({by})"]
        assert story[-1] == "c: agent_completed"
        assert here.runtime.tree.runs._messages == 0


async def test_a_run_is_cancelled_before_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is cancelled when its task is about to start is told as begun and ended; the agent is not called."""
    agent = Agent(patient=False)
    async with house(agent) as here:
        admit = here.runtime.tree.runs.admit

        def admit_and_cancel(run: Run) -> None:
            admit(run)
            run.cancel("user")

        monkeypatch.setattr(here.runtime.tree.runs, "admit", admit_and_cancel)
        await (await here.device()).send("a")
        await quiet()
        assert await here.story() == ["a?", "a: agent_started", "a: agent_cancelled (user)"]
        assert agent.asked == []


async def test_a_cancel_that_overtakes_its_message(autojump_clock: trio.testing.MockClock) -> None:
    """A cancel for a run that is not known waits a moment for the message that starts it."""
    async with house() as here, trio.open_nursery() as nursery:
        results: list[actors.Cancellation] = []

        async def cancel(run_id: str) -> None:
            results.append(await here.runtime.cancel(run_id))

        nursery.start_soon(cancel, "mine")
        await trio.sleep(LIMITS.cancel_hold_seconds / 2)
        async with here.runtime.thread("t1").run("bot", run_id="mine"):
            await trio.sleep_forever()
        await cancel("nobody's")
        assert results == [actors.Cancellation(("mine",), ()), actors.Cancellation((), ())]
        assert not here.runtime.tree.runs._awaited


async def test_others_runs_are_nobodys(autojump_clock: trio.testing.MockClock) -> None:
    """A user cannot cancel a run in a thread of somebody else, nor learn that there is one."""
    async with house(Agent()) as here:
        run_id = (await (await here.device()).send("a"))["run_id"]
        mallory = await here.device("mallory")
        refusals = [(await mallory.ask("cancel", run_id=name))["error"] for name in (run_id, "no such run")]
        assert refusals[0] == refusals[1]
        assert refusals[0]["name"] == "unknown_run"
        assert list(here.runtime.tree.runs.active) == [run_id]


# --- the runtime's end ------------------------------------------------------------------


async def test_runs_end_with_the_runtime(autojump_clock: trio.testing.MockClock) -> None:
    """Runs that are active when the runtime closes, and those that wait, end with ``shutdown``; no agent is called."""
    agent = Agent()
    async with house(agent) as here:
        device = await here.device()
        for text in "abc":
            await device.send(text)
        ended = trio.current_time()
    assert trio.current_time() - ended < LIMITS.shutdown_seconds
    assert agent.asked == ["a"]
    ends = [line for line in await here.story() if "cancelled" in line]
    assert sorted(ends) == [f"{text}: agent_cancelled (shutdown)" for text in "abc"]
    assert here.failures() == []


async def test_a_run_that_shields_itself_from_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """A run that does not stop is closed in time and reported by its own name, with the place where it waits."""
    async with house(stubborn) as here:
        await (await here.device()).send("a")
        await quiet()
    assert await here.story() == ["a?", "a: agent_started", "a: agent_cancelled (shutdown)"]
    failure = here.runtime.failures[0]
    assert failure.path.startswith("runs/run_")
    assert "shields itself" in failure.error
    assert "in stubborn" in failure.traceback


async def test_a_message_placed_while_the_runtime_closes(autojump_clock: trio.testing.MockClock) -> None:
    """A message that the store takes while the runtime closes is told that nobody answers it; nothing is called."""
    agent = Agent(patient=False)
    store = WaitingStore(LIMITS, Environment(), delay_seconds=1.0)
    async with house(agent, store=store) as here:
        device = await here.device()
        await device.peer.say({"op": "send", "id": 1, "thread_id": "t1", "payload": {"text": "a"}})
        await quiet()
    assert await here.story() == ["a?", "a: agent_started", "a: agent_cancelled (shutdown)"]
    assert agent.asked == []
    assert here.failures() == []


async def test_finishing_waits_for_messages_on_their_way(autojump_clock: trio.testing.MockClock) -> None:
    """Who waits for the runs to finish waits for those, too, whose message the store has yet to take."""
    agent = Agent(patient=False)
    store = WaitingStore(LIMITS, Environment(), delay_seconds=1.0)
    async with house(agent, store=store) as here:
        device = await here.device()
        for _ in range(2):
            await device.peer.say({"op": "send", "id": 1, "thread_id": "t1", "payload": {"text": "a"}})
        await quiet()
        assert agent.asked == []
        await here.runtime.tree.runs.finish(LIMITS.shutdown_seconds)
        assert agent.asked == ["a"]
        await trio.sleep(5)
        assert await here.story() == ["a?", "a: agent_started", "a: agent_completed"]
        assert not here.runtime.tree.runs._expected


async def test_a_message_placed_when_the_runtime_has_closed(autojump_clock: trio.testing.MockClock) -> None:
    """A message that the store takes in the runtime's last moment starts nothing, and breaks nothing."""
    agent = Agent(patient=False)
    store = WaitingStore(LIMITS, Environment(), delay_seconds=LIMITS.close_seconds * 3)
    async with house(agent, store=store) as here:
        device = await here.device()
        await device.peer.say({"op": "send", "id": 1, "thread_id": "t1", "payload": {"text": "a"}})
        await quiet()
    assert agent.asked == []
    assert here.failures() == []
    assert here.runtime.tree.runs._messages == 0


class BreakingStore(MemoryStore):
    """A store that crashes on events of the thread ``t1`` once it is told to."""

    broken = False

    def append_nowait(self, append: Append, now: float) -> Placement:
        if self.broken and append.thread_id == "t1":
            raise ZeroDivisionError("a bug in the store")
        return super().append_nowait(append, now)


async def break_thread(here: Harness, store: BreakingStore) -> None:
    store.broken = True
    with suppress(actors.Quarantined):
        while True:
            await here.runtime.thread("t1").emit("note", {})
            await trio.sleep(1)


async def test_a_run_whose_thread_is_out_of_service(autojump_clock: trio.testing.MockClock) -> None:
    """A run that cannot emit its last event, because its thread is quarantined, ends all the same; others go on."""

    class Talker(Agent):
        async def __call__(self, run: Run, message: Message) -> str:
            text = await super().__call__(run, message)
            run.delta(text)
            return text

    store = BreakingStore(LIMITS, Environment())
    agent = Talker()
    async with house(agent, store=store, concurrency="parallel") as here:
        await here.runtime.bind("t2", "alice")
        device = await here.device()
        await device.send("a")
        await device.send("b", "t2")
        await break_thread(here, store)
        agent.open("a")
        await quiet()
        assert len(here.runtime.tree.runs.active) == 1
        agent.open("b")
        await quiet()
        assert (await here.story("t2"))[-1] == "b: agent_completed"
        assert "Quarantined" in here.failures()[-1]
        assert not here.runtime.tree.runs.active
        await trio.sleep(1)
        assert not here.runtime.tree.runs.deltas._due, "nobody tries to emit the text of a run that has ended"


async def test_closing_a_run_whose_thread_is_out_of_service(autojump_clock: trio.testing.MockClock) -> None:
    """A run that must be closed without its code, and cannot say so, costs no other run anything."""
    store = BreakingStore(LIMITS, Environment())

    async def answer(run: Run, message: Message) -> None:
        run.delta("text that cannot go")
        if message.payload["text"] == "a":
            await stubborn(run, message)
        await trio.sleep_forever()

    async with house(answer, store=store, concurrency="cancel_previous") as here:
        await here.runtime.bind("t2", "alice")
        device = await here.device()
        await device.send("a")
        await device.send("other", "t2")
        await device.send("b")
        await break_thread(here, store)
        await trio.sleep(LIMITS.cancel_seconds + 1)
        assert [run.thread_id for run in here.runtime.tree.runs.active.values()] == ["t2"]
        assert (await here.story("t2"))[-1] == "other: agent_delta"


# --- users who go away ------------------------------------------------------------------

GRACE = LIMITS.disconnect_grace_seconds


async def test_detach(autojump_clock: trio.testing.MockClock) -> None:
    """With ``detach`` a run goes on when its user has gone."""
    async with house(Agent()) as here:
        device = await here.device()
        await device.send("a")
        await device.leave()
        await trio.sleep(GRACE * 3)
        assert len(here.runtime.tree.runs.active) == 1


@pytest.mark.parametrize("stays_seconds", [0.0, 5.0])
async def test_cancel_after(stays_seconds: float, autojump_clock: trio.testing.MockClock) -> None:
    """With ``cancel_after`` the runs of a user whose last device has gone end after the grace, however short he was."""
    async with house(Agent(), on_disconnect="cancel_after") as here:
        devices = [await here.device() for _ in range(2)]
        await devices[0].send("a")
        await trio.sleep(stays_seconds)
        for device in devices:
            await device.leave()
        await trio.sleep(GRACE - 1)
        assert len(here.runtime.tree.runs.active) == 1
        await trio.sleep(3)
        assert (await here.story())[-1] == "a: agent_cancelled (disconnected)"


async def test_who_comes_back_in_time(autojump_clock: trio.testing.MockClock) -> None:
    """A user who comes back within the grace ends nothing; the next absence has a grace of its own."""
    async with house(Agent(), on_disconnect="cancel_after") as here:
        device = await here.device()
        await device.send("a")
        for _ in range(3):
            await trio.sleep(3)
            await device.leave()
            await trio.sleep(GRACE - 5)
            device = await here.device()
        assert len(here.runtime.tree.runs.active) == 1


async def test_one_device_is_enough(autojump_clock: trio.testing.MockClock) -> None:
    """While another device of the user is there, he has not gone."""
    async with house(Agent(), on_disconnect="cancel_after", limits=actors.Limits(ping_seconds=600)) as here:
        devices = [await here.device() for _ in range(2)]
        await devices[0].send("a")
        await devices[0].leave()
        await trio.sleep(GRACE * 2)
        assert len(here.runtime.tree.runs.active) == 1


async def test_who_was_never_there_has_not_gone(autojump_clock: trio.testing.MockClock) -> None:
    """A run of the application, for a user who was not there while it was active, goes on without him."""
    async with house(on_disconnect="cancel_after") as here, trio.open_nursery() as nursery:

        async def work(run_id: str) -> None:
            async with here.runtime.thread("t1").run("bot", run_id=run_id):
                await trio.sleep_forever()

        nursery.start_soon(work, "seen")
        device = await here.device()
        await trio.sleep(5)
        await device.leave()
        await trio.sleep(2)
        nursery.start_soon(work, "unseen")
        await trio.sleep(GRACE * 2)
        assert list(here.runtime.tree.runs.active) == ["unseen"]
        await here.runtime.cancel("unseen")


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
@pytest.mark.parametrize("lost_answers", [0, 2])
async def test_cancelled_at_any_step(
    store_class: type[MemoryStore], lost_answers: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Whenever a user cancels: one first event, one terminal event, tools paired; the next message has its turn."""
    step = 0
    while await _cancelled_at(store_class, lost_answers, step := step + 1):
        pass
    assert step > 10


async def _cancelled_at(store_class: type[MemoryStore], lost_answers: int, step: int) -> bool:
    limits = actors.Limits(mailbox_messages=2)
    store = store_class(limits, Environment())
    lost = iter(range(lost_answers))

    def lose() -> None:
        if next(lost, None) is not None:
            raise StoreUnavailable("the line went dead")

    if isinstance(store, WaitingStore):
        store.lose_answer = lose
    instrument = ActAtStep(step, lambda: next(iter(here.runtime.tree.runs.active.values())).cancel("user"))

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
        async with house(answer, limits=limits, store=store) as here:
            device = await here.device()
            await device.send("a")
            await device.send("b")
            await trio.sleep(10)
            by_run: dict[str | None, list[str]] = {}
            for event in await here.events():
                by_run.setdefault(event.run_id, []).append(event.type)
            assert len(by_run.pop(None)) == 2
            assert list(by_run.values())[-2][-1] == "agent_completed", "b's, and after it its child's"
            for kinds in by_run.values():
                assert (kinds[0], kinds[-1] in TERMINAL) == ("agent_started", True)
                assert sum(kind in RESERVED for kind in kinds) == 2
                assert kinds.count("tool_executing") == kinds.count("tool_completed")
            assert here.failures() == []
            assert not here.runtime.tree.runs.active
            assert not here.runtime.tree.runs._turns
            assert here.runtime.tree.runs._messages == 0
    finally:
        trio.lowlevel.remove_instrument(instrument)
    return instrument.left <= 0
