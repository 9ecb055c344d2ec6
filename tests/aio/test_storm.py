"""A storm of calls and cancellations from many tasks, after which everything is accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import attrs
import pytest

import actors
from actors import Event, Limits, aio
from tests.aio.support import events_of, run

USERS, WORKERS, ACTS = 5, 10, 12

ENDS = {"agent_completed", "agent_failed", "agent_cancelled"}


@attrs.define
class Storm:
    """Agents and workers that do what they may, and are cancelled at moments that a seed chooses."""

    random: Random
    runtime: aio.Runtime = attrs.field(init=False)

    def moment(self) -> float:
        """Some milliseconds."""
        return self.random.random() * 0.006

    async def agent(self, run: aio.Run, message: actors.Message) -> int:
        """Answer a message by any of an agent's means."""
        for n in range(self.random.randrange(6)):
            await self.random.choice([self._speak, self._emit, self._tool, self._open_tool, self._child, self._ask])(
                run, n
            )
            if self.random.random() < 0.1:
                raise ValueError("an agent that fails")
            task = asyncio.current_task()
            assert task is not None
            if self.random.random() < 0.05:
                task.cancel()
        return 1

    async def _speak(self, run: aio.Run, n: int) -> None:
        run.delta("x" * self.random.randrange(1, 3_000))
        if self.random.random() < 0.3:
            await run.flushed()

    async def _emit(self, run: aio.Run, n: int) -> None:
        await run.emit("progress", {"n": n})

    async def _tool(self, run: aio.Run, n: int) -> None:
        async with run.tool("tool", call_id=f"tool {n}"):
            await asyncio.sleep(self.moment())

    async def _open_tool(self, run: aio.Run, n: int) -> None:
        await run.tool_started("tool", call_id=f"open {n}")

    async def _child(self, run: aio.Run, n: int) -> None:
        async with run.run("child") as child:
            child.delta("y")
            await asyncio.sleep(self.moment())

    async def _ask(self, run: aio.Run, n: int) -> None:
        try:
            await run.ask("question", {}, timeout=self.moment())
        except actors.Unanswered:
            run.delta("no answer")

    async def worker(self, number: int) -> None:
        """Act a number of times, and cancel half of the acts."""
        acts: list[Callable[[int, int], Awaitable[object]]] = [self._emit_alone, self._host_run, self._send, self._look]
        for n in range(ACTS):
            act = asyncio.ensure_future(self.random.choice(acts)(number, n))
            if self.random.random() < 0.5:
                await asyncio.sleep(self.moment())
                act.cancel()
                await asyncio.sleep(0)
                act.cancel()
            await asyncio.wait([act])
            if not act.cancelled() and not isinstance(act.exception(), KeyError | actors.ActorsError):
                act.result()

    def _thread(self, number: int) -> aio.Thread:
        return self.runtime.thread(f"t{number % USERS}")

    async def _emit_alone(self, number: int, n: int) -> None:
        event_id = f"{number}-{n}"
        await self._thread(number).emit("alone", {"n": n}, event_id=event_id)
        await self._thread(number).emit("alone", {"n": n}, event_id=event_id)

    async def _host_run(self, number: int, n: int) -> None:
        async with self._thread(number).run("host") as run:
            run.delta("z")
            await asyncio.sleep(self.moment())
            if self.random.random() < 0.2:
                raise KeyError("a block that fails")

    async def _send(self, number: int, n: int) -> None:
        thread = self._thread(number)
        sent = await thread.send({"n": n}, user_id=f"u{number % USERS}", message_id=f"m{number}-{n}")
        await asyncio.sleep(self.moment())
        await self.runtime.cancel(str(sent.run_id))

    async def _look(self, number: int, n: int) -> None:
        await self.runtime.explain(await self._thread(number).emit("looked at", {}))
        await self.runtime.audit()


@pytest.mark.parametrize("seed", range(6))
def test_everything_is_accounted_for(seed: int) -> None:
    """Each run has one first and one last event and completed tools; no task, no run and no failure of ours is left."""

    async def main() -> None:
        storm = Storm(Random(seed))
        options: dict[str, Any] = {
            "concurrency": storm.random.choice(["queue", "parallel", "cancel_previous"]),
            "limits": Limits(
                mailbox_messages=storm.random.choice([1, 3, 256]), retained_events=100_000, retained_bytes=1 << 28
            ),
        }
        async with aio.open_runtime(on_message=storm.agent, **options) as storm.runtime:
            for number in range(USERS):
                await storm.runtime.bind(f"t{number}", f"u{number}")
            await asyncio.gather(*(storm.worker(number) for number in range(WORKERS)))
            await storm.runtime.drain(5)
            await check(storm.runtime)
            assert len(asyncio.all_tasks()) == 1

    run(main)


async def check(runtime: aio.Runtime) -> None:
    """Raise unless the books balance and the threads read as those of whole runs."""
    total = (await runtime.audit()).total
    places = total.queued + total.held + total.retained + total.acked + total.unconfirmed + total.dropped
    assert total.accepted == places + total.deduplicated
    strange = [one for one in await runtime.failures() if "a block" not in one.error and "an agent" not in one.error]
    assert strange == []
    assert len(runtime.runtime.tree.runs.registry.active) == 0
    for number in range(USERS):
        check_runs(await events_of(runtime, f"t{number}"))


def check_runs(events: list[Event]) -> None:
    """Raise unless each run of a thread is whole."""
    active: set[str] = set()
    over: set[str] = set()
    tools: set[tuple[str, str]] = set()
    for event in events:
        run_id, call = event.run_id, (event.run_id or "", str(event.payload.get("tool_call_id")))
        if run_id is None:
            continue
        if event.type == "agent_started":
            assert run_id not in active | over
            active.add(run_id)
        assert run_id in active
        if event.type == "tool_executing":
            assert call not in tools
            tools.add(call)
        if event.type == "tool_completed":
            tools.remove(call)
        if event.type in ENDS:
            active.remove(run_id)
            over.add(run_id)
            assert not any(of == run_id for of, _ in tools)
    assert active == set()
