"""Where a runtime, a run and a session may be called from; a call from elsewhere does nothing, and says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import actors
from actors import Run, Runtime, Stage
from actors.client import Session, connect
from actors.testing import fault_proxy
from tests.support.served import served

Call = Callable[[Runtime, Run], object]

SYNC: dict[str, Call] = {
    "emit_nowait": lambda runtime, _: runtime.thread("t1").emit_nowait("x", {}),
    "delta": lambda _, run: run.delta("lost"),
    "cancel of a run": lambda _, run: run.cancel(),
    "audit": lambda runtime, _: runtime.audit(),
    "explain": lambda runtime, _: runtime.explain("e"),
    "release": lambda runtime, _: runtime.release("threads/t1"),
    "revoke": lambda runtime, _: runtime.revoke("alice"),
}
ASYNC: dict[str, Callable[[Runtime, Run], Coroutine[Any, Any, object]]] = {
    "emit": lambda runtime, _: runtime.thread("t1").emit("x", {}),
    "emit of a run": lambda _, run: run.emit("x", {}),
    "thinking": lambda _, run: run.thinking("x"),
    "ask": lambda runtime, _: runtime.thread("t1").ask("x", {}, timeout=1),
    "ask of a run": lambda _, run: run.ask("x", {}, timeout=1),
    "tool": lambda _, run: _enter(run.tool("x")),
    "child run": lambda _, run: _enter(run.run("x")),
    "run": lambda runtime, _: _enter(runtime.thread("t1").run("x")),
    "read": lambda runtime, _: runtime.read("t1"),
    "cancel": lambda runtime, _: runtime.cancel("r1"),
    "bind": lambda runtime, _: runtime.bind("t1", "bob"),
    "rebind": lambda runtime, _: runtime.rebind("t1", "bob"),
    "unbind": lambda runtime, _: runtime.unbind("t1"),
    "serve": lambda runtime, _: runtime.serve(),
    "handle": lambda runtime, _: runtime.handle(trio.testing.memory_stream_pair()[0]),
    "drain": lambda runtime, _: runtime.drain(1),
}
SESSION: dict[str, Callable[[Session], Coroutine[Any, Any, object]]] = {
    "send": lambda session: session.send({}),
    "answer": lambda session: session.answer("a", {}),
    "cancel": lambda session: session.cancel("r"),
    "read": lambda session: session.read("t"),
    "next": lambda session: session.__anext__(),
}


async def _enter(manager: Any) -> None:
    async with manager:
        raise AssertionError("expected a refusal at the door")


def in_trio(call: Callable[[], Awaitable[object]]) -> object:
    async def main() -> object:
        return await call()

    return trio.run(main)


def in_asyncio(call: Callable[[], Coroutine[Any, Any, object]]) -> object:
    return asyncio.run(call())


def in_nothing(call: Callable[[], Coroutine[Any, Any, object]]) -> object:
    coroutine = call()
    try:
        return coroutine.send(None)
    finally:
        coroutine.close()


async def _untouched(call: Callable[[Runtime, Run], object]) -> None:
    """A call from another thread is refused, and what is done here afterwards goes on as if it had not been."""
    async with actors.open_runtime() as runtime:
        async with runtime.thread("t1").run("bot", run_id="r1") as run:
            await runtime.bind("t1", "alice")
            before = runtime.audit()
            with pytest.raises(actors.ForeignThread, match=r"emit_from_thread.*from_thread"):
                await trio.to_thread.run_sync(call, runtime, run)
            assert (runtime.audit(), run.outcome, run.children, run.output.gathering) == (before, None, [], False)
            run.delta("kept")
            await trio.sleep(0.05)
        assert (runtime.owner("t1"), run.outcome) == ("alice", "agent_completed")
        events = (await runtime.read("t1")).events
        assert [event.type for event in events] == ["agent_started", "agent_delta", "agent_completed"]
        assert events[1].payload == {"text": "kept"}
        assert len(runtime.failures) == 0


@pytest.mark.parametrize("name", SYNC)
async def test_a_call_from_another_thread(name: str) -> None:
    """A call from another thread says what to use there, and takes nothing."""
    await _untouched(SYNC[name])


@pytest.mark.parametrize("enter", [in_trio, in_asyncio, in_nothing])
@pytest.mark.parametrize("name", ASYNC)
async def test_a_coroutine_in_another_thread(name: str, enter: Callable[[Callable[[], object]], object]) -> None:
    """The same holds for what is awaited there, in another run of Trio's, in asyncio, or in no event loop at all."""
    await _untouched(lambda runtime, run: enter(lambda: ASYNC[name](runtime, run)))


async def test_text_from_another_thread() -> None:
    """A worker thread emits through Trio, and in order."""

    def work(run: Run) -> None:
        for word in ("one ", "two ", "three"):
            trio.from_thread.run_sync(run.delta, word)

    async with actors.open_runtime() as runtime:
        await runtime.bind("t1", "alice")
        async with runtime.thread("t1").run("bot") as run:
            await trio.to_thread.run_sync(work, run)
        assert (await runtime.read("t1")).events[1].payload == {"text": "one two three"}


@pytest.mark.parametrize("name", SESSION)
async def test_a_session_in_another_thread(name: str) -> None:
    """A session belongs to the thread it was opened in."""
    async with served() as server:
        assert isinstance(server.address, tuple)
        async with connect(f"ws://127.0.0.1:{server.address[1]}/ws", token="alice") as session:
            for enter in (in_trio, in_asyncio, in_nothing):
                with pytest.raises(actors.ForeignThread, match="from_thread"):
                    await trio.to_thread.run_sync(partial(enter, partial(SESSION[name], session)))
            with pytest.raises(actors.ForeignThread):
                await trio.to_thread.run_sync(session.reconnect_now)
            assert (await session.send({})).seq == 1


@pytest.mark.parametrize(
    "open_",
    [actors.open_runtime, lambda: connect("ws://127.0.0.1:1/ws"), lambda: fault_proxy("127.0.0.1", 1)],
    ids=["open_runtime", "connect", "fault_proxy"],
)
async def test_another_event_loop(open_: Callable[[], Any]) -> None:
    """A call that needs Trio says so where there is another event loop, or none, and what to do about it."""
    for enter, found in ((in_asyncio, "asyncio"), (in_nothing, "no event loop")):
        with pytest.raises(actors.ForeignLoop, match=rf"expected a task of Trio's, got {found}; call trio\.run"):
            await trio.to_thread.run_sync(enter, lambda: _enter(open_()))


async def test_a_receipt_in_another_thread() -> None:
    """A receipt may be looked at anywhere, and waited for in any task of Trio's; asyncio is told that it is not one."""

    async def both(receipt: actors.Receipt) -> None:
        await receipt.reached(Stage.STORED)

    def work(runtime: Runtime) -> str:
        receipt = runtime.emit_from_thread("t1", "x", {})
        assert receipt.stage is Stage.BUFFERED
        with pytest.raises(actors.ForeignLoop, match=r"reached: .* got asyncio; ask receipt\.stage"):
            asyncio.run(both(receipt))
        trio.from_thread.run_sync(waits.set)
        trio.run(both, receipt)
        return str(receipt.stage)

    async def bind(runtime: Runtime) -> None:
        await waits.wait()
        await trio.sleep(0.05)
        await runtime.bind("t1", "alice")

    waits = trio.Event()
    async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(bind, runtime)
        assert await trio.to_thread.run_sync(work, runtime) == "STORED"


async def test_after_the_end() -> None:
    """The rest of a runtime that has ended may be looked at from anywhere."""
    async with actors.open_runtime() as runtime:
        receipt = await runtime.thread("t1").emit("x", {})
    audit = await trio.to_thread.run_sync(runtime.audit)
    assert audit.balanced
    assert "shutdown" in str(await trio.to_thread.run_sync(runtime.explain, receipt))
    with pytest.raises(actors.RuntimeClosed):
        await trio.to_thread.run_sync(runtime.thread("t1").emit_nowait, "x", {})
