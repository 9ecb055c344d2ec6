"""The offset at which a device starts, those it was handed, those it acked."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.bounds import Bounds, Start
from actors.delivery.cursor import Cursor, start
from actors.delivery.lineage import Fork, Lineage, fork
from actors.errors import PeerError
from actors.protocol.client_messages import Origin

LOG = Bounds("e1", low=11, head=20)
EMPTY = Bounds("e1", low=21, head=20)


@pytest.mark.parametrize(
    ("bounds", "resume", "expected"),
    [
        # in this epoch and in the log: from the next one on
        (LOG, ("e1", 15), Start("replayed", 16)),
        (LOG, ("e1", 20), Start("replayed", 21)),
        (LOG, ("e1", 10), Start("replayed", 11)),
        (EMPTY, ("e1", 20), Start("replayed", 21)),
        # older than the log: what is gone is named, and the log begins
        (LOG, ("e1", 9), Start("gap", 11, (10, 10))),
        (LOG, ("e1", 0), Start("gap", 11, (1, 10))),
        (EMPTY, ("e1", 15), Start("gap", 21, (16, 20))),
        # another log, or this one rewound: from its beginning
        (LOG, ("e0", 15), Start("reset", 11)),
        (LOG, ("e1", 21), Start("reset", 11)),
        (EMPTY, ("e0", 20), Start("reset", 21)),
    ],
)
def test_a_device_with_a_cursor(bounds: Bounds, resume: tuple[str, int], expected: Start) -> None:
    """A device goes on behind what it saw, or is told what it cannot have any more."""
    assert start(bounds, resume, "unacked", first_unacked=13) == expected


@pytest.mark.parametrize(("origin", "offset"), [("unacked", 13), ("low", 11), ("head", 21)])
def test_a_device_without_a_cursor(origin: Origin, offset: int) -> None:
    """A device that brings no cursor starts where it asks to."""
    assert start(LOG, None, origin, first_unacked=13) == Start("fresh", offset)


@given(low=st.integers(1, 20), size=st.integers(0, 20), seen=st.integers(0, 45))
def test_no_offset_is_missing_in_silence(low: int, size: int, seen: int) -> None:
    """The offsets a device has seen, those it is told are gone, and those it will be sent are the whole log, each
    once."""
    bounds = Bounds("e", low, low + size - 1)
    begin = start(bounds, ("e", seen), "unacked", low)
    gone = range(begin.gap[0], begin.gap[1] + 1) if begin.gap is not None else range(0)
    had = range(1, seen + 1) if begin.kind != "reset" else range(1, low)
    assert [*had, *gone, *range(begin.offset, bounds.head + 1)] == list(range(1, bounds.head + 1))
    assert (begin.kind == "reset") == (seen > bounds.head)


FORKED = attrs.evolve(LOG, lineage=(Fork("e9", 12), Fork("e0", 18)))


@pytest.mark.parametrize(
    ("resume", "expected"),
    [
        (("e0", 15), Start("renamed", 16, fork=18)),
        (("e0", 18), Start("renamed", 19, fork=18)),
        (("e0", 10), Start("renamed", 11, fork=18)),
        (("e0", 9), Start("gap", 11, (10, 10), fork=18)),
        (("e0", 19), Start("reset", 11)),
        (("e9", 12), Start("renamed", 13, fork=12)),
        (("e9", 13), Start("reset", 11)),
        (("e1", 15), Start("replayed", 16)),
    ],
)
def test_a_cursor_in_a_former_epoch(resume: tuple[str, int], expected: Start) -> None:
    """Up to the fork a cursor in a former epoch is as good as one in the present epoch; a device that does not know
    the word is reset."""
    assert start(FORKED, resume, "unacked", first_unacked=13) == expected
    before = expected if resume[0] == "e1" else Start("reset", 11)
    assert start(FORKED, resume, "unacked", first_unacked=13, renames=False) == before


histories = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=10)


@given(histories, st.data())
def test_a_device_that_goes_on_has_what_the_log_has(history: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """Of a log that loses its newest events under one name after another, a device is told to go on exactly if all that
    it has seen is still so; then it has seen, is told to be gone, or is sent each event of the log."""
    log: list[object] = []
    shown: dict[str, list[object]] = {}
    low = 1
    lineage: Lineage = ()
    for number, (placed, lost, gone) in enumerate(history):
        log += [object() for _ in range(placed)]
        shown[f"e{number}"] = list(log)
        del log[max(len(log) - lost, 0) :]
        low = min(low + gone, len(log) + 1)
        lineage = fork(lineage, f"e{number}", len(log))
    epoch = data.draw(st.sampled_from(sorted(shown)))
    seen = shown[epoch][: data.draw(st.integers(0, len(shown[epoch])))]
    begin = start(Bounds("present", low, len(log), lineage), (epoch, len(seen)), "unacked", low)
    assert (begin.kind != "reset") == (seen == log[: len(seen)])
    if begin.kind != "reset":
        first, last = begin.gap or (len(seen) + 1, len(seen))
        assert [*seen, *log[first - 1 : last], *log[begin.offset - 1 :]] == log


steps = st.lists(
    st.tuples(st.sampled_from(["advance", "skip", "ack"]), st.integers(0, 6)),
    max_size=50,
)


@given(first=st.integers(1, 5), steps=steps)
def test_cursor_agrees_with_a_set(first: int, steps: list[tuple[str, int]]) -> None:
    """An acknowledgement confirms what was handed out up to it, once, and nothing that was skipped."""
    cursor, open_, position = Cursor(first), set[int](), first - 1
    for name, count in steps:
        if name == "advance" and count:
            cursor.advance(position + 1, position + count)
            open_ |= set(range(position + 1, position + count + 1))
            position += count
        elif name == "skip":
            assert cursor.skip(position + count) == ((position + 1, position + count - 1) if count > 1 else None)
            position = max(position, position + count - 1)
        elif name == "ack":
            offset = position - count
            spans = cursor.ack(offset)
            assert [o for low, high in spans for o in range(low, high + 1)] == sorted(o for o in open_ if o <= offset)
            assert all(low[1] + 1 < high[0] for low, high in pairwise(spans))
            open_ = {o for o in open_ if o > offset}
        assert cursor.position == position
        assert first - 1 <= cursor.acked <= position


def test_confirming_is_cumulative() -> None:
    """The highest acknowledgement counts; an older one that comes late changes nothing."""
    cursor = Cursor(1)
    cursor.advance(1, 10)
    assert cursor.ack(7) == [(1, 7)]
    assert cursor.ack(3) == []
    assert cursor.acked == 7
    assert cursor.ack(7) == []
    assert cursor.ack(10) == [(8, 10)]


def test_an_ack_ahead_is_the_peers_error() -> None:
    """An acknowledgement of what was never sent to this device is its error, and changes nothing."""
    cursor = Cursor(1)
    cursor.advance(1, 5)
    with pytest.raises(PeerError, match=r"at most 5.* got 6") as refused:
        cursor.ack(6)
    assert refused.value.name == "bad_ack"
    assert (cursor.acked, cursor.ack(5)) == (0, [(1, 5)])


def test_what_was_skipped_is_not_confirmed() -> None:
    """A device that was told of a gap confirms both sides of it, and not the gap."""
    cursor = Cursor(1)
    cursor.advance(1, 3)
    assert cursor.skip(6) == (4, 5)
    cursor.advance(6, 8)
    assert cursor.ack(7) == [(1, 3), (6, 7)]
    assert cursor.ack(8) == [(8, 8)]


@pytest.mark.parametrize("first", [2, 4])
def test_handing_out_has_no_hole(first: int) -> None:
    """Handing out anything but the next offset is a bug, and is found at once."""
    cursor = Cursor(3)
    with pytest.raises(AssertionError, match=f"offset {first} handed out after 2"):
        cursor.advance(first, 9)


def test_standing_is_what_this_connection_knows() -> None:
    """A connection never claims what it began after, stepped over, or was not handed."""
    cursor = Cursor(5)
    cursor.advance(5, 6)
    assert cursor.skip(9) == (7, 8)
    cursor.advance(9, 10)
    cursor.ack(9)
    standings = [cursor.standing(offset) for offset in (4, 5, 7, 8, 9, 10, 11)]
    assert standings == ["began later", "acked", "missed", "missed", "acked", "handed", "behind"]


def test_what_was_lost_was_not_handed_out() -> None:
    """A cursor that goes back to a fork has handed out, and can ack, nothing beyond it."""
    cursor = Cursor(1)
    cursor.advance(1, 4)
    cursor.skip(7)
    cursor.advance(7, 9)
    cursor.lose(8)
    assert (cursor.position, cursor.ack(8)) == (8, [(1, 4), (7, 8)])
    cursor.lose(3)
    assert (cursor.position, cursor.acked, cursor.ack(3)) == (3, 3, [])
    cursor.advance(4, 4)
    assert cursor.ack(4) == [(4, 4)]
