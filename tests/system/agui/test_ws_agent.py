"""``WsAgent`` with the client of AG-UI as it is published, at a real server: cut, opened late, asked, aborted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

import actors
from actors.client import connect
from actors.testing import fault_proxy
from tests.support.served import Served, served
from tests.system.client_js.node import Node

pytestmark = pytest.mark.slow

WORDS = [f"w{n} " for n in range(60)]


def url(server: Served) -> str:
    assert isinstance(server.address, tuple)
    return f"ws://127.0.0.1:{server.address[1]}/ws"


class Gate:
    """A run that goes on when it is told to."""

    def __init__(self) -> None:
        self.steps = trio.Semaphore(0)

    async def talk(self, run: actors.Run, message: actors.Message) -> dict[str, Any]:
        """Say a word per step."""
        for word in WORDS:
            await self.steps.acquire()
            run.delta(word)
            run.output.flush()
        return {"words": len(WORDS)}

    def go(self, steps: int = len(WORDS)) -> None:
        for _ in range(steps):
            self.steps.release()


async def talk(run: actors.Run, message: actors.Message) -> dict[str, Any]:
    await run.thinking("hm")
    async with run.tool("weather", {"city": "Oslo"}) as tool:
        tool.result = {"sky": "clear"}
    for word in WORDS:
        run.delta(word)
        await trio.lowlevel.checkpoint()
    return {"said": message.payload["text"]}


@pytest.fixture(name="claims")
def _claims() -> dict[str, Any]:
    return {"authorize": actors.claim_new}


async def test_a_run_is_what_the_log_has(node: Node, claims: dict[str, Any]) -> None:
    """Messages of the user, a thought, a tool and its result, a text, and the result of the run."""
    async with served(on_message=talk, **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'})", url=url(server))
        said = await node.run("return say('a', 'Hello', {runId: 'mine'})")
        assert said["result"] == {"said": "Hello"}
        assert await node.run("return texts('a')") == [
            "user: Hello",
            "reasoning: hm",
            "assistant: weather",
            'tool: {"sky":"clear"}',
            f"assistant: {''.join(WORDS)}",
        ]
        assert await node.run("return it.agents.a.events[0].runId") == "mine"
        again = await node.run("return say('a', 'Again')")
        assert again["result"] == {"said": "Again"}
        assert [one["role"] for one in again["newMessages"]] == ["reasoning", "assistant", "tool", "assistant"]
        events = await server.runtime.read("t-1")
        assert [one.payload["text"] for one in events.events if one.type == "user_message"] == ["Hello", "Again"]


async def test_a_run_that_is_cut_ten_times(node: Node, claims: dict[str, Any]) -> None:
    """The socket goes away again and again in the middle: the text is exact, and the client hears of nothing."""
    gate = Gate()
    async with served(on_message=gate.talk, **claims) as server:
        assert isinstance(server.address, tuple)
        async with fault_proxy(*server.address) as network:
            await node.run("ws('a', url, {threadId: 't-1'}); it.done = say('a', 'go')", url=network.url)
            for cut in range(10):
                gate.go(6)
                await node.until("text('a').includes(word)", word=WORDS[6 * cut + cut % 6])
                network.cut()
                await node.run("it.sessions.a.connect()")
            said = await node.run("return it.done")
        assert said["result"] == {"words": 60}
        assert await node.run("return text('a')") == "".join(WORDS)
        assert (await node.run("return types('a')")).count("RUN_STARTED") == 1


async def test_opened_in_the_middle(node: Node, claims: dict[str, Any]) -> None:
    """A page that opens while the agent speaks has the whole text, and follows the thread across its runs."""
    gate = Gate()
    async with served(on_message=gate.talk, **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'}); it.done = say('a', 'go')", url=url(server))
        gate.go(30)
        await node.until("text('a').includes('w29 ')")
        await node.run("ws('b', url, {threadId: 't-1'}); follow('b')", url=url(server))
        await node.until("text('b').includes('w29 ')")
        gate.go(30)
        await node.until("types('b').includes('RUN_FINISHED')")
        await node.run("await it.done")
        assert await node.run("return texts('b')") == await node.run("return texts('a')")
        gate.go()
        await node.run("await say('a', 'once more')")
        await node.until("types('b').filter((one) => one === 'RUN_FINISHED').length === 2")
        assert await node.run("return texts('b')") == [
            "user: go",
            f"assistant: {''.join(WORDS)}",
            "user: once more",
            f"assistant: {''.join(WORDS)}",
        ]
        assert await node.run("return it.agents.b.errors") == []


async def ask(run: actors.Run, message: actors.Message) -> dict[str, Any]:
    run.delta("Shall I? ")
    answer = await run.ask("approval", {"question": "Deploy?"}, timeout=math.inf)
    run.delta(f"You said {answer.payload}.")
    return answer.payload


async def test_a_question_is_answered_where_it_was_asked(node: Node, claims: dict[str, Any]) -> None:
    """The run ends for AG-UI with an interrupt, the next one resumes it, and the text goes on."""
    async with served(on_message=ask, **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'})", url=url(server))
        await node.run("return say('a', 'deploy')")
        pending = await node.run("return it.agents.a.agent.pendingInterrupts")
        assert [(one["reason"], one["message"]) for one in pending] == [("approval", "Deploy?")]
        resume = [{"interruptId": pending[0]["id"], "status": "resolved", "payload": {"choice": "yes"}}]
        said = await node.run("return say('a', null, {resume})", resume=resume)
        assert said["result"] == {"choice": "yes"}
        assert await node.run("return text('a')") == "Shall I? You said {'choice': 'yes'}."
        assert await node.run("return it.agents.a.agent.pendingInterrupts") == []


async def test_a_question_is_answered_in_a_second_tab(node: Node, claims: dict[str, Any]) -> None:
    """A tab that follows the thread is asked, too; answered in the other, it goes on without an error."""
    async with served(on_message=ask, **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'}); await say('a', 'deploy')", url=url(server))
        await node.run("ws('b', url, {threadId: 't-1'}); follow('b')", url=url(server))
        await node.until("it.agents.b.agent.pendingInterrupts.length === 1")
        resume = "buildResumeArray(it.agents.a.agent.pendingInterrupts, {[it.id]: {status: 'cancelled'}})"
        await node.run("it.id = it.agents.a.agent.pendingInterrupts[0].id")
        said = await node.run(f"return say('a', null, {{resume: {resume}}})")
        assert said["result"] == {"cancelled": True}
        await node.until("text('b').includes('cancelled') && it.agents.b.agent.pendingInterrupts.length === 0")
        assert await node.run("return texts('a')") == await node.run("return texts('b')")
        assert await node.run("return [...it.agents.a.errors, ...it.agents.b.errors]") == []


async def test_an_answer_that_comes_too_late(node: Node, claims: dict[str, Any]) -> None:
    """Another tab was first: the resumed stream shows what became of the run; a new message with it begins the next."""
    async with served(on_message=ask, **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'}); await say('a', 'deploy')", url=url(server))
        pending = await node.run("return it.agents.a.agent.pendingInterrupts")
        async with connect(url(server), token="alice") as session:
            await session.answer(pending[0]["id"], {"choice": "no"})
        resume = [{"interruptId": pending[0]["id"], "status": "resolved", "payload": {"choice": "yes"}}]
        said = await node.run("return say('a', null, {resume})", resume=resume)
        assert said["result"] == {"choice": "no"}
        await node.run("await say('a', 'again')")
        pending = await node.run("return it.agents.a.agent.pendingInterrupts")
        resume = [{"interruptId": pending[0]["id"], "status": "cancelled"}]
        await node.run("return say('a', 'something else', {resume})", resume=resume)
        await node.until("texts('a').at(-2) === 'user: something else'")
        assert len(await node.run("return it.agents.a.agent.pendingInterrupts")) == 1


async def test_abort_cancels_the_run(node: Node, claims: dict[str, Any]) -> None:
    """``abortRun`` ends the agent's work, not only the page's interest in it."""
    gate = Gate()
    async with served(on_message=gate.talk, **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'}); it.done = say('a', 'go')", url=url(server))
        gate.go(3)
        await node.until("text('a').includes('w2 ')")
        await node.run("it.agents.a.agent.abortRun(); await it.done")
        ends = [one async for one in _ends(server, "t-1")]
        assert ends == ["agent_cancelled"]
        assert await node.run("return it.agents.a.events.at(-1).outcome") == {"type": "cancelled"}


async def test_abort_before_the_run_is_known(node: Node, claims: dict[str, Any]) -> None:
    """Aborted in the step in which it was asked for, a run is cancelled as soon as it is known."""
    gate = Gate()
    async with served(on_message=gate.talk, **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'}); it.done = say('a', 'go')", url=url(server))
        await node.run("await null; it.agents.a.agent.abortRun(); await it.done")
        assert [one async for one in _ends(server, "t-1")] == ["agent_cancelled"]


async def _ends(server: Served, thread_id: str) -> Any:
    for event in (await server.runtime.read(thread_id)).events:
        if event.type in {"agent_completed", "agent_failed", "agent_cancelled"}:
            yield event.type


async def lead(run: actors.Run, gate: trio.Event) -> None:
    run.delta("I ask two. ")
    await gate.wait()
    async with trio.open_nursery() as nursery:
        for name in ("first", "second"):
            nursery.start_soon(_research, run, name)
    run.delta("Done.")


async def _research(run: actors.Run, name: str) -> None:
    async with run.run(name) as child:
        child.delta(f"{name} speaks. ")
        async with child.run("deep") as deep:
            deep.delta("deeper. ")
        child.delta("and ends.")


async def test_child_runs(node: Node, claims: dict[str, Any]) -> None:
    """Runs below the run are subagents, and what they say is marked with which of them says it."""
    gate = trio.Event()
    async with served(on_message=lambda run, message: lead(run, gate), **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'}); it.done = say('a', 'go')", url=url(server))
        await node.until("text('a').includes('two')")
        gate.set()
        await node.run("await it.done")
        kinds = await node.run("return types('a')")
        assert kinds.count("SUBAGENT_STARTED") == kinds.count("SUBAGENT_FINISHED") == 4
        said = await node.run("return it.agents.a.agent.messages.filter((one) => one.subagentRunId)")
        by_run: dict[str, str] = {}
        for one in said:
            by_run[one["subagentRunId"]] = by_run.get(one["subagentRunId"], "") + one["content"]
        told = ["first speaks. and ends.", "second speaks. and ends.", "deeper. ", "deeper. "]
        assert sorted(by_run.values()) == sorted(told)
        assert await node.run("return texts('a').at(-1)") == "assistant: Done."


async def fail(run: actors.Run, message: actors.Message) -> None:
    run.delta("half")
    raise ValueError("the tool broke")


async def test_a_run_that_fails(node: Node, claims: dict[str, Any]) -> None:
    """RUN_ERROR says why, and the next run begins."""
    async with served(on_message=fail, **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'})", url=url(server))
        await node.run("await say('a', 'go')")
        last = await node.run("return it.agents.a.events.at(-1)")
        assert (last["type"], last["message"], last["code"]) == ("RUN_ERROR", "the tool broke", "ValueError")
        await node.run("await say('a', 'again')")
        assert await node.run("return text('a')") == "half|half"
        assert await node.run("return it.agents.a.errors") == []


async def test_many_agents_share_a_session(node: Node, claims: dict[str, Any]) -> None:
    """Threads side by side, a clone among them, and each has its own text."""
    async with served(on_message=talk, **claims) as server:
        script = """
            for (const name of ["a", "b", "c"]) ws(name, url, {session: "one", threadId: `t-${name}`});
            await Promise.all(["a", "b", "c"].map((name) => say(name, `I am ${name}`)));
            const copy = it.agents.a.agent.clone();
            copy.addMessage({id: "u-copy", role: "user", content: "copy"});
            await copy.runAgent();
            it.agents.copy = {agent: copy};
        """
        await node.run(script, url=url(server))
        assert server.runtime.devices("alice") == 1
        for name in ("a", "b", "c"):
            assert await node.run("return texts(name)[0]", name=name) == f"user: I am {name}"
            assert await node.run("return text(name)", name=name) == f"weather|{''.join(WORDS)}".replace("weather", "")
        assert await node.run("return texts('copy').filter((one) => one.startsWith('user')).length") == 2


async def test_a_log_that_has_lost_the_beginning(node: Node, claims: dict[str, Any]) -> None:
    """With a log of ten events a page keeps what it has, and what it had only half of is completed."""
    gate = Gate()
    async with served(on_message=gate.talk, limits=actors.Limits(retained_events=10), **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'}); it.done = say('a', 'go')", url=url(server))
        for _ in range(60):
            gate.go(1)
            await trio.sleep(0.002)
        await node.run("await it.done")
        gate.go()
        await node.run("ws('b', url, {threadId: 't-1', initialMessages: it.agents.a.agent.messages})", url=url(server))
        await node.run("await say('b', 'again')")
        text = await node.run("return text('b')")
        assert text.startswith("".join(WORDS) + "|")
        assert text.endswith("w59 ")
        assert await node.run("return texts('b')[0]") == "user: go"


async def test_a_message_that_is_refused(node: Node) -> None:
    """A thread that the user may not claim: the run is rejected with the server's reason; the next one may begin."""
    async with served(on_message=talk) as server:
        await node.run("ws('a', url, {threadId: 't-1'})", url=url(server))
        said = await node.run("const said = await say('a', 'go'); it.warnings = []; return said")
        assert "thread" in said["error"]
        await server.runtime.bind("t-1", "alice")
        assert (await node.run("return say('a', 'go')"))["result"] == {"said": "go"}


async def test_a_session_that_is_closed(node: Node, claims: dict[str, Any]) -> None:
    """A stream that follows a thread ends with the session, and says so."""
    async with served(on_message=talk, **claims) as server:
        await node.run("ws('a', url, {threadId: 't-1'}); await say('a', 'go'); follow('a')", url=url(server))
        await node.run("await sleep(50); it.sessions.a.close()")
        await node.until("it.agents.a.errors.length === 1")
        await node.run("it.warnings = []")
