"""AG-UI over server-sent events: the published ``HttpAgent``, and ours, at the endpoint on a real ASGI server."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

import actors
from actors.testing import fault_proxy
from tests.support.agui_served import agui_served
from tests.system.client_js.node import Node

pytestmark = pytest.mark.slow

WORDS = [f"w{n} " for n in range(60)]


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
        return {"said": message.payload["text"]}

    def go(self, steps: int = len(WORDS)) -> None:
        """Let it take so many steps."""
        for _ in range(steps):
            self.steps.release()


async def ask(run: actors.Run, message: actors.Message) -> dict[str, Any]:
    run.delta("Shall I? ")
    answer = await run.ask("approval", {"question": "Deploy?"}, timeout=math.inf)
    run.delta(f"You said {answer.payload}.")
    return answer.payload


@pytest.mark.parametrize("plain", [True, False], ids=["HttpAgent", "ActorsHttpAgent"])
async def test_a_run_is_what_the_log_has(node: Node, plain: bool) -> None:
    """Two runs after each other, each with its messages and its result, under the client's own names."""
    gate = Gate()
    gate.go(120)
    async with agui_served(on_message=gate.talk) as server:
        await node.run("http('a', url, {plain, threadId: 't-1'})", url=server.url, plain=plain)
        assert (await node.run("return say('a', 'Hello', {runId: 'mine'})"))["result"] == {"said": "Hello"}
        assert await node.run("return it.agents.a.events[0].runId") == "mine"
        assert (await node.run("return say('a', 'Again')"))["result"] == {"said": "Again"}
        text = f"assistant: {''.join(WORDS)}"
        assert await node.run("return texts('a')") == ["user: Hello", text, "user: Again", text]


@pytest.mark.parametrize("plain", [True, False], ids=["HttpAgent", "ActorsHttpAgent"])
async def test_a_question_and_its_answer(node: Node, plain: bool) -> None:
    """An interrupt, and the run that resumes it; a run that fails, and the next one."""
    async with agui_served(on_message=ask) as server:
        await node.run(
            "http('a', url, {plain, threadId: 't-1'}); await say('a', 'deploy')", url=server.url, plain=plain
        )
        (pending,) = await node.run("return it.agents.a.agent.pendingInterrupts")
        assert (pending["reason"], pending["message"]) == ("approval", "Deploy?")
        resume = [{"interruptId": pending["id"], "status": "resolved", "payload": {"choice": "yes"}}]
        said = await node.run("return say('a', null, {resume})", resume=resume)
        assert said["result"] == {"choice": "yes"}
        assert await node.run("return text('a')") == "Shall I? You said {'choice': 'yes'}."
        assert await node.run("return it.agents.a.agent.pendingInterrupts") == []


async def test_a_client_that_is_cut_goes_on(node: Node) -> None:
    """Ten cuts in the middle of a run: our agent asks again, the client hears of none, and the text is exact."""
    gate = Gate()
    async with agui_served(on_message=gate.talk) as server, fault_proxy("127.0.0.1", server.port) as network:
        url = f"http://127.0.0.1:{network.port}/agui"
        await node.run("http('a', url, {threadId: 't-1'}); it.done = say('a', 'go')", url=url)
        await node.until("types('a').length > 0")
        for cut in range(10):
            gate.go(6)
            await node.until("text('a').includes(word)", word=WORDS[6 * cut + 2])
            network.cut()
        assert (await node.run("return it.done"))["result"] == {"said": "go"}
        assert await node.run("return text('a')") == "".join(WORDS)
        assert (await node.run("return types('a')")).count("RUN_STARTED") == 1
        assert [one.type for one in (await server.runtime.read("t-1")).events].count("user_message") == 1


async def test_the_run_goes_on_without_its_client(node: Node) -> None:
    """A client that goes away, or whose page is reloaded, ends its stream: the run is there, and is said again."""
    gate = Gate()
    async with agui_served(on_message=gate.talk) as server:
        await node.run("http('a', url, {plain: true, threadId: 't-1'}); it.done = say('a', 'go')", url=server.url)
        gate.go(20)
        await node.until("text('a').includes('w19 ')")
        await node.run("it.agents.a.agent.abortRun(); await it.done; it.warnings = []")
        await node.run("http('b', url, {threadId: 't-1'}); follow('b')", url=server.url)
        await node.until("text('b').includes('w19 ')")
        gate.go()
        await node.until("types('b').includes('RUN_FINISHED')")
        assert await node.run("return texts('b')") == ["user: go", f"assistant: {''.join(WORDS)}"]
        gate.go()
        await node.run("http('c', url, {threadId: 't-1'}); follow('c')", url=server.url)
        await node.until("texts('c').length === 2")
        await node.run("await it.agents.b.agent.detachActiveRun(); await say('b', 'more')")
        await node.until("types('c').filter((one) => one === 'RUN_FINISHED').length === 2")
        assert await node.run("return texts('b')") == await node.run("return texts('c')")


async def test_abort_cancels_the_run(node: Node) -> None:
    """Our agent cancels the run on the server, by the client's name for it, and hears its last event."""
    gate = Gate()
    async with agui_served(on_message=gate.talk) as server:
        await node.run("http('a', url, {threadId: 't-1'}); it.done = say('a', 'go')", url=server.url)
        gate.go(3)
        await node.until("text('a').includes('w2 ')")
        await node.run("it.agents.a.agent.abortRun(); await it.done")
        assert await node.run("return it.agents.a.events.at(-1).outcome") == {"type": "cancelled"}
        assert (await server.runtime.read("t-1")).events[-1].type == "agent_cancelled"


async def test_a_page_that_follows_can_cancel(node: Node) -> None:
    """A page that did not begin the run cancels it, too."""
    gate = Gate()
    async with agui_served(on_message=gate.talk) as server:
        await node.run("http('a', url, {threadId: 't-1'}); it.done = say('a', 'go')", url=server.url)
        gate.go(3)
        await node.run("http('b', url, {threadId: 't-1'}); follow('b')", url=server.url)
        await node.until("text('b').includes('w2 ')")
        await node.run("it.agents.b.agent.abortRun(); await it.done")
        await node.until("it.agents.b.events.at(-1).type === 'RUN_FINISHED'")
        assert await node.run("return it.agents.b.events.at(-1).outcome") == {"type": "cancelled"}


async def test_what_is_refused(node: Node) -> None:
    """Another user's thread is unknown: the run is rejected with the status and the row of the table."""
    gate = Gate()
    gate.go(120)
    async with agui_served(on_message=gate.talk) as server:
        await node.run("http('a', url, {threadId: 't-1'}); await say('a', 'mine')", url=server.url)
        await node.run("http('b', url, {threadId: 't-1', token: 'bob'})", url=server.url)
        said = await node.run("const said = await say('b', 'yours'); it.warnings = []; return said")
        assert said["error"].startswith("HTTP 404")
        assert '"name":"unknown_thread"' in said["error"]
