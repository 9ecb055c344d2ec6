"""A thread that takes nothing, from asyncio: calls wait for room, text waits in order, and cancellation is exact."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import actors
from actors import Stage, aio
from tests.aio.support import events_of, run
from tests.stores.held import FullStore


class Full:
    """A runtime over a store without room for events, until it is opened."""

    def __init__(self, runtime: aio.Runtime, store: FullStore) -> None:
        self.runtime = runtime
        self.thread = runtime.thread("t1")
        self._store = store

    async def fill(self) -> None:
        """Emit until an emit has to wait."""
        with pytest.raises(TimeoutError):  # noqa: PT012 - some emit or other has to wait
            while True:
                async with asyncio.timeout(0.03):
                    await self.thread.emit("filling", {})

    async def open(self) -> None:
        """Let the store have room."""
        await self.runtime.bridge.ask(self._store.gate.set)

    async def emitted(self) -> list[tuple[str, dict[str, Any]]]:
        """What was emitted but for what filled the thread, once it is placed."""
        last = await self.thread.emit("last", {})
        await last.reached(Stage.STORED)
        events = await events_of(self.runtime)
        return [(one.type, one.payload) for one in events if one.type not in {"filling", "last"}]


@asynccontextmanager
async def full(**limits: Any) -> AsyncIterator[Full]:
    """A runtime whose thread t1 is alice's, and soon full."""
    store = FullStore()
    async with aio.open_runtime(store=store, limits=actors.Limits(mailbox_messages=4, **limits)) as runtime:
        await runtime.bind("t1", "alice")
        found = Full(runtime, store)
        try:
            yield found
        finally:
            await found.open()


def in_full_thread(test: Callable[[Full], Coroutine[Any, Any, None]], **limits: Any) -> None:
    """Run a test in such a runtime."""

    async def main() -> None:
        async with full(**limits) as found:
            await test(found)

    run(main)


def test_an_emit_waits_for_room_in_order() -> None:
    """Emits of many tasks wait, and are placed in the order of their calls."""

    async def test(found: Full) -> None:
        await found.fill()
        tasks = [asyncio.create_task(found.thread.emit("n", {"n": n})) for n in range(20)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in tasks)
        await found.open()
        await asyncio.gather(*tasks)
        assert await found.emitted() == [("n", {"n": n}) for n in range(20)]

    in_full_thread(test)


def test_an_emit_that_is_cancelled_while_it_waits_is_not_delivered() -> None:
    """As under Trio: what still waits when it is cancelled never comes; the others keep their order."""

    async def test(found: Full) -> None:
        await found.fill()
        tasks = [asyncio.create_task(found.thread.emit("n", {"n": n})) for n in range(10)]
        await asyncio.sleep(0.02)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.wait(tasks[::2])
        await found.open()
        await asyncio.gather(*tasks[1::2])
        assert await found.emitted() == [("n", {"n": n}) for n in range(1, 10, 2)]

    in_full_thread(test)


def test_no_event_of_a_run_overtakes_its_text() -> None:
    """Text that found no room waits behind what waits; events, tools and the end of the run wait behind the text."""

    async def test(found: Full) -> None:
        async with found.thread.run("writer", run_id="r1") as writer:
            await found.fill()
            for n in range(40):
                writer.delta(f"{n:03}")
                await asyncio.sleep(0)
            waiting = asyncio.create_task(writer.emit("progress", {"pct": 50}))
            await asyncio.sleep(0.02)
            writer.delta("end")
            tool = asyncio.create_task(writer.tool_started("weather", call_id="c"))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            opening = asyncio.create_task(found.open())
            await asyncio.gather(waiting, tool, opening)
        emitted = await found.emitted()
        kinds = [kind for kind, _ in emitted if kind != "agent_delta"]
        assert kinds == ["agent_started", "progress", "tool_executing", "tool_completed", "agent_completed"]
        place = emitted.index(("progress", {"pct": 50}))
        before = "".join(payload["text"] for kind, payload in emitted[:place] if kind == "agent_delta")
        after = "".join(payload["text"] for kind, payload in emitted[place:] if kind == "agent_delta")
        assert (before, after) == ("".join(f"{n:03}" for n in range(40)), "end")

    in_full_thread(test, delta_bytes=16)


def test_flushed_waits_for_room_and_can_be_given_up() -> None:
    """``flushed`` returns when the text is in the thread; cancelled, the text comes all the same, once."""

    async def test(found: Full) -> None:
        async with found.thread.run("writer") as writer:
            await found.fill()
            for n in range(40):
                writer.delta(f"{n:03}")
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await writer.flushed()
            flushing = asyncio.create_task(writer.flushed())
            await asyncio.sleep(0.01)
            assert not flushing.done()
            await found.open()
            await flushing
        text = "".join(payload["text"] for kind, payload in await found.emitted() if kind == "agent_delta")
        assert text == "".join(f"{n:03}" for n in range(40))

    in_full_thread(test, delta_bytes=16)


def test_a_run_that_is_cancelled_in_a_full_thread_ends_at_once() -> None:
    """The cancellation of a block, or of its run, waits for no room, and the run has its last event."""

    async def test(found: Full) -> None:
        begun = asyncio.Event()

        async def write(run_id: str) -> None:
            async with found.thread.run("writer", run_id=run_id) as writer:
                begun.set()
                while True:
                    writer.delta("0123456789")
                    await writer.emit("progress", {})

        for run_id, by_host in (("r1", True), ("r2", False)):
            begun.clear()
            task = asyncio.create_task(write(run_id))
            await begun.wait()
            if by_host:
                await found.fill()
                task.cancel()
            else:
                await asyncio.sleep(0.02)
                await found.runtime.cancel(run_id)
            await asyncio.wait([task])
            assert task.cancelled() is by_host
            await found.open()
        kinds = [kind for kind, _ in await found.emitted()]
        assert kinds.count("agent_started") == kinds.count("agent_cancelled") == 2

    in_full_thread(test, delta_bytes=16)
