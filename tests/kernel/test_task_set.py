"""Tasks in another's nursery, cancelled and awaited together."""

from __future__ import annotations

import contextvars

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.kernel.task_set import TaskSet


def ignored(error: BaseException) -> None:
    raise AssertionError(error)


async def test_cancel(nursery: trio.Nursery) -> None:
    """Cancels the tasks that are here and those to come, and none of the nursery's others."""
    tasks, others, ended = TaskSet(nursery, ignored), trio.Event(), list[str]()

    async def work(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(name)

    nursery.start_soon(others.wait)
    for name in "ab":
        tasks.start_soon(work, name)
    await wait_all_tasks_blocked()
    assert len(tasks) == 2
    tasks.cancel()
    await tasks.wait_ended()
    assert sorted(ended) == ["a", "b"]
    tasks.start_soon(work, "late")
    await tasks.wait_ended()
    assert ended[-1] == "late"
    assert len(nursery.child_tasks) == 1
    others.set()


async def test_a_failure_is_one_task_s(nursery: trio.Nursery) -> None:
    """It is reported, and stops neither the others nor the nursery."""
    errors: list[BaseException] = []
    tasks, go = TaskSet(nursery, errors.append), trio.Event()

    async def fail() -> None:
        raise ValueError("no")

    tasks.start_soon(go.wait)
    tasks.start_soon(fail)
    await wait_all_tasks_blocked()
    assert [str(error) for error in errors] == ["no"]
    assert len(tasks) == 1
    go.set()
    await tasks.wait_ended()
    assert len(tasks) == 0


@pytest.mark.parametrize("shield", [False, True])
async def test_a_nursery_that_is_cancelled(shield: bool) -> None:
    """Takes its tasks with it, unless they are shielded: those end when their owner says so."""
    done: list[str] = []

    async def work() -> None:
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        done.append("done")

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            TaskSet(nursery, ignored, shield=shield).start_soon(work)
            scope.cancel()
    assert done == (["done"] if shield else [])


async def test_waiting_for_the_end_cannot_be_cancelled(nursery: trio.Nursery) -> None:
    """As with a nursery, because what the tasks use is theirs until then."""
    tasks, go = TaskSet(nursery, ignored, shield=True), trio.Event()
    order: list[str] = []

    async def work() -> None:
        with trio.CancelScope(shield=True):
            await go.wait()
        order.append("task")

    async def release() -> None:
        await wait_all_tasks_blocked()
        go.set()

    tasks.start_soon(work)
    nursery.start_soon(release)
    with trio.CancelScope() as scope:
        scope.cancel()
        await tasks.wait_ended()
        order.append("owner")
    assert order == ["task", "owner"]


async def test_waiting_until_idle(nursery: trio.Nursery) -> None:
    """It can be given up, and leaves the tasks as they are."""
    tasks, go = TaskSet(nursery, ignored), trio.Event()
    await tasks.wait_idle()
    tasks.start_soon(go.wait)
    with trio.CancelScope() as scope:
        scope.cancel()
        await tasks.wait_idle()
    assert (scope.cancelled_caught, len(tasks)) == (True, 1)
    go.set()
    await tasks.wait_idle()
    assert len(tasks) == 0


async def test_context(nursery: trio.Nursery) -> None:
    """Tasks run in the context of the set's owner, also those of a set in a set; none changes it for the others."""
    variable, seen = contextvars.ContextVar("variable", default="nobody"), list[str]()

    async def look() -> None:
        seen.append(variable.get())
        variable.set("task")

    variable.set("owner")
    tasks = TaskSet(TaskSet(nursery, ignored), ignored)
    variable.set("passer-by")
    for _ in range(2):
        tasks.start_soon(look)
        await tasks.wait_ended()
    assert seen == ["owner", "owner"]


async def test_around(nursery: trio.Nursery) -> None:
    """A task of the set, and one that it started, are inside; any other is not."""
    tasks, inside = TaskSet(nursery, ignored), list[bool]()

    async def look() -> None:
        inside.append(tasks.is_around)

    async def look_below() -> None:
        async with trio.open_nursery() as below:
            below.start_soon(look)

    tasks.start_soon(look)
    tasks.start_soon(look_below)
    await tasks.wait_ended()
    assert inside == [True, True]
    assert not tasks.is_around
