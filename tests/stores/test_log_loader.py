"""Logs that are in the journal alone: loaded in parts, the newest first, and only what is asked for."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.log import Log, NotAtHand
from actors.limits import Limits
from actors.stores.journal import Effect, Row
from actors.stores.log_loader import LocalView, LogLoader
from actors.stores.progress import Progress
from actors.stores.state import StoreState
from actors.testing.determinism import run
from actors.testing.journal import Disk, SimJournal
from tests.stores.desk import PLENTY

Load = tuple[int, int]


class Shelf(SimJournal):
    """Has the events of one log, but for some that are damaged; notes what is asked of it."""

    def __init__(self, damaged: frozenset[int] = frozenset(), seconds: float = 0.0) -> None:
        super().__init__(Disk())
        self.damaged = damaged
        self.seconds = seconds
        self.low = 1
        self.asked: list[Load] = []
        self.on_load: Callable[[], object] = lambda: None

    async def load(self, user_id: str, first: int, last: int) -> list[Row]:
        self.asked.append((first, last))
        await trio.sleep(self.seconds)
        self.on_load()
        offsets = range(max(first, self.low), last + 1)[:100]
        return [Row(offset, None if offset in self.damaged else b"{%d}" % offset) for offset in offsets]


def restored(head: int, low: int = 1) -> StoreState:
    """A state whose one log has no event at hand."""
    state = StoreState(Limits(), wall_clock=lambda: 0.0, new_epoch=lambda: "ep", effects=list[Effect]())
    count = head - low + 1
    log = Log.restore("ep", (), low=low, times=array("d", [0.0] * count), sizes=array("I", [3] * count))
    state.restore_log("alice", log, 0.0)
    return state


def there(log: Log) -> list[int]:
    """The offsets that can be read from the first at hand on."""
    offsets, first = list[int](), log.at_hand
    while (chunk := log.read(first, PLENTY)).first <= chunk.last:
        offsets += range(chunk.first, chunk.last + 1)
        first = chunk.last + 1
    return offsets


async def test_only_what_is_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    """Events come in parts of 256, the newest first; what is at hand is not loaded again."""
    state, shelf = restored(600), Shelf()
    loader, log = LogLoader(state, shelf), state.log("alice")
    await loader.fill("alice", 590)
    assert (log.at_hand, shelf.asked) == (590, [(590, 600)])
    await loader.fill("alice", 595)
    assert len(shelf.asked) == 1
    await loader.fill("alice", 1)
    assert there(log) == list(range(1, 601))
    begins = [first for first, last in shelf.asked if last in {600, 589, 333, 77}]
    assert begins[:4] == [590, 334, 434, 534], "parts are read in order, a few rows at a time"


@given(
    head=st.integers(0, 700),
    low=st.integers(1, 50),
    wanted=st.lists(st.integers(1, 720), min_size=1, max_size=4),
    damaged=st.frozensets(st.integers(1, 700), max_size=5),
    at_once=st.booleans(),
)
def test_a_loaded_log_is_what_it_was(
    head: int, low: int, wanted: list[int], damaged: frozenset[int], at_once: bool
) -> None:
    """However many tasks ask for whichever parts, the log ends with every event from the lowest of those on, but for
    the damaged ones, and each of these is told once."""
    head = max(head, low - 1)
    shelf = Shelf(damaged, 0.01)

    async def main(seed: int) -> tuple[StoreState, LogLoader]:
        state = restored(head, low)
        loader = LogLoader(state, shelf)
        async with trio.open_nursery() as nursery:
            for first in wanted:
                nursery.start_soon(loader.fill, "alice", first)
                if not at_once:
                    await trio.sleep(1)
        return state, loader

    state, loader = run(main, 0)
    first = max(min(wanted), low)
    whole = range(first, head + 1)
    assert there(state.log("alice")) == [offset for offset in whole if offset not in damaged]
    told = [offset for _, begin, end in loader.damaged() for offset in range(begin, end + 1)]
    assert sorted(told) == sorted(damaged & set(whole))
    assert loader.damaged() == ()


@asynccontextmanager
async def half_loaded(state: StoreState, shelf: Shelf) -> AsyncIterator[None]:
    """A block of time while a log is on its way."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(LogLoader(state, shelf).fill, "alice", 1)
        await trio.sleep(shelf.seconds / 2)
        yield


async def test_a_log_that_loses_its_oldest_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    """What has left the log, or the journal, by the time it comes is not brought, and nobody waits for it."""
    state, shelf = restored(20), Shelf(seconds=1.0)
    log = state.log("alice")
    async with half_loaded(state, shelf):
        log.trim(5, PLENTY)
        shelf.low = 18
    assert (log.low, log.at_hand) == (16, 16)
    assert there(log) == [18, 19, 20]


async def test_a_log_that_is_let_go_of_meanwhile(autojump_clock: trio.testing.MockClock) -> None:
    """A log that was emptied and forgotten on the way is not mistaken for the one that follows."""
    state, shelf = restored(20), Shelf(seconds=1.0)
    async with half_loaded(state, shelf):
        state.log("alice").expire(1.0)
        assert state.forget("alice")
    assert (state.log("alice").low, state.log("alice").head) == (21, 20)


async def test_a_journal_that_cannot_read(autojump_clock: trio.testing.MockClock) -> None:
    """What the journal raises reaches the task that asked, and another one may ask again."""
    state, shelf = restored(20), Shelf()

    def fail() -> None:
        raise OSError("the disk is gone")

    shelf.on_load = fail
    loader = LogLoader(state, shelf)
    with pytest.raises(OSError, match="the disk is gone"):
        await loader.fill("alice", 1)
    shelf.on_load = lambda: None
    await loader.fill("alice", 1)
    assert there(state.log("alice")) == list(range(1, 21))


async def test_a_view_reads_what_was_filled(autojump_clock: trio.testing.MockClock) -> None:
    """A view raises for what is in the journal alone, and reads it after a fill; acks of another epoch are no acks."""
    state, progress = restored(20), Progress()
    view = LocalView("alice", state, loader=LogLoader(state, Shelf()), progress=progress)
    with pytest.raises(NotAtHand):
        view.read(7, PLENTY)
    await view.fill(7)
    assert (view.read(7, PLENTY).first, view.read(7, PLENTY).last) == (7, 20)
    view.confirm("another", ((1, 2),), 2)
    assert not progress.waits
    view.confirm(view.bounds.epoch, ((1, 2),), 2)
    assert progress.of("alice") == (((1, 2),), 2)
