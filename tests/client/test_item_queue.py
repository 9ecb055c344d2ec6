"""What waits for the application: its bounds, and what of it can be taken back."""

from __future__ import annotations

import pytest

from actors.client.item_queue import Entry, ItemQueue
from actors.events.items import CaughtUp, Cursor, Gap, Item, Reset


def entry(first: int, last: int | None = None, size: int = 1) -> Entry:
    """An entry of the log ``e``, for a range."""
    last = first if last is None else last
    return Entry(item=Gap(first, last, "retention"), first=first, cursor=Cursor("e", last), size=size)


BESIDE = Entry(item=CaughtUp(1), first=0, cursor=None, size=1)


def queue(*entries: Entry, most_items: int = 100, most_bytes: int = 100) -> ItemQueue:
    """A queue of these."""
    filled = ItemQueue(most_items, most_bytes)
    for one in entries:
        filled.keep(one)
    return filled


def items(of: ItemQueue) -> list[Item]:
    """The items of a queue, which is empty then."""
    return [of.pop().item for _ in range(len(of))]


def test_bounds() -> None:
    """It is full at so many items or so many bytes, and has room again when one is taken."""
    by_items, by_bytes = queue(entry(1), entry(2), most_items=2), queue(entry(1, size=60), entry(2, size=40))
    for full in (by_items, by_bytes):
        assert full.is_full
        full.pop()
        assert not full.is_full


def test_pieces_are_taken_back() -> None:
    """The pieces after an offset are forgotten with their bytes; what stands outside of the log stays."""
    waiting = queue(entry(1), entry(2, size=50), BESIDE, entry(3, size=49), most_bytes=100)
    assert waiting.is_full
    assert waiting.take_back(Cursor("e", 1), None)
    assert not waiting.is_full
    assert items(waiting) == [entry(1).item, BESIDE.item]


@pytest.mark.parametrize(
    ("entries", "after", "given"),
    [
        ([entry(1), entry(2, 4)], 2, None),
        ([entry(3)], 1, Cursor("e", 2)),
        ([entry(3)], 2, None),
        ([entry(3)], 2, Cursor("d", 2)),
    ],
)
def test_pieces_that_cannot_be_taken_back(entries: list[Entry], after: int, given: Cursor | None) -> None:
    """A part of a joined piece, a piece that the application has, and one of another log: everything stays."""
    waiting = queue(*entries)
    assert not waiting.take_back(Cursor("e", after), given)
    assert items(waiting) == [one.item for one in entries]


def test_a_reset_is_forgotten() -> None:
    """What followed the reset in the log goes with it; what stands outside, and what was before, stays."""
    reset = Entry(item=Reset("f", 1), first=1, cursor=Cursor("f", 0), size=0)
    waiting = queue(entry(1), entry(2), reset, entry(1), BESIDE)
    assert waiting.forget_reset() == Cursor("e", 2)
    assert items(waiting) == [entry(1).item, entry(2).item, BESIDE.item]
    assert queue(reset, BESIDE).forget_reset() is None
