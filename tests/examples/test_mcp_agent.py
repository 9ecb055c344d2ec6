"""The agent over MCP: real calls to a real server, seen as a device sees them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio

import actors
from tests.support.raw import Message, Peer
from tests.support.served import Served, served

mcp = pytest.importorskip("mcp", reason="the example's one dependency: pip install '.[examples]'")

from mcp.server import MCPServer  # noqa: E402 - after the skip

from actors.examples.mcp_agent import CALLS, Call, Step, notebook, open_mcp_agent  # noqa: E402 - the same

ENDS = {"agent_completed", "agent_failed", "agent_cancelled"}

OnMessage = Callable[[actors.Run, actors.Message], Awaitable[str]]

both_transports = pytest.mark.parametrize("mode", ["auto", "legacy"], ids=["direct", "json-rpc"])
"""In one process mcp calls the server directly; its older protocol goes through JSON-RPC even there."""


class Meeting:
    """An MCP server with one tool, ``wait``: its calls end when the test says so."""

    def __init__(self, *names: str) -> None:
        self.entered = {name: trio.Event() for name in names}
        self.go = {name: trio.Event() for name in names}
        self.cancelled: list[str] = []
        self.server = MCPServer("meeting", log_level="WARNING")
        self.server.add_tool(self.wait)

    async def wait(self, name: str) -> str:
        """Wait until the test says so."""
        self.entered[name].set()
        try:
            await self.go[name].wait()
        except trio.Cancelled:
            self.cancelled.append(name)
            raise
        return f"{name} was here"


async def wait_once(question: str, tools: Sequence[Any], steps: Sequence[Step], say: Callable[[str], None]) -> Any:
    """A model that calls ``wait`` once, with the question."""
    if not steps:
        return Call("wait", {"name": question})
    say(steps[0].text)
    return steps[0].text


async def ask(server: Served, on_message: OnMessage, text: str, thread_id: str = "t1") -> str:
    """Run the agent on a question, in a thread of Alice's."""
    await server.runtime.bind(thread_id, "alice")
    async with server.runtime.thread(thread_id).run(agent_name="notebook") as run:
        message = actors.Message(
            thread_id=thread_id, user_id="alice", event_id="e1", type="user_message", payload={"text": text}
        )
        return await on_message(run, message)


async def run_of(peer: Peer) -> list[Message]:
    """The events of the next run, to its end."""
    events = [await peer.next_event()]
    while events[-1]["type"] not in ENDS:
        events.append(await peer.next_event())
    return events


def types(events: list[Message]) -> list[str]:
    """The types of a run's events, its tokens as one."""
    types = [event["type"] for event in events]
    return [type_ for n, type_ in enumerate(types) if n == 0 or not type_ == types[n - 1] == "agent_delta"]


def text(events: list[Message]) -> str:
    """Return the agent's text."""
    return "".join(event["payload"]["text"] for event in events if event["type"] == "agent_delta")


def of(type_: str, events: list[Message]) -> list[dict[str, Any]]:
    """The payloads of a run's events of one type."""
    return [event["payload"] for event in events if event["type"] == type_]


# --- calls arrive -----------------------------------------------------------------


async def test_calls_arrive_in_order_between_start_and_end() -> None:
    """Two calls, the second made of the first one's result: each is executing, then completed; then the answer."""
    async with open_mcp_agent() as on_message, served() as server, server.peer() as peer:
        await peer.attach("alice")
        await ask(server, on_message, "How far is the cabin in miles?")
        events = await run_of(peer)
    assert types(events) == [
        "agent_started",
        "agent_thinking",
        *["tool_executing", "tool_completed"] * 2,
        "agent_delta",
        "agent_completed",
    ]
    search, convert = of("tool_executing", events)
    assert (search["tool_name"], search["arguments"]) == (
        "search_notes",
        {"question": "How far is the cabin in miles?"},
    )
    assert (convert["tool_name"], convert["arguments"]) == (
        "convert_units",
        {"value": 42.0, "unit": "km", "into": "miles"},
    )
    found, converted = of("tool_completed", events)
    assert (found["ok"], found["result"]) == (True, {"result": ["The cabin is 42 km from Oslo."]})
    assert (converted["ok"], converted["result"]) == (True, {"result": "42 km = 26.1 miles"})
    assert text(events) == "42 km = 26.1 miles"
    assert len({event["run_id"] for event in events}) == 1


@pytest.mark.parametrize(
    ("question", "tools", "said"),
    [
        ("3 + 4", ["add"], "7.0"),
        ("What is 2.5 + -1?", ["add"], "1.5"),
        ("Convert 10 km to miles", ["convert_units"], "10 km = 6.214 miles"),
        ("Where is the key?", ["search_notes"], "The key is under the blue pot."),
        ("Who am I?", ["search_notes"], "No note says anything about that."),
    ],
)
async def test_answers_come_from_the_tools(question: str, tools: list[str], said: str) -> None:
    """The agent's words are the answers of the server's tools, and are what ``on_message`` returns."""
    async with open_mcp_agent() as on_message, served() as server, server.peer() as peer:
        await peer.attach("alice")
        assert await ask(server, on_message, question) == said
        events = await run_of(peer)
    assert [call["tool_name"] for call in of("tool_executing", events)] == tools
    assert text(events) == said


async def test_a_message_starts_it() -> None:
    """A device's message starts the agent, and its answer is the result of ``agent_completed``."""
    async with open_mcp_agent() as on_message, served(on_message=on_message) as server, server.peer() as peer:
        await peer.attach("alice")
        await peer.say({"op": "send", "id": "c1", "type": "user_message", "payload": {"text": "3 + 4"}})
        events = await run_of(peer)
    assert events[0]["type"] == "user_message"
    assert events[-1]["type"] == "agent_completed"
    assert events[-1]["payload"]["result"] == "7.0"


# --- calls fail -------------------------------------------------------------------


@both_transports
async def test_an_error_of_a_tool_is_told_and_the_run_goes_on(mode: str) -> None:
    """An error that MCP reports completes the call with ok false, and the agent goes on to say so."""
    client = mcp.Client(notebook(), mode=mode)
    async with open_mcp_agent(client) as on_message, served() as server, server.peer() as peer:
        await peer.attach("alice")
        await ask(server, on_message, "Convert 10 km to parsecs")
        events = await run_of(peer)
    (completed,) = of("tool_completed", events)
    assert completed["ok"] is False
    assert "got parsecs" in completed["error"]["message"]
    assert text(events).startswith("That did not work: ")
    assert "got parsecs" in text(events)
    assert types(events)[-2:] == ["agent_delta", "agent_completed"]


@both_transports
async def test_an_error_of_the_protocol_is_told_and_the_run_goes_on(mode: str) -> None:
    """A request that the server refuses, or does not answer in time, is ok false, too."""
    mcp_server = MCPServer("refusing", log_level="WARNING")

    @mcp_server.tool()
    async def wait(name: str) -> str:
        if name == "for ever":
            await trio.sleep_forever()
        raise mcp.MCPError(code=-32000, message="not today")

    client = mcp.Client(mcp_server, mode=mode, read_timeout_seconds=0.3)
    async with open_mcp_agent(client, wait_once) as on_message, served() as server, server.peer() as peer:
        await peer.attach("alice")
        assert await ask(server, on_message, "a moment") == "not today"
        refused = await run_of(peer)
        await ask(server, on_message, "for ever")
        late = await run_of(peer)
    for events in (refused, late):
        assert [call["ok"] for call in of("tool_completed", events)] == [False]
        assert types(events)[-1] == "agent_completed"
    assert "not today" in of("tool_completed", refused)[0]["error"]["message"]


async def test_a_result_too_large_for_an_event_is_told_and_the_run_goes_on() -> None:
    """A result that no event can carry is ok false, the model is told, and nothing is cut in silence."""
    mcp_server = MCPServer("verbose", log_level="WARNING")

    @mcp_server.tool()
    async def wait(name: str) -> str:
        return name * actors.Limits().event_bytes

    async with (
        open_mcp_agent(mcp.Client(mcp_server), wait_once) as on_message,
        served() as server,
        server.peer() as peer,
    ):
        await peer.attach("alice")
        assert "at most" in await ask(server, on_message, "x")
        events = await run_of(peer)
    assert [call["ok"] for call in of("tool_completed", events)] == [False]
    assert types(events)[-1] == "agent_completed"


async def test_a_model_that_goes_in_circles_is_stopped() -> None:
    """After a fixed number of calls the run fails, and says why."""

    async def again(question: str, tools: Sequence[Any], steps: Sequence[Step], say: Callable[[str], None]) -> Any:
        return Call("add", {"a": len(steps), "b": 1})

    async with open_mcp_agent(model=again) as on_message, served() as server, server.peer() as peer:
        await peer.attach("alice")
        with pytest.raises(RuntimeError, match=f"after {CALLS} calls"):
            await ask(server, on_message, "count")
        events = await run_of(peer)
    assert len(of("tool_completed", events)) == CALLS
    assert types(events)[-1] == "agent_failed"


# --- one session, many runs -------------------------------------------------------


@both_transports
async def test_two_runs_at_once_do_not_disturb_each_other(mode: str) -> None:
    """Two runs call over one session at the same time; the later call may end first, and each gets its own result."""
    meeting = Meeting("a", "b")
    said: dict[str, str] = {}
    client = mcp.Client(meeting.server, mode=mode)
    async with open_mcp_agent(client, wait_once) as on_message, served() as server, server.peer() as peer:
        await peer.attach("alice")

        async def talk(name: str) -> None:
            said[name] = await ask(server, on_message, name, f"thread {name}")

        async with trio.open_nursery() as nursery:
            for name in ("a", "b"):
                nursery.start_soon(talk, name)
                await meeting.entered[name].wait()
            meeting.go["b"].set()
            while "b" not in said:
                await trio.lowlevel.checkpoint()
            assert "a" not in said
            meeting.go["a"].set()
        events = await run_of(peer) + await run_of(peer)
    assert said == {"a": "a was here", "b": "b was here"}
    for name in ("a", "b"):
        own = [event for event in events if event["thread_id"] == f"thread {name}"]
        assert types(own)[-4:] == ["tool_executing", "tool_completed", "agent_delta", "agent_completed"]
        assert of("tool_completed", own)[0]["result"] == {"result": f"{name} was here"}


@both_transports
async def test_a_cancelled_run_takes_back_its_own_call_and_no_other(mode: str) -> None:
    """A run cancelled in a call cancels it in the server; the call beside it and the runs after it are served."""
    meeting = Meeting("a", "b", "c")
    said: dict[str, str] = {}
    client = mcp.Client(meeting.server, mode=mode)
    async with open_mcp_agent(client, wait_once) as on_message, served() as server, server.peer() as peer:
        await peer.attach("alice")
        scopes = {name: trio.CancelScope() for name in ("a", "b", "c")}

        async def talk(name: str) -> None:
            with scopes[name]:
                said[name] = await ask(server, on_message, name, f"thread {name}")

        async with trio.open_nursery() as nursery:
            for name in ("a", "b"):
                nursery.start_soon(talk, name)
                await meeting.entered[name].wait()
            scopes["a"].cancel()
            while not meeting.cancelled:
                await trio.lowlevel.checkpoint()
            meeting.go["b"].set()
            meeting.go["c"].set()
            nursery.start_soon(talk, "c")
        ends = {events[-1]["thread_id"]: events[-1]["type"] for events in [await run_of(peer) for _ in said | {"a": 0}]}
    assert meeting.cancelled == ["a"]
    assert said == {"b": "b was here", "c": "c was here"}
    assert ends == {"thread a": "agent_cancelled", "thread b": "agent_completed", "thread c": "agent_completed"}


async def test_what_the_host_raises_comes_out_bare() -> None:
    """An error of the code inside ``open_mcp_agent`` leaves it as it is, in no group of the client's."""
    with pytest.raises(OSError, match="address in use"):
        async with open_mcp_agent():
            raise OSError("address in use")


# --- without mcp ------------------------------------------------------------------


def test_without_mcp_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the example without mcp says what to install."""
    monkeypatch.delitem(sys.modules, "actors.examples.mcp_agent")
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ImportError, match=r"in the checkout, pip install '\.\[examples\]'"):
        importlib.import_module("actors.examples.mcp_agent")
