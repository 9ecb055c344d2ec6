"""The bridge: what crosses between two loops, in which order, and what becomes of exceptions and cancellations."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors import ForeignLoop, ForeignThread, RuntimeClosed
from actors.aio.bridge import Bridge
from actors.aio.line import Line
from actors.aio.portal import Portal
from tests.aio.support import run, until


@asynccontextmanager
async def nothing() -> AsyncIterator[int]:
    """Enter nothing."""
    yield threading.get_ident()


@asynccontextmanager
async def bridged(patience_seconds: float = 5.0) -> AsyncIterator[Bridge]:
    """A bridge to a Trio run in which nothing runs."""
    bridge = Bridge(asyncio.get_running_loop())
    async with Portal(bridge, nothing, name="actors test", patience_seconds=patience_seconds):
        yield bridge


async def raised(act: Awaitable[Any]) -> BaseException | None:
    """Await something; returns what it raised."""
    try:
        await act
    except BaseException as error:  # noqa: BLE001 - SystemExit and the like are the subject
        return error
    return None


def crossing(test: Callable[[Bridge], Any]) -> None:
    """Run a test with a bridge."""

    async def main() -> None:
        async with bridged() as bridge:
            await test(bridge)

    run(main)


def test_functions_run_over_there_in_the_order_in_which_they_were_handed_over() -> None:
    """``soon``, ``ask`` and the start of ``call`` are one queue, and run in the thread with Trio in it."""

    async def test(bridge: Bridge) -> None:
        seen: list[Any] = []

        async def called() -> None:
            seen.append("called")

        for n in range(100):
            bridge.soon(seen.append, n)
        there = await bridge.ask(threading.get_ident)
        assert seen == list(range(100))
        assert there != threading.get_ident()
        await bridge.call(called)
        assert seen[-1] == "called"

    crossing(test)


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), trio.WouldBlock()])
def test_what_a_call_raises_comes_out_of_it(error: BaseException) -> None:
    """Every exception of ``ask`` and ``call`` is its caller's, and the other side goes on."""

    async def test(bridge: Bridge) -> None:
        def fail() -> None:
            raise error

        async def fail_later() -> None:
            await trio.lowlevel.checkpoint()
            raise error

        assert await raised(bridge.ask(fail)) is error
        assert await raised(bridge.call(fail_later)) is error
        assert await bridge.ask(lambda: 1) == 1

    crossing(test)


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_nothing_that_escapes_in_a_callback_ends_the_other_loop(error: BaseException) -> None:
    """An exception without a caller is reported, and one of the report itself is not worse."""

    async def test(bridge: Bridge) -> None:
        reported: list[BaseException] = []

        def fail() -> None:
            raise error

        def report(found: BaseException) -> None:
            reported.append(found)
            raise RuntimeError("the report fails, too")

        bridge.report = report
        bridge.soon(fail)
        assert await bridge.ask(lambda: 1) == 1
        assert reported == [error]

    crossing(test)


def test_a_cancelled_call_has_ended_when_the_cancellation_comes_out() -> None:
    """The task over there is cancelled and unwinds first, also if the task here is cancelled again meanwhile."""

    async def test(bridge: Bridge) -> None:
        steps: list[str] = []
        unwinding = threading.Event()

        async def act() -> None:
            try:
                steps.append("began")
                await trio.sleep_forever()
            finally:
                unwinding.set()
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.02)
                steps.append("unwound")

        task = asyncio.create_task(bridge.call(act))
        await until(lambda: steps == ["began"])
        task.cancel()
        await until(unwinding.is_set)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert steps == ["began", "unwound"]

    crossing(test)


def test_a_timeout_around_a_call_is_one() -> None:
    """``asyncio.timeout`` raises TimeoutError, and the task's count of cancellations is what it was."""

    async def test(bridge: Bridge) -> None:
        task = asyncio.current_task()
        assert task is not None
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await bridge.call(trio.sleep_forever)
        assert task.cancelling() == 0

    crossing(test)


def test_what_is_withdrawn_before_it_began_does_not_begin() -> None:
    """A task that is cancelled while the other loop is busy has its call not run there at all."""

    async def test(bridge: Bridge) -> None:
        busy, ran = threading.Event(), []

        async def act() -> None:
            ran.append("call")

        bridge.soon(busy.wait, 5)
        tasks = [asyncio.create_task(bridge.ask(ran.append, "ask")), asyncio.create_task(bridge.call(act))]
        tasks.append(asyncio.create_task(bridge.attempt(lambda: ran.append("attempt"), act, Line())))
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)
        busy.set()
        await asyncio.wait(tasks)
        await bridge.ask(lambda: None)
        assert all(task.cancelled() for task in tasks)
        assert ran == []

    crossing(test)


def test_an_attempt_becomes_a_task_only_without_room() -> None:
    """``attempt`` runs at once what can, and awaits what raises WouldBlock."""

    async def test(bridge: Bridge) -> None:
        def full() -> str:
            raise trio.WouldBlock

        async def later() -> str:
            return "later"

        line = Line()
        assert await bridge.attempt(lambda: "now", later, line) == "now"
        assert await bridge.attempt(full, later, line) == "later"
        assert line.empty

    crossing(test)


def test_calls_end_with_the_runtime() -> None:
    """A call that is there when the host leaves raises RuntimeClosed, and so does each later one."""

    async def main() -> None:
        async with bridged() as bridge:
            task = asyncio.create_task(bridge.call(trio.sleep_forever))
            await bridge.ask(lambda: None)
        with pytest.raises(RuntimeClosed):
            await task
        assert bridge.over
        with pytest.raises(RuntimeClosed):
            bridge.soon(print)
        with pytest.raises(RuntimeClosed):
            await bridge.ask(print)
        with pytest.raises(RuntimeClosed):
            await bridge.call(trio.sleep_forever)

    run(main)


def test_calls_are_for_the_loop_that_opened_it() -> None:
    """From another thread, or another loop, a call is refused with what to use instead, and has no effect."""

    async def test(bridge: Bridge) -> None:
        ran: list[str] = []

        def elsewhere() -> None:
            with pytest.raises(ForeignThread, match="run_coroutine_threadsafe"):
                asyncio.run(bridge.ask(ran.append, "x"))

        await asyncio.to_thread(elsewhere)
        bridge.loop = asyncio.new_event_loop()
        try:
            with pytest.raises(ForeignLoop, match="another"):
                await bridge.ask(ran.append, "x")
        finally:
            bridge.loop.close()
            bridge.loop = asyncio.get_running_loop()
        assert ran == []

    crossing(test)


# --- the other way --------------------------------------------------------------


def test_a_visit_runs_in_the_hosts_loop_and_sees_its_context() -> None:
    """A coroutine function of the host's is awaited in the host's loop, with the opener's context variables."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    async def main() -> None:
        variable.set("opener")
        host = threading.get_ident()

        async def visited(n: int) -> tuple[int, int, str]:
            await asyncio.sleep(0)
            seen = variable.get()
            variable.set("visit")
            return n, threading.get_ident(), seen

        async with bridged() as bridge:
            for n in range(2):
                assert await bridge.call(bridge.visit, visited, n) == (n, host, "opener")
        assert variable.get() == "opener"

    run(main)


def test_a_cancelled_visit_is_cancelled_here_and_waited_for() -> None:
    """Trio's cancellation becomes CancelledError in the coroutine, which unwinds before it goes on over there."""

    async def test(bridge: Bridge) -> None:
        steps: list[str] = []
        begun = asyncio.Event()

        async def visited() -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                steps.append("cancelled")
                await asyncio.sleep(0.02)
                steps.append("unwound")
                raise

        async def act() -> None:
            try:
                await bridge.visit(visited)
            finally:
                steps.append("over there")

        task = asyncio.create_task(bridge.call(act))
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        assert steps == ["cancelled", "unwound", "over there"]

    crossing(test)


def test_a_result_that_comes_in_spite_of_a_cancellation_counts() -> None:
    """As in Trio, code that returns, or fails, while it is cancelled has returned, or failed."""

    async def test(bridge: Bridge) -> None:
        async def stubborn() -> str:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "all the same"
            return "never"

        async def act() -> str:
            with trio.move_on_after(0.01):
                return await bridge.visit(stubborn)
            return "cancelled"

        assert await bridge.call(act) == "all the same"

    crossing(test)


def test_code_that_does_not_unwind_is_left_behind_when_the_host_leaves() -> None:
    """The end of the runtime gives cancelled code its time, and not more."""

    async def main() -> None:
        begun, free = asyncio.Event(), asyncio.Event()

        async def deaf() -> None:
            begun.set()
            while not free.is_set():
                try:
                    await free.wait()
                except asyncio.CancelledError:
                    continue

        try:
            async with bridged(patience_seconds=0.05) as bridge:
                task = asyncio.create_task(bridge.call(bridge.visit, deaf))
                await begun.wait()
            with pytest.raises(RuntimeClosed):
                await task
        finally:
            free.set()

    run(main)


def test_a_host_whose_loop_is_closed_ends_the_runtime() -> None:
    """A loop that was closed without leaving the block takes its thread with it."""
    threads: list[threading.Thread] = []

    async def main() -> None:
        bridge = Bridge(asyncio.get_running_loop())
        portal = Portal(bridge, nothing, name="actors abandoned", patience_seconds=0.05)
        await portal.__aenter__()
        threads.append(portal._thread)

        async def tell() -> None:
            while bridge.host(lambda: None):  # noqa: ASYNC110 - the end of the other loop is no event
                await trio.sleep(0.005)

        bridge.soon(lambda: bridge.nursery.start_soon(tell))

    asyncio.run(main())
    threads[0].join(5)
    assert not threads[0].is_alive()
