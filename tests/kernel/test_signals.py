"""A bell that coalesces rings, and a reply to one question."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.kernel.signals import Doorbell, Reply


async def _expect(reply: Reply[int]) -> None:
    with pytest.raises(ValueError, match="no"):
        await reply.wait()


async def test_rings_coalesce(nursery: trio.Nursery) -> None:
    """However often a doorbell is rung, the one who waits wakes once; a ring before the wait is not lost."""
    bell = Doorbell()
    woken: list[int] = []

    async def wait() -> None:
        while True:
            await bell.wait()
            woken.append(1)

    bell.ring()
    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert len(woken) == 1
    bell.ring()
    bell.ring()
    await trio.testing.wait_all_tasks_blocked()
    assert len(woken) == 2
    nursery.cancel_scope.cancel()


async def test_reply_gives_answers_and_errors() -> None:
    """A reply gives its answer to whoever waits, before or after it came; an error is raised there."""
    early: Reply[int] = Reply()
    early.give(1)
    assert await early.wait() == 1
    late: Reply[int] = Reply()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: _expect(late))
        await trio.testing.wait_all_tasks_blocked()
        late.refuse(ValueError("no"))
