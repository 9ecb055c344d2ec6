"""The tree of a runtime, as its page draws it."""

from __future__ import annotations

import re

import trio

import actors
from actors import tree
from actors.stores.memory import MemoryStore


def drawn() -> list[str]:
    """The names of the parts in the drawing, from the top."""
    return re.findall(r"^ .*?[┬├└] (\w+)", tree.__doc__ or "", re.MULTILINE)


async def ignore(fate: actors.Fate) -> None:
    """Take the fate of an event that no device acked."""


async def test_the_parts_start_in_the_order_of_the_drawing() -> None:
    """Each part stands where it is started; the watch over undelivered events is there for those who ask for it."""
    async with actors.open_runtime(on_undelivered=ignore) as runtime:
        assert [child.name for child in runtime.tree.supervisor().children] == drawn()
    async with actors.open_runtime() as runtime:
        assert [child.name for child in runtime.tree.supervisor().children] == drawn()[:-1]


class Watched(MemoryStore):
    """A store that looks at the runtime when it is to end."""

    runtime: actors.Runtime
    refused = False

    async def run(
        self,
        limits: actors.Limits,
        environment: actors.Environment,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run, and then see that the runtime takes no event any more."""
        try:
            await super().run(limits, environment, task_status=task_status)
        finally:
            try:
                self.runtime.thread("t").emit_nowait("late", {})
            except actors.RuntimeClosed:
                self.refused = True


async def test_the_store_is_closed_last() -> None:
    """When the store ends no part of the runtime takes anything any more that it would have to keep."""
    store = Watched()
    async with actors.open_runtime(store=store) as store.runtime:
        await store.runtime.thread("t").emit("x", {}, user_id="alice")
        assert not store.refused
    assert store.refused
