"""The bytes of a row: its checksum, and how lists of numbers and names stand in one column."""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from actors.delivery.bounds import Spans
from actors.delivery.lineage import Fork, Lineage
from actors.stages import Cause

Column = int | float | str | bytes | None

_EVENT = struct.Struct("<qqqqd")
_INTEGER = struct.Struct("<cq")
_REAL = struct.Struct("<cd")
_LENGTH = struct.Struct("<cI")


def event_crc(log: int, off: int, thread: int, seq: int, at: float, text: bytes) -> int:
    """Return the checksum of an event's row: CRC-32 of four i64 and an f64, little-endian, and the text."""
    return _signed(zlib.crc32(text, zlib.crc32(_EVENT.pack(log, off, thread, seq, at))))


def row_crc(columns: Iterable[Column]) -> int:
    """Return the checksum of any other row.

    CRC-32 of the columns one behind the other, each with its type: ``n``;
    ``i`` and an i64; ``r`` and an f64; ``t`` or ``b``, a length as u32, and
    UTF-8 or bytes.
    """
    return _signed(zlib.crc32(b"".join(map(_column, columns))))


def _column(value: Column) -> bytes:
    match value:
        case None:
            return b"n"
        case int():
            return _INTEGER.pack(b"i", value)
        case float():
            return _REAL.pack(b"r", value)
        case str():
            text = value.encode(errors="surrogateescape")  # a damaged one is no UTF-8
            return _LENGTH.pack(b"t", len(text)) + text
        case _:
            return _LENGTH.pack(b"b", len(value)) + value


def _signed(crc: int) -> int:
    """Return the same 32 bits as a signed number, which SQLite stores in 4 bytes and not in 6."""
    return crc - ((crc >> 31) << 32)


# --- lists in a column --------------------------------------------------------


def spans_text(spans: Spans) -> str:
    """Write ranges of offsets: ``1-118,121-121``."""
    return ",".join(f"{first}-{last}" for first, last in spans)


def spans_of(text: str) -> Spans:
    """Read ranges of offsets."""
    pairs = (pair.partition("-") for pair in text.split(",") if pair)
    return tuple((int(first), int(last)) for first, _, last in pairs)


def lineage_text(lineage: Lineage) -> str:
    """Write former epochs, oldest first: ``[["ep_1",118]]``; empty for none."""
    return msgspec.json.encode([(one.epoch, one.offset) for one in lineage]).decode() if lineage else ""


def lineage_of(text: str) -> Lineage:
    """Read former epochs."""
    return tuple(Fork(*one) for one in msgspec.json.decode(text, type=list[tuple[str, int]])) if text else ()


def shed_text(shed: Sequence[tuple[Cause, int]]) -> str:
    """Write counts by cause: ``[["unbound_expired",3]]``; empty for none."""
    return msgspec.json.encode([(cause.value, count) for cause, count in shed]).decode() if shed else ""


def shed_of(text: str) -> tuple[tuple[Cause, int], ...]:
    """Read counts by cause."""
    return (
        tuple((Cause(cause), n) for cause, n in msgspec.json.decode(text, type=list[tuple[str, int]])) if text else ()
    )


# --- columns of numbers ---------------------------------------------------------


def pack(numbers: array[Any]) -> bytes:
    """Return an array as bytes, little-endian."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def unpack(code: str, packed: bytes) -> array[Any]:
    """Read an array of a type code from bytes; raises ValueError if they are no whole number of items."""
    numbers: array[Any] = array(code)
    numbers.frombytes(packed)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def pack_places(places: array[int]) -> bytes:
    """Write rowids relative to a segment's first, in ascending order: 2 bytes each, or 4 if the last needs them."""
    return pack(array("H" if places[-1] < 1 << 16 else "I", places))


def unpack_places(packed: bytes, count: int) -> array[int]:
    """Read ``count`` relative rowids; raises ValueError if there are not so many."""
    places = unpack("H" if len(packed) == 2 * count else "I", packed)
    if len(places) != count:
        raise ValueError(f"expected {count} rowids, got {len(packed)} bytes")
    return places
