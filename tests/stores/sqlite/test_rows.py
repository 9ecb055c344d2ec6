"""Packing: what is written comes back, and what is not what was written has another checksum."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.lineage import Fork
from actors.stages import Cause
from actors.stores.sqlite.rows import (
    Column,
    event_crc,
    lineage_of,
    lineage_text,
    pack,
    pack_places,
    row_crc,
    shed_of,
    shed_text,
    spans_of,
    spans_text,
    unpack,
    unpack_places,
)

OFFSETS = st.integers(1, 2**53)
COLUMNS = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(), st.binary(max_size=40)
)


@given(st.lists(st.tuples(OFFSETS, OFFSETS)).map(tuple))
def test_spans(spans: tuple[tuple[int, int], ...]) -> None:
    """Ranges of offsets come back."""
    assert spans_of(spans_text(spans)) == spans


@given(st.lists(st.builds(Fork, st.text(min_size=1), OFFSETS)).map(tuple))
def test_lineages(lineage: tuple[Fork, ...]) -> None:
    """Former epochs come back, however they are called."""
    assert lineage_of(lineage_text(lineage)) == lineage


@given(st.lists(st.tuples(st.sampled_from(Cause), st.integers(1, 9))).map(tuple))
def test_sheds(shed: tuple[tuple[Cause, int], ...]) -> None:
    """Counts by cause come back, with members of the enumeration."""
    assert shed_of(shed_text(shed)) == shed


@given(st.sampled_from("HIQ").flatmap(lambda code: st.tuples(st.just(code), st.lists(st.integers(0, 65_535)))))
def test_numbers(numbers: tuple[str, list[int]]) -> None:
    """Arrays come back."""
    code, values = numbers
    assert unpack(code, pack(array(code, values))) == array(code, values)


@given(st.lists(st.floats(allow_nan=False)))
def test_times(times: list[float]) -> None:
    """Times come back as the same floats."""
    assert list(unpack("d", pack(array("d", times)))) == times


@given(st.sets(st.integers(0, 2**32 - 1), min_size=1).map(sorted))
def test_places(places: list[int]) -> None:
    """Relative rowids come back, of whatever width."""
    packed = pack_places(array("I", places))
    assert list(unpack_places(packed, len(places))) == places
    assert len(packed) == len(places) * (2 if places[-1] < 65_536 else 4)


def test_places_are_counted() -> None:
    """A column of another length is refused."""
    with pytest.raises(ValueError, match="expected 3 rowids, got 4 bytes"):
        unpack_places(b"\0\1\0\2", 3)


@given(st.lists(COLUMNS), st.lists(COLUMNS))
def test_other_rows_have_other_checksums(one: list[Column], two: list[Column]) -> None:
    """Columns do not run into each other. A checksum is what SQLite stores in four bytes."""
    assert (row_crc(one) == row_crc(two)) == (repr(one) == repr(two))
    assert -(2**31) <= row_crc(one) < 2**31


@given(st.binary(min_size=1), st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_of_an_event(text: bytes, place: int, bit: int) -> None:
    """It has another checksum."""
    flipped = bytearray(text)
    flipped[place % len(text)] ^= 1 << bit
    assert event_crc(1, 2, 3, 4, 5.0, bytes(flipped)) != event_crc(1, 2, 3, 4, 5.0, text)


def test_each_column_of_an_event_counts() -> None:
    """No column can change unseen."""
    whole = event_crc(1, 2, 3, 4, 5.0, b"text")
    others = [(9, 2, 3, 4, 5.0), (1, 9, 3, 4, 5.0), (1, 2, 9, 4, 5.0), (1, 2, 3, 9, 5.0), (1, 2, 3, 4, 9.0)]
    assert all(event_crc(*one, b"text") != whole for one in others)


def test_a_text_that_is_no_utf8_has_a_checksum() -> None:
    """A damaged text comes with surrogates, and is told from the one that was written."""
    assert row_crc(["caf\udcc3"]) != row_crc(["café"])
