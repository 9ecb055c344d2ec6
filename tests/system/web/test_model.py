"""The page's model of what comes, without a page, in Node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.system.client_js.node import CLIENT, Node, open_node

BEGIN = f"""
    const {{ activeRuns, addActive, endUnseen, fold, newConversations, threadOf }} = await import(
        "{CLIENT.with_name("model.js").as_uri()}");
    const all = newConversations();
    const happened = (type, offset, payload = {{}}, run_id = "r1") =>
        ({{type, payload, thread_id: "t1", run_id, event_id: `e${{offset}}`, seq: offset, offset}});
    const active = (run_id, waiting = false) =>
        ({{thread_id: "t1", run_id, payload: {{agent_name: "assistant"}}, waiting}});
    const shown = () => [...threadOf(all, "t1").runs.values()].map(({{id, agent, state, steps}}) =>
        [id, agent, state, ...steps.map(({{text}}) => text)]);
    const stoppable = () => activeRuns(threadOf(all, "t1")).map(({{id}}) => id);
"""


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A Node process."""
    async with open_node() as opened:
        yield opened


async def told(node: Node, script: str) -> Any:
    """Return the value of a script that has the model at hand."""
    return await node.run(BEGIN + script)


async def test_a_run_that_began_before_what_is_there(node: Node) -> None:
    """It is shown, and can be stopped; what the log has of it, before and after, is its own."""
    script = """
        fold(all, happened("agent_thinking", 7, {text: "hm"}));
        addActive(all, active("r1"));
        fold(all, happened("agent_delta", 8, {text: "well"}));
        return [shown(), stoppable()];
    """
    assert await told(node, script) == [[["r1", "assistant", "running", "hm", "well"]], ["r1"]]


async def test_a_message_that_waits_can_be_taken_back(node: Node) -> None:
    """A run that waits for its turn says so, can be stopped, and runs when it has begun."""
    script = """
        addActive(all, active("r2", true));
        const before = [shown(), stoppable()];
        fold(all, happened("agent_started", 1, {agent_name: "assistant"}, "r2"));
        return [before, shown(), stoppable()];
    """
    waiting, running = [["r2", "assistant", "waiting"]], [["r2", "assistant", "running"]]
    assert await told(node, script) == [[waiting, ["r2"]], running, ["r2"]]


async def test_an_end_that_was_not_seen(node: Node) -> None:
    """A run whose end is gone says that it is over, and cannot be stopped. One that has ended stays as it ended."""
    script = """
        fold(all, happened("agent_started", 1, {agent_name: "assistant"}));
        endUnseen(all, {run_id: "r1", reason: "gone"});
        fold(all, happened("agent_started", 2, {agent_name: "other"}, "r2"));
        fold(all, happened("agent_completed", 3, {}, "r2"));
        endUnseen(all, {run_id: "r2", reason: "withdrawn"});
        endUnseen(all, {run_id: "r3", reason: "gone"});
        return [shown(), stoppable()];
    """
    ended = ["r1", "assistant", "ended", "Ended; how is not known here"]
    assert await told(node, script) == [[ended, ["r2", "other", "completed"]], []]


async def test_one_that_finished_although_it_was_stopped(node: Node) -> None:
    """A person sees that it was stopped, and what it came to all the same."""
    script = """
        fold(all, happened("agent_started", 1, {agent_name: "assistant"}));
        fold(all, happened("agent_cancelled", 2, {reason: "user", result: "42"}));
        return shown();
    """
    assert await told(node, script) == [["r1", "assistant", "cancelled", "42", "Stopped by you"]]
