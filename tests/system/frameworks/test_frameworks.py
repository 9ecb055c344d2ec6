"""Agent frameworks on asyncio, unmodified, with their own fake models, as handlers of messages."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

import pytest

from actors import aio
from actors.client import Ask
from tests.aio.support import Device, run, served, until

REASON = "the extra [frameworks] is not installed"

FRAMEWORKS = {"pydantic_ai": "pydantic_ai_assistant", "langgraph": "langgraph_assistant", "agents": "openai_assistant"}
"""The module of each framework, and that of its handler here."""

CALLS = {"pydantic_ai": "toolu_77", "agents": "call_abc"}
"""The framework's own id of its tool's call."""


def handler_of(framework: str) -> Callable[..., Any]:
    """The handler for a framework; skips where it is not installed."""
    pytest.importorskip(framework, reason=REASON)
    assistant: Callable[..., Any] = importlib.import_module(
        f"tests.system.frameworks.{FRAMEWORKS[framework]}"
    ).assistant
    return assistant


async def answer_questions(alice: Device) -> None:
    """Answer yes to every question."""
    answered: set[str] = set()
    while True:
        for ask in [one for one in alice.items if isinstance(one, Ask) and one.id not in answered]:
            answered.add(ask.id)
            await alice.session.answer(ask.id, {"choice": "yes"})
        await asyncio.sleep(0.001)


def said(alice: Device) -> str:
    """The text that a device was sent."""
    return "".join(str(one.payload["text"]) for one in alice.events("agent_delta"))


async def books_balance(runtime: aio.Runtime) -> bool:
    """True if every event is accounted for."""
    total = (await runtime.audit()).total
    return total.accepted == (
        total.queued + total.held + total.retained + total.acked + total.unconfirmed + total.dropped
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_agent_of_a_framework_answers(framework: str) -> None:
    """Text, tools under the framework's own ids, and questions come to the device; nothing fails."""
    assistant = handler_of(framework)

    async def main() -> None:
        async with served(on_message=assistant) as (runtime, alice):
            answering = asyncio.create_task(answer_questions(alice))
            await alice.send({"text": "What is the weather in Oslo?"}, "t1")
            completed = await alice.saw("agent_completed")
            assert said(alice) == completed["result"]
            assert completed["result"] in {"It is clear.", "It is done"}
            if framework in CALLS:
                (executing,) = alice.events("tool_executing")
                (done,) = alice.events("tool_completed")
                assert executing.payload["arguments"] == {"city": "Oslo"}
                assert executing.payload["tool_call_id"] == done.payload["tool_call_id"] == CALLS[framework]
                assert done.payload["ok"]
            else:
                assert any(isinstance(one, Ask) and one.payload == {"question": "Deploy?"} for one in alice.items)
            assert await runtime.failures() == ()
            assert await books_balance(runtime)
            answering.cancel()
            await asyncio.wait([answering])

    run(main)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_agent_of_a_framework_is_cancelled_at_every_moment(framework: str) -> None:
    """A cancel after any number of milliseconds stops the framework's code, and leaves one end and no open tool."""
    assistant = handler_of(framework)

    async def main() -> None:
        async with served(on_message=assistant) as (runtime, alice):
            answering = asyncio.create_task(answer_questions(alice))
            ends = 0
            for milliseconds in range(0, 36, 2):
                run_id = await alice.send({"text": "What is the weather in Oslo?"}, "t1")
                await asyncio.sleep(milliseconds / 1000)
                found = await alice.session.cancel(run_id)
                assert found.stopped == (run_id,)
                ends += 1
                await until(lambda: len(alice.events("agent_completed", "agent_cancelled")) == ends)  # noqa: B023 - at once
            assert len(alice.events("agent_started")) == ends
            assert len(alice.events("tool_executing")) == len(alice.events("tool_completed"))
            assert alice.events("agent_cancelled")
            assert await runtime.failures() == ()
            assert await books_balance(runtime)
            answering.cancel()
            await asyncio.wait([answering])
            await until(lambda: len(asyncio.all_tasks()) <= 3)  # nothing of the framework's goes on

    run(main)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_agents_of_a_framework_at_once(framework: str) -> None:
    """Twenty threads are answered side by side, each in order."""
    assistant = handler_of(framework)

    async def main() -> None:
        async with served(on_message=assistant) as (runtime, alice):
            answering = asyncio.create_task(answer_questions(alice))
            for _ in range(20):
                await alice.send({"text": "What is the weather in Oslo?"})
            await until(lambda: len(alice.events("agent_completed")) == 20)
            for run_id in {one.run_id for one in alice.events("agent_completed")}:
                mine = [one for one in alice.events() if one.run_id == run_id]
                (completed,) = [one for one in mine if one.type == "agent_completed"]
                text = "".join(str(one.payload["text"]) for one in mine if one.type == "agent_delta")
                assert text == completed.payload["result"]
            assert await runtime.failures() == ()
            answering.cancel()
            await asyncio.wait([answering])

    run(main)
