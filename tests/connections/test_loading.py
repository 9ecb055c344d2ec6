"""Loading for one device: one task at a time, and the device is written to again when it has ended."""

from __future__ import annotations

import trio
import trio.testing

from actors.connections.loading import Loading
from actors.delivery.bounds import Bounds, Chunk, Spans
from actors.errors import StoreError


class Shelf:
    """A view of which each fill takes a second."""

    bounds = Bounds("ep", 1, 9)

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.error: Exception | None = None

    def read(self, first: int, most_bytes: int) -> Chunk:
        raise AssertionError("the device reads")

    async def fill(self, first: int) -> None:
        self.asked.append(first)
        await trio.sleep(1)
        if self.error is not None:
            raise self.error

    def confirm(self, epoch: str, acked: Spans, written: int) -> None:
        """Take no note."""

    def close(self) -> None:
        """Keep nothing."""


async def test_one_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    """Each flush may ask again; there is one task, and the next only when that has ended."""
    view, loaded, failed = Shelf(), list[float](), list[BaseException]()
    async with trio.open_nursery() as nursery:
        loading = Loading(nursery, on_loaded=lambda: loaded.append(trio.current_time()), on_failed=failed.append)
        assert (loading.busy, repr(loading)) == (False, "<Loading idle>")
        for first in (3, 4):
            loading.begin(view, first)
        await trio.sleep(0.5)
        loading.begin(view, 5)
        assert (loading.busy, repr(loading), loaded) == (True, "<Loading busy>", [])
        await trio.sleep(1)
        assert (loading.busy, len(loaded)) == (False, 1)
        loading.begin(view, 6)
    assert (view.asked, len(loaded), failed) == ([3, 6], 2, [])


async def test_a_failure_is_the_devices_own(autojump_clock: trio.testing.MockClock) -> None:
    """What the store raises is handed on, and harms no other task; after it the device may ask again."""
    view, failed = Shelf(), list[BaseException]()
    view.error = StoreError("the file is damaged")
    async with trio.open_nursery() as nursery:
        loading = Loading(nursery, on_loaded=lambda: None, on_failed=failed.append)
        loading.begin(view, 1)
        await trio.sleep(2)
        assert (failed, loading.busy) == ([view.error], False)


async def test_a_device_that_goes(autojump_clock: trio.testing.MockClock) -> None:
    """Loading ends with its connection, and that is no failure."""
    view, loaded, failed = Shelf(), list[None](), list[BaseException]()
    async with trio.open_nursery() as nursery:
        Loading(nursery, on_loaded=lambda: loaded.append(None), on_failed=failed.append).begin(view, 1)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    assert (loaded, failed) == ([], [])
