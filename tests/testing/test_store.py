"""A store with faults: what each of them leaves."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.environment import Environment
from actors.errors import StoreUnavailable
from actors.limits import Limits
from actors.stores.store import Append, Placement
from actors.testing.store import Broken, Fault, FaultyStore

APPEND = Append("t", "e", b'{"type":"x"', None, None)


@pytest.mark.parametrize(
    ("fault", "error", "placed"),
    [("lost", StoreUnavailable, 0), ("unanswered", StoreUnavailable, 1), ("broken", Broken, 0)],
)
async def test_faults(fault: Fault, error: type[Exception], placed: int, autojump_clock: object) -> None:
    """A call that is lost or broken was not carried out; of one without an answer only the answer is missing."""
    store = FaultyStore(Limits(), Environment(), seconds=1.0)
    await store.bind("t", "alice", 0.0, take=False)
    store.faults.append(fault)
    with pytest.raises(error):
        await store.append([APPEND], 0.0)
    assert store.bounds("alice").head == placed
    (answer,) = await store.append([APPEND], 0.0)
    assert isinstance(answer, Placement)
    assert store.failed == [fault]


async def test_a_stall(autojump_clock: trio.testing.MockClock) -> None:
    """Calls wait for its end, also for one that was moved, and nothing is placed at once."""
    store = FaultyStore(Limits(), Environment(), seconds=1.0)
    with pytest.raises(trio.WouldBlock):
        store.append_nowait(APPEND, 0.0)
    began = trio.current_time()
    store.stalled_until = began + 3_600.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: store.append([APPEND], 0.0))
        await trio.sleep(5)
        store.heal()
    assert 5 <= trio.current_time() - began < 6


async def test_the_one_call_to_fail() -> None:
    """A call is failed by its number."""
    store = FaultyStore(Limits(), Environment(), seconds=0.0)
    store.fail_call, store.fail_with = 2, "broken"
    await store.append([APPEND], 0.0)
    with pytest.raises(Broken):
        await store.append([APPEND], 0.0)
    await store.append([APPEND], 0.0)
    assert store.calls == 3
