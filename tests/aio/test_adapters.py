"""The application's functions: coroutines of the host's loop that the runtime calls from its own."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

import actors
from actors import Limits, Stage, aio
from tests.aio.support import device, run, served, until
from tests.aio.test_runtime import echo


def test_authenticate_and_authorize_are_coroutines_of_the_host() -> None:
    """They decide as under Trio, see the opener's context, and their failures are their connection's alone."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    async def main() -> None:
        variable.set("opener")
        seen: list[str] = []

        async def who(credentials: actors.Credentials) -> str | None:
            await asyncio.sleep(0)
            seen.append(variable.get())
            if credentials.token == "bad":
                raise LookupError("no such user")
            return credentials.token.removeprefix("token of ")

        async def may(user_id: str, thread_id: str) -> bool:
            await asyncio.sleep(0)
            return thread_id.startswith(user_id)

        async with aio.open_runtime(authenticate=who, authorize=may, on_message=echo) as runtime:
            address = await runtime.serve()
            async with device(address, "token of alice") as alice:
                await alice.send({"text": "hi"}, "alice-1")
                await alice.saw("agent_completed")
                with pytest.raises(actors.ActorsError):
                    await alice.send({"text": "hi"}, "bob-1")
            async with device(address, "bad") as bad:
                await until(lambda: bad.session.state.failures > 0 or bad.session.state.name == "ended")
            assert seen[0] == "opener"
            assert len(await runtime.failures()) >= 1

    run(main)


def test_claim_new_is_a_policy_here_too() -> None:
    """A client may name its own thread; the policies of this package are not sent through the host's loop."""

    async def main() -> None:
        async with served(on_message=echo, authorize=actors.claim_new) as (runtime, alice):
            await alice.send({"text": "hi"}, "mine")
            await alice.saw("agent_completed")
            assert await runtime.owner("mine") == "alice"

    run(main)


def test_undelivered_events_are_told_to_the_host() -> None:
    """``on_undelivered`` gets a fate whose receipt can be asked and awaited."""

    async def main() -> None:
        told: asyncio.Queue[aio.Fate] = asyncio.Queue()

        async def push(fate: aio.Fate) -> None:
            await told.put(fate)

        limits = Limits(undelivered_seconds=0.05)
        async with aio.open_runtime(on_undelivered=push, limits=limits) as runtime:
            receipt = await runtime.thread("t1").emit("x", {}, user_id="alice")
            fate = await told.get()
            assert fate.event_id == receipt.event_id
            assert fate.receipt is not None
            assert await fate.receipt.refresh() is Stage.STORED
            assert fate.promise is actors.Promise.NOTHING

    run(main)


@pytest.mark.parametrize("error", [LookupError("x"), SystemExit(1), asyncio.CancelledError()])
def test_a_handler_that_fails_ends_its_run_and_nothing_else(error: BaseException) -> None:
    """Whatever it raises, its run has failed with it, and the next message is answered."""

    async def main() -> None:
        async def fail(run: aio.Run, message: actors.Message) -> None:
            run.delta("so far")
            if message.payload["text"] == "fail":
                raise error

        async with served(on_message=fail) as (runtime, alice):
            await alice.send({"text": "fail"}, "t1")
            failed = await alice.saw("agent_failed")
            assert failed["error"]["type"] == type(error).__name__
            assert "agent_delta" in alice.types
            await alice.send({"text": "fine"}, "t1")
            await alice.saw("agent_completed")
            assert len(await runtime.failures()) == 1

    run(main)


def test_a_handler_that_the_host_cancels_is_cancelled_by_the_host() -> None:
    """``task.cancel()`` on a handler's task is ``agent_cancelled``, with that reason."""

    async def main() -> None:
        tasks: list[asyncio.Task[Any]] = []

        async def wait(run: aio.Run, message: actors.Message) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.append(task)
            await asyncio.sleep(60)

        async with served(on_message=wait) as (runtime, alice):
            await alice.send({"text": "x"}, "t1")
            await until(lambda: bool(tasks))
            tasks[0].cancel()
            assert await alice.saw("agent_cancelled") == {"reason": "host"}
            assert await runtime.failures() == ()

    run(main)


def test_a_device_s_cancel_reaches_the_handler_and_its_unwinding_is_waited_for() -> None:
    """CancelledError in the coroutine; the cancel's reply says stopped when that has ended."""

    async def main() -> None:
        steps: list[str] = []

        async def wait(run: aio.Run, message: actors.Message) -> None:
            try:
                steps.append("began")
                async with run.tool("search", call_id="c1"):
                    await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.02)
                steps.append("unwound")

        async with served(on_message=wait) as (runtime, alice):
            run_id = await alice.send({"text": "x"}, "t1")
            await until(lambda: bool(steps))
            found = await alice.session.cancel(run_id)
            assert found.stopped == (run_id,)
            assert steps == ["began", "unwound"]
            assert await alice.saw("agent_cancelled") == {"reason": "user"}
            assert (await alice.saw("tool_completed"))["error"]["type"] == "Cancelled"
            assert await runtime.failures() == ()

    run(main)


@pytest.mark.parametrize("milliseconds", range(0, 24, 3))
def test_a_handler_is_cancelled_at_any_moment(milliseconds: int) -> None:
    """There is one first and one last event, every tool is completed, and the books balance."""

    async def main() -> None:
        async def agent(run: aio.Run, message: actors.Message) -> str:
            for n in range(5):
                async with run.tool("step", {"n": n}, call_id=f"c{n}") as tool:
                    run.delta("x")
                    await run.emit("progress", {"n": n})
                    tool.result = n
                async with run.run("child") as child:
                    child.delta("y")
                    await asyncio.sleep(0.001)
            return "done"

        async with served(on_message=agent) as (runtime, alice):
            for n in range(4):
                run_id = await alice.send({"text": "x"}, "t1" if n == 0 else None)
                await asyncio.sleep(milliseconds / 1000)
                await runtime.cancel(run_id)
                await until(lambda n=n: len(alice.events("agent_cancelled", "agent_completed")) > n)  # type: ignore[misc]
            await until(lambda: alice.types.count("agent_started") <= _ends(alice.types))
            assert alice.types.count("agent_started") == _ends(alice.types)
            assert alice.types.count("tool_executing") == alice.types.count("tool_completed")
            assert await runtime.failures() == ()
            total = (await runtime.audit()).total
            assert total.accepted == total.acked + total.queued + total.held + total.retained + total.dropped

    run(main)


def _ends(types: list[str]) -> int:
    return sum(types.count(type_) for type_ in ("agent_completed", "agent_cancelled", "agent_failed"))
