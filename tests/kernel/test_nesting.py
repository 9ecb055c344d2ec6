"""Where a task is: inside of a block, in whatever task, or beside it."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from actors.kernel.nesting import Block


async def test_inside_and_outside() -> None:
    """Inside are the block's own steps and all tasks in nurseries that it opened, at any depth, however they began;
    outside are those of nurseries that were there before, whoever started them, and those of other tasks."""
    seen: dict[str, bool] = {}
    began: list[Block] = []

    async def look(name: str) -> None:
        await wait_all_tasks_blocked()
        seen[name] = began[0].is_around

    async def deeper() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, "deeper")

    async def in_a_thread() -> None:
        await trio.to_thread.run_sync(trio.from_thread.run, look, "in a thread")

    async with trio.open_nursery() as outer:
        outer.start_soon(look, "beside, before")
        began.append(Block.begin())
        outer.start_soon(look, "beside, from inside")
        await look("here")
        async with trio.open_nursery() as inner:
            for act in (deeper, in_a_thread):
                inner.start_soon(act)
            inner.start_soon(look, "inner")
        trio.lowlevel.spawn_system_task(look, "system task")
        await look("after the inner nursery")
        await wait_all_tasks_blocked()
    assert {name for name, is_inside in seen.items() if is_inside} == {
        "here",
        "deeper",
        "in a thread",
        "inner",
        "after the inner nursery",
    }
    assert len(seen) == 8
