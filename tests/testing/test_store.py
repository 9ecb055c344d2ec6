"""The stores of a simulation: one that forks, and one that has to be waited for."""

from __future__ import annotations

import trio
import trio.testing

from actors.delivery.bounds import Bounds
from actors.environment import Environment
from actors.limits import Limits
from actors.stages import Promise
from actors.stores.store import Answer, Append, Bind, Placement
from actors.testing.store import FaultyMemoryStore, FaultyStore


async def test_a_store_that_forks() -> None:
    """A memory store can be made to lose the newest events of a log, which goes on in another epoch."""
    store, answers = FaultyMemoryStore(), list[Answer]()
    store.open(Limits(), Environment())
    store.submit(Bind("t", "alice", take=False), lambda act, answer: None)
    for _ in range(3):
        store.submit(Append("t", "e", b"{"), lambda act, answer: answers.append(answer))
    assert isinstance(answers[0], Placement)
    forked = store.fork("alice", 2)
    assert (forked.low, forked.head) == (1, 2)
    assert [(one.epoch, one.offset) for one in forked.lineage] == [(answers[0].epoch, 2)]
    assert store.bounds("alice") == forked
    store.journal.faults.append("full")
    store.submit(Append("t", "e", b"{"), lambda act, answer: answers.append(answer))
    assert store.bounds("alice") == Bounds(forked.epoch, 1, 3, forked.lineage), "a fault of the disk has no effect"


async def test_a_store_that_has_to_be_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """A store over a simulated disk answers after its commit, with faults in between, and promises nothing."""
    store, answers = FaultyStore(1.0), list[Answer]()
    assert store.promise is Promise.NOTHING
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, Limits(), Environment())
        began = trio.current_time()
        store.journal.faults.append("unwritten")
        store.submit(Append("t", "e", b"{"), lambda act, answer: answers.append(answer))
        assert answers == []
        await store.settled()
        assert len(answers) == 1
        assert trio.current_time() - began > 2.0
        nursery.cancel_scope.cancel()
