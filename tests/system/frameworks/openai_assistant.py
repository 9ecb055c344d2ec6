"""An agent of openai-agents with a fake model, as a handler of messages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, ModelResponse, RunConfig, Runner, function_tool
from agents.models.interface import Model
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
)

from actors import Message, aio


class Fake(Model):  # type: ignore[misc]
    """Call the weather tool, then answer word by word."""

    async def get_response(self, *args: Any, **options: Any) -> ModelResponse:
        """Refuse, because the runs here are streamed."""
        raise NotImplementedError

    async def stream_response(self, instructions: Any, given: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
        """Stream one turn."""
        items = given if isinstance(given, list) else []
        if not any(one.get("type") == "function_call_output" for one in items):
            call = ResponseFunctionToolCall(
                arguments='{"city":"Oslo"}', call_id="call_abc", name="weather", type="function_call"
            )
            yield self._completed(call)
            return
        words = ("It ", "is ", "clear.")
        for number, word in enumerate(words):
            await asyncio.sleep(0.001)
            yield ResponseTextDeltaEvent(
                content_index=0,
                delta=word,
                item_id="m1",
                logprobs=[],
                output_index=0,
                sequence_number=number,
                type="response.output_text.delta",
            )
        text = ResponseOutputText(annotations=[], text="".join(words), type="output_text")
        yield self._completed(
            ResponseOutputMessage(id="m1", content=[text], role="assistant", status="completed", type="message")
        )

    def _completed(self, item: ResponseOutputItem) -> ResponseCompletedEvent:
        response = Response(
            id="resp",
            created_at=0,
            model="fake",
            object="response",
            output=[item],
            parallel_tool_calls=False,
            tool_choice="auto",
            tools=[],
        )
        return ResponseCompletedEvent(response=response, sequence_number=9, type="response.completed")


@function_tool  # type: ignore[untyped-decorator]
async def weather(city: str) -> str:
    """Say what the weather is."""
    await asyncio.sleep(0.005)
    return "clear"


async def assistant(run: aio.Run, message: Message) -> str:
    """Tell the run what the agent does."""
    agent = Agent(name="assistant", model=Fake(), tools=[weather])
    config = RunConfig(tracing_disabled=True)
    streamed = Runner.run_streamed(agent, str(message.payload["text"]), run_config=config)
    try:
        async for event in streamed.stream_events():
            match event.type, getattr(event, "name", ""):
                case "raw_response_event", _ if isinstance(event.data, ResponseTextDeltaEvent):
                    run.delta(event.data.delta)
                case _, "tool_called":
                    call = event.item.raw_item
                    await run.tool_started(call.name, json.loads(call.arguments), call_id=call.call_id)
                case _, "tool_output":
                    await run.tool_completed(event.item.raw_item["call_id"], event.item.output)
    finally:
        streamed.cancel()
    return str(streamed.final_output)
