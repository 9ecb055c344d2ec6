"""A real agent: a loop that calls the tools of an MCP server, each call an event on its user's devices.

    async with open_mcp_agent() as on_message, actors.open_runtime(on_message=on_message) as runtime:
        await runtime.serve(port=8765)

Ask it "3 + 4", "convert 10 km to miles", "where is the key?", or "how far is the cabin in miles?", which takes
two calls, the second with the result of the first. The calls are real; a few rules replace the language model,
whose interface is :class:`Model`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import attrs

import actors
from actors.kernel.failures import cancels

try:
    import mcp
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError as _error:
    raise ImportError("this example needs mcp 2.0 or newer: in the checkout, pip install '.[examples]'") from _error

CALLS = 8
"""The most calls in one run, so that a model that goes in circles ends as ``agent_failed``."""

CALL_SECONDS = 30.0
"""The timeout of a call, so that a server that never answers fails the call and does not block the run."""

NOTES = ("The cabin is 42 km from Oslo.", "The key is under the blue pot.", "The boat needs paint.")

METRES = {"m": 1.0, "km": 1000.0, "feet": 0.3048, "miles": 1609.344}

_NUMBER = r"(-?\d+(?:\.\d+)?)"


# --- the tools ----------------------------------------------------------------


def notebook() -> MCPServer:
    """Make an MCP server with three tools, in memory."""
    # WARNING is Python's own level of the root logger, which mcp would set to another.
    server = MCPServer("notebook", log_level="WARNING")

    # The tools are coroutines because mcp runs a plain function in a thread, for which a cancelled run has to wait.
    @server.tool()
    async def add(a: float, b: float) -> float:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def convert_units(value: float, unit: str, into: str) -> str:
        """Convert a length."""
        if unknown := {unit, into} - set(METRES):
            raise ToolError(f"expected units among {', '.join(METRES)}, got {', '.join(sorted(unknown))}")
        return f"{value:g} {unit} = {value * METRES[unit] / METRES[into]:.4g} {into}"

    @server.tool()
    async def search_notes(question: str) -> list[str]:
        """Find the notes that share most words with a question."""
        words = set(re.findall(r"\w{3,}", question.lower()))
        scores = [len(words & set(re.findall(r"\w{3,}", note.lower())) - {"the"}) for note in NOTES]
        return [note for note, score in zip(NOTES, scores, strict=True) if score == max(scores) > 0]

    return server


# --- the model ----------------------------------------------------------------


@attrs.frozen
class Call:
    """A tool call that a model asks for."""

    tool: str
    arguments: dict[str, Any]


@attrs.frozen(kw_only=True)
class Step:
    """A call that was made, and the server's answer."""

    call: Call
    text: str
    failed: bool = False


class Model(Protocol):
    """The model that decides, where an application has a language model."""

    async def __call__(
        self, question: str, tools: Sequence[mcp.Tool], steps: Sequence[Step], say: Callable[[str], None]
    ) -> Call | str:
        """Return the next call, or the whole answer, having called ``say`` with each of its tokens."""
        ...


async def rules(
    question: str, tools: Sequence[mcp.Tool], steps: Sequence[Step], say: Callable[[str], None]
) -> Call | str:
    """Decide by three rules, deterministically."""
    call = _next_call(question, steps)
    if call is not None and call.tool in {tool.name for tool in tools}:
        return call
    answer = steps[-1].text or "No note says anything about that." if steps else "There is no tool for that."
    if steps and steps[-1].failed:
        answer = f"That did not work: {answer}"
    for token in re.findall(r"\s*\S+", answer):
        say(token)
    return answer


def _next_call(question: str, steps: Sequence[Step]) -> Call | None:
    if steps and (steps[-1].failed or steps[-1].call.tool != "search_notes"):
        return None
    text = question.lower()
    if terms := re.search(rf"{_NUMBER} *\+ *{_NUMBER}", text):
        return Call("add", {"a": float(terms[1]), "b": float(terms[2])})
    quantity = re.search(rf"{_NUMBER} *([a-z]+)", steps[-1].text if steps else text)
    unit = re.search(r"\b(?:to|into|in) ([a-z]+)\W*$", text)
    if quantity and unit:
        return Call("convert_units", {"value": float(quantity[1]), "unit": quantity[2], "into": unit[1]})
    return None if steps else Call("search_notes", {"question": question})


# --- the agent ----------------------------------------------------------------


class CallError(Exception):
    """An error with which the server answered a call."""


@asynccontextmanager
async def open_mcp_agent(
    client: mcp.Client | None = None, model: Model = rules
) -> AsyncIterator[Callable[[actors.Run, actors.Message], Awaitable[str]]]:
    """Connect to an MCP server, and yield the ``on_message`` of an agent that uses its tools.

    ``client`` is any that has not been entered, ``mcp.Client("https://…/mcp")`` for one; without it the agent has
    :func:`notebook`. One session serves all runs, because its requests have ids; a run that is cancelled cancels
    its own request, and no other. Open it around the runtime, which ends the runs first.
    """
    failure: BaseException | None = None
    async with client or mcp.Client(notebook(), read_timeout_seconds=CALL_SECONDS) as session:

        async def mcp_agent(run: actors.Run, message: actors.Message) -> str:
            return await answer(run, str(message.payload.get("text", "")), session, model)

        try:
            yield mcp_agent
        except BaseException as error:  # raised below, because the client would wrap it in two groups
            if cancels(error):
                raise
            failure = error
    if failure is not None:
        raise failure


async def answer(run: actors.Run, question: str, client: mcp.Client, model: Model) -> str:
    """Let the model call tools until it answers, and return the answer; the model gets failed calls, too."""
    tools = (await client.list_tools()).tools  # the first page: a server with many more needs ``list_tools(cursor=…)``
    await run.thinking(f"There are tools: {', '.join(tool.name for tool in tools)}.")
    steps: list[Step] = []
    while isinstance(decision := await model(question, tools, steps, run.delta), Call):
        if len(steps) == CALLS:
            raise RuntimeError(f"expected an answer after {CALLS} calls, the model asks for another")
        try:
            async with run.tool(decision.tool, decision.arguments) as tool:
                result = await client.call_tool(decision.tool, decision.arguments)
                text = "\n".join(block.text for block in result.content if block.type == "text")
                if result.is_error:
                    raise CallError(text)
                tool.result = text if result.structured_content is None else result.structured_content
        except (CallError, mcp.MCPError, actors.Unencodable) as error:  # the last: a result too large for an event
            steps.append(Step(call=decision, text=str(error), failed=True))
        else:
            steps.append(Step(call=decision, text=text))
    return decision
