"""A visit: how the end of a task of the host's looks to the runtime."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

from actors.aio.bridge import Bridge
from actors.aio.visit import HostCancelled
from actors.checks import NotAwaitable
from tests.aio.test_bridge import crossing, raised


def test_what_it_raises_is_raised_over_there() -> None:
    """Exceptions, SystemExit among them, go to the runtime, and end no loop."""

    async def test(bridge: Bridge) -> None:
        async def fail(error: BaseException) -> None:
            raise error

        for error in (ValueError("x"), SystemExit(1)):
            assert await raised(bridge.call(bridge.visit, fail, error)) is error

    crossing(test)


def test_a_cancellation_by_the_host_is_told_from_one_that_leaked() -> None:
    """A task that the host cancels was cancelled; one that awaited something cancelled has failed."""

    async def test(bridge: Bridge) -> None:
        async def cancelled() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(60)

        async def leaking() -> None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

        with pytest.raises(HostCancelled):
            await bridge.call(bridge.visit, cancelled)

        assert isinstance(await raised(bridge.call(bridge.visit, leaking)), asyncio.CancelledError)

    crossing(test)


def test_a_function_that_cannot_be_awaited_is_said_to_be_none() -> None:
    """A lambda that returns a number is an error with its name, as it is under Trio."""

    async def test(bridge: Bridge) -> None:
        plain: Any = lambda: 1  # noqa: E731 - a function without async is the subject
        with pytest.raises(NotAwaitable, match="expected a coroutine function"):
            await bridge.call(bridge.visit, plain)

    crossing(test)


def test_one_that_is_cancelled_before_its_first_step_has_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that never began returned nothing, and least of all None."""

    async def test(bridge: Bridge) -> None:
        said, host = threading.Event(), bridge.host

        def tell(function: Callable[..., object], *args: Any) -> bool:
            is_told = host(function, *args)
            if function.__name__ == "cancel":
                said.set()
            return is_told

        async def visit() -> tuple[bool, list[Any]]:
            got: list[Any] = []
            with trio.CancelScope() as scope:
                scope.cancel()
                got.append(await bridge.visit(asyncio.sleep, 60))
            return scope.cancelled_caught, got

        monkeypatch.setattr(bridge, "host", tell)
        call = asyncio.create_task(bridge.call(visit))
        await asyncio.sleep(0)
        said.wait(10)  # this loop is busy, and finds both orders at once
        assert await call == (True, [])

    crossing(test)
