"""Agents that do what a script says: think, speak, use tools, ask, fail, hang."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from actors.errors import ActorsError, RunEnded, Unanswered
from actors.runs.run import Message, Run
from actors.testing.chance import Chance
from actors.testing.world import World

ASK_SECONDS = 3.0
HANG_SECONDS = 60.0
STUBBORN_SECONDS = 7.0
"""Longer than a cancelled run gets."""


class AgentFailed(Exception):
    """An agent's own bug."""


class Agents:
    """The application of one simulation."""

    def __init__(self) -> None:
        self._world: World
        self._failures = 0
        self._tokens = 0
        self.released: trio.Event = trio.Event()
        """Set when faults end: an agent that hangs, hangs until then."""

    def enter(self, world: World) -> None:
        """Enter the world that the agents run in."""
        self._world = world

    async def answer(self, run: Run, message: Message) -> Any:
        """Answer a message with what it asks for."""
        await self.perform(run, tuple(message.payload.get("script", ())))
        return {"heard": message.payload.get("n")}

    async def perform(self, run: Run, script: tuple[str, ...]) -> None:
        """Do one step after the other."""
        chance = self._world.chance.of(f"run {run.run_id}")
        for step in script:
            await self._step(run, step, chance)

    async def _step(self, run: Run, step: str, chance: Chance) -> None:
        match step:
            case "think":
                await run.thinking("hm " * chance.count(1, 30))
            case "tokens":
                await self._speak(run, chance)
            case "tool":
                async with run.tool("search", {"q": chance.count(1, 99)}) as tool:
                    await trio.sleep(chance.between(0, 0.5))
                    tool.result = {"found": chance.count(0, 9)}
            case "broken_tool":
                with suppress(AgentFailed):
                    async with run.tool("break"):
                        raise AgentFailed("a tool broke")
            case "ask":
                with suppress(Unanswered):
                    answer = await run.ask("approval", {"question": "?"}, timeout=ASK_SECONDS)
                    self._world.oracle.answered(run.thread_id, answer.user_id, answer.payload["said"])
            case "child":
                async with run.run("helper") as child:
                    await self.perform(child, ("think", "tokens"))
            case "say":
                await run.emit("note", {"text": "x" * chance.count(0, 200)})
            case "pause":
                await trio.sleep(chance.one((0.01, 0.1, 2.0)))
            case "crash":
                self._fail()
            case "hang":
                with trio.move_on_after(HANG_SECONDS):
                    await self.released.wait()
            case "stubborn":
                said = f"{run.run_id}: shields itself", f"run {run.run_id}: expected a run", "runtime/runs: shields"
                self._world.own_failures += said
                with trio.CancelScope(shield=True):
                    await trio.sleep(STUBBORN_SECONDS)

    async def _speak(self, run: Run, chance: Chance) -> None:
        """Tokens, each with a number; what the run took is noted."""
        for _ in range(chance.count(1, 12)):
            self._tokens += 1
            text = f"<{self._tokens}>"
            try:
                run.delta(text)
            except (trio.WouldBlock, ActorsError) as error:
                if isinstance(error, RunEnded):
                    raise
                continue
            self._world.oracle.saying(run.run_id, text)
            if chance.happens(0.3):
                await trio.sleep(chance.one((0.0, 0.01, 0.04)))

    def _fail(self) -> None:
        self._failures += 1
        text = f"agent failure {self._failures};"
        self._world.own_failures.append(text)
        raise AgentFailed(text)
