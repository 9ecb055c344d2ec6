"""Signals: who gets them, in which order."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

from actors.asgi.signals import drain_first, wait_for_signal
from tests.asgi.test_asyncio_host import on_asyncio

NUMBERS = [signal.SIGTERM, signal.SIGINT]


async def until(ready: Callable[[], bool]) -> None:
    """Until something is so; signals ring no bell of a loop."""
    while not ready():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0)


@pytest.fixture
def handled() -> Iterator[list[str]]:
    """What happened; a handler of SIGTERM, as a server has one, notes when it is called."""
    happened: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: happened.append("stop"))
    yield happened
    signal.signal(signal.SIGTERM, before)


def test_first_the_drain(handled: list[str]) -> None:
    """The server's handler is called when the drain is over, and put back afterwards."""

    async def main() -> None:
        async def drain() -> None:
            handled.append("drain")
            await asyncio.sleep(0)
            handled.append("drained")

        before = signal.getsignal(signal.SIGTERM)
        with drain_first(drain):
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: "stop" in handled)
        assert signal.getsignal(signal.SIGTERM) is before

    asyncio.run(main())
    assert handled == ["drain", "drained", "stop"]


def test_the_second_does_not_wait(handled: list[str]) -> None:
    """A second signal goes to the server at once; and so it does, late, when the drain fails."""

    async def main() -> None:
        async def drain() -> None:
            handled.append("drain")
            await until(lambda: "stop" in handled)
            raise ZeroDivisionError

        loop, errors = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: errors.append(context))
        with drain_first(drain):
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: "drain" in handled)
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: handled.count("stop") == 2)

    asyncio.run(main())
    assert handled == ["drain", "stop", "stop"]


@pytest.mark.parametrize("where", ["no handler", "another thread"])
def test_where_there_is_nothing_to_chain(where: str) -> None:
    """Without a handler of the server's, and in another thread, nothing is changed."""
    before = signal.getsignal(signal.SIGTERM)
    assert before is signal.SIG_DFL

    async def drain() -> None:
        pytest.fail("drained")

    async def main() -> None:
        with drain_first(drain):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    if where == "no handler":
        asyncio.run(main())
    else:
        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        thread.join()


def test_a_handler_that_came_later_stays(handled: list[str]) -> None:
    """Whoever takes the signal meanwhile keeps it."""

    async def drain() -> None:
        pytest.fail("drained")

    async def main() -> None:
        with drain_first(drain):
            signal.signal(signal.SIGTERM, later)

    def later(*_: Any) -> None:
        """Nothing."""

    asyncio.run(main())
    assert signal.getsignal(signal.SIGTERM) is later


@pytest.mark.parametrize("number", NUMBERS)
async def test_waited_for_on_trio(number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the wait, and the next one means what it did before."""
    before = signal.getsignal(number)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_signal)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", NUMBERS)
def test_waited_for_on_asyncio(number: signal.Signals) -> None:
    """The same on asyncio."""

    @on_asyncio
    async def waits() -> None:
        waiting = asyncio.create_task(wait_for_signal())
        await asyncio.sleep(0)
        os.kill(os.getpid(), number)
        await waiting

    before = signal.getsignal(number)
    waits()
    assert signal.getsignal(number) == before
