"""A visit, hosted by a test: which tasks it has, and how often it is seen off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.server.visit import Visit
from actors.wire.endpoint import Endpoint


@attrs.define
class Hostess:
    """A host of one visit."""

    serve: Callable[[], Awaitable[bool]]
    said: list[str] = attrs.field(factory=list)

    async def welcome(self, visit: Visit) -> bool:
        self.said.append("welcome")
        return await self.serve()

    async def see_off(self, visit: Visit) -> None:
        self.said.append("seeing off")
        await trio.lowlevel.checkpoint()
        self.said.append("seen off")

    def report(self, visit: Visit, error: BaseException) -> None:
        self.said.append(str(error))

    def visit(self, nursery: trio.Nursery) -> Visit:
        visit = Visit(cast(Endpoint, Any), self, nursery=nursery, on_gone=lambda: self.said.append("gone"), shield=True)
        visit.begin()
        return visit


async def idle() -> bool:
    return True


async def answered() -> bool:
    return False


async def fails() -> bool:
    raise ValueError("no")


async def test_idle(nursery: trio.Nursery) -> None:
    """An idle connection has no task; when it leaves, it has one again."""
    hostess = Hostess(idle)
    visit = hostess.visit(nursery)
    await wait_all_tasks_blocked()
    assert hostess.said == ["welcome"]
    assert (len(visit.tasks), len(nursery.child_tasks)) == (0, 0)
    visit.leave()
    await wait_all_tasks_blocked()
    assert hostess.said == ["welcome", "seeing off", "seen off", "gone"]
    visit.cancel()
    await wait_all_tasks_blocked()
    assert hostess.said[-1] == "gone"


@pytest.mark.parametrize(("serve", "said"), [(answered, []), (fails, ["no"])])
async def test_no_connection(nursery: trio.Nursery, serve: Callable[[], Awaitable[bool]], said: list[str]) -> None:
    """One that was answered, or failed, is seen off at once; a failure is reported."""
    hostess = Hostess(serve)
    hostess.visit(nursery)
    await wait_all_tasks_blocked()
    assert hostess.said == ["welcome", "seeing off", "seen off", "gone", *said]


@pytest.mark.parametrize("serve", [idle, trio.sleep_forever])
async def test_cancelled(nursery: trio.Nursery, serve: Callable[[], Awaitable[bool]]) -> None:
    """Idle or not, it is seen off once, as it stands, and is gone."""
    hostess = Hostess(serve)
    visit = hostess.visit(nursery)
    await wait_all_tasks_blocked()
    visit.cancel()
    visit.cancel()
    await wait_all_tasks_blocked()
    assert hostess.said == ["welcome", "seeing off", "gone"]


async def test_cancelled_after_the_last_checkpoint(nursery: trio.Nursery) -> None:
    """A welcome that no longer notices a cancellation leaves no idle connection behind."""

    async def cancel_and_go_idle() -> bool:
        visit.cancel()
        return True

    hostess = Hostess(cancel_and_go_idle)
    visit = hostess.visit(nursery)
    for _ in range(2):
        await wait_all_tasks_blocked()
        assert hostess.said == ["welcome", "seeing off", "gone"]
        visit.leave()


async def test_leaves_once(nursery: trio.Nursery) -> None:
    """A reason to leave that comes while it is being seen off changes nothing."""
    hostess = Hostess(idle)
    visit = hostess.visit(nursery)
    await wait_all_tasks_blocked()
    visit.cancel()
    visit.leave()
    await wait_all_tasks_blocked()
    assert hostess.said == ["welcome", "seeing off", "gone"]
