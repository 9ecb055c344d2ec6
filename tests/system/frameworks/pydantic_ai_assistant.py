"""A pydantic-ai agent with its own fake model, as a handler of messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pydantic_ai import Agent
from pydantic_ai.messages import (
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessage,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from actors import Message, aio


async def model(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    """Call the weather tool, then answer word by word."""
    if not isinstance(messages[-1].parts[-1], ToolReturnPart):
        yield {0: DeltaToolCall(name="weather", json_args='{"city":"Oslo"}', tool_call_id="toolu_77")}
        return
    for word in ("It ", "is ", "clear."):
        await asyncio.sleep(0.001)
        yield word


agent = Agent(FunctionModel(stream_function=model))


@agent.tool_plain  # type: ignore[untyped-decorator]
async def weather(city: str) -> dict[str, str]:
    """Say what the weather is."""
    await asyncio.sleep(0.005)
    return {"sky": "clear"}


async def assistant(run: aio.Run, message: Message) -> str:
    """Tell the run what the agent does."""
    answer = ""
    async with agent.run_stream_events(str(message.payload["text"])) as events:
        async for event in events:
            match event:
                case FunctionToolCallEvent(part=call):
                    await run.tool_started(call.tool_name, call.args_as_dict(), call_id=call.tool_call_id)
                case FunctionToolResultEvent(part=ToolReturnPart() as found):
                    await run.tool_completed(found.tool_call_id, found.content)
                case (
                    PartStartEvent(part=TextPart(content=text))
                    | PartDeltaEvent(delta=TextPartDelta(content_delta=text))
                ):
                    run.delta(text)
                    answer += text
    return answer
