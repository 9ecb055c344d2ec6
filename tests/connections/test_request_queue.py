"""The requests of one device: their order, and how many."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import trio
from trio.testing import wait_all_tasks_blocked

from actors.connections.request_queue import RequestQueue
from actors.context import Context
from actors.environment import Environment
from actors.kernel.failures import Failures
from actors.limits import Limits
from actors.observability.instrument import Instruments
from actors.protocol.client_messages import CancelRun, ReadThread, Request
from actors.wire.transport import Transport


class Desk:
    """A place that carries requests out when it is told to, and a transport that may be full."""

    def __init__(self) -> None:
        self.begun: list[str | int] = []
        self.refused: list[dict[str, Any]] = []
        self.may_go_on = trio.Event()
        self.has_room = trio.Event()
        self.has_room.set()

    async def answer(self, request: Request) -> bytes:
        """Begin at once, and answer when it may."""
        self.begun.append(request.id)
        await self.may_go_on.wait()
        return b"{}"

    def write(self, frames: bytes) -> None:
        """Take a reply."""

    def write_control(self, frames: bytes) -> None:
        """Take a refusal."""
        self.refused.append(json.loads(frames[frames.index(b"{") :]))

    async def emptied(self) -> None:
        """Wait until there is room."""
        await self.has_room.wait()


@asynccontextmanager
async def queue(most: int = 3) -> AsyncIterator[tuple[Desk, RequestQueue]]:
    desk, environment = Desk(), Environment()
    failures = Failures(10, environment.wall_clock)
    context = Context(
        limits=Limits(requests=most), environment=environment, failures=failures, instruments=Instruments(failures)
    )
    async with trio.open_nursery() as nursery:
        yield desk, RequestQueue(nursery, cast(Transport, desk), answer=desk.answer, context=context)
        nursery.cancel_scope.cancel()


async def test_one_after_the_other() -> None:
    """Requests are carried out in the order in which they came; a cancel overtakes those that wait."""
    async with queue() as (desk, requests):
        for request in (ReadThread("a", "t"), ReadThread("b", "t"), CancelRun("c", "r")):
            requests.take(request)
        await wait_all_tasks_blocked()
        assert sorted(map(str, desk.begun)) == ["a", "c"]
        desk.may_go_on.set()
        await wait_all_tasks_blocked()
        assert desk.begun[-1] == "b"


async def test_too_many() -> None:
    """One that is over the bound is refused, and there is room again when an answer was taken."""
    async with queue(most=1) as (desk, requests):
        requests.take(ReadThread("a", "t"))
        requests.take(ReadThread("b", "t"))
        assert [(one["id"], one["error"]["name"]) for one in desk.refused] == [("b", "too_many_requests")]
        desk.may_go_on.set()
        await wait_all_tasks_blocked()
        requests.take(ReadThread("c", "t"))
        await wait_all_tasks_blocked()
        assert desk.begun == ["a", "c"]


async def test_a_device_that_does_not_read() -> None:
    """It is answered once: the next request waits until the socket has taken the reply, and counts as open."""
    async with queue(most=2) as (desk, requests):
        desk.has_room = trio.Event()
        desk.may_go_on.set()
        requests.take(ReadThread("a", "t"))
        requests.take(ReadThread("b", "t"))
        await wait_all_tasks_blocked()
        assert desk.begun == ["a"]
        assert "open=2 of 2" in repr(requests)
        desk.has_room.set()
        await wait_all_tasks_blocked()
        assert desk.begun == ["a", "b"]
        assert "open=0 of 2" in repr(requests)
