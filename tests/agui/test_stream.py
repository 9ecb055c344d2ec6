"""Streams of threads: the seam between history and what comes, with a log that loses, and one that begins anew."""

from __future__ import annotations

import trio
from trio.testing import MockClock

import actors
from actors.agui.stream import ThreadStream
from tests.support.agui_client import AguiClient


async def test_a_slow_client_misses_nothing_that_is_retained(autojump_clock: MockClock) -> None:
    """One that takes an event a second of a run that says a hundred at once has the text, and the run never waits."""
    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.follow("alice", "t1") as followed, trio.open_nursery() as nursery:
            stream, client = ThreadStream(runtime, user_id="alice", thread_id="t1"), AguiClient()
            await stream.read()
            client.take(stream.mapper.prelude())
            over = trio.Event()

            async def say(events: list[dict[str, object]]) -> None:
                await trio.sleep(1)
                if client.take(events).ends:
                    over.set()

            nursery.start_soon(stream.follow, followed, say)
            async with runtime.thread("t1").run("writer", run_id="r1") as run:
                for n in range(100):
                    run.delta(f"{n} ")
                    await run.emit("step", {"n": n})
            await over.wait()
            nursery.cancel_scope.cancel()
        assert "".join(one["content"] for one in client.messages) == "".join(f"{n} " for n in range(100))
        assert stream.is_whole
        assert repr(stream).startswith("<ThreadStream alice <Mapper of t1")


async def test_a_client_that_was_too_slow_is_told(autojump_clock: MockClock) -> None:
    """What left the log meanwhile is named, and the run goes on to its end."""
    async with actors.open_runtime(limits=actors.Limits(retained_events=20)) as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.follow("alice", "t1") as followed, trio.open_nursery() as nursery:
            stream, client = ThreadStream(runtime, user_id="alice", thread_id="t1"), AguiClient()
            client.take(stream.mapper.prelude())
            gate, over = trio.Event(), trio.Event()

            async def say(events: list[dict[str, object]]) -> None:
                if client.take(events).ends:
                    over.set()
                await gate.wait()

            nursery.start_soon(stream.follow, followed, say)
            async with runtime.thread("t1").run("writer", run_id="r1") as run:
                for n in range(100):
                    await run.emit("step", {"n": n})
                gate.set()
            await over.wait()
            nursery.cancel_scope.cancel()
        assert "gap" in [one["name"] for one in client.customs]
        assert not stream.is_whole


async def test_a_thread_of_nobody_is_empty(autojump_clock: MockClock) -> None:
    """What has no owner, or another one, is not read."""
    async with actors.open_runtime() as runtime:
        await runtime.thread("t1").emit("x", {}, user_id="bob")
        stream = ThreadStream(runtime, user_id="alice", thread_id="t1")
        assert await stream.read() == []
        assert stream.mapper.seq == 0
