"""Events read by their rowids, for a log that is not in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import msgspec

from actors.stores.journal import Row
from actors.stores.sqlite.directory import Directory
from actors.stores.sqlite.restore import is_whole
from actors.stores.sqlite.state import State
from actors.stores.sqlite.upkeep import select_events

MOST_ROWS = 2_000
MOST_BYTES = 4 * 1024 * 1024
"""Events of one load: what a disk and Python read within 50 ms, and a share of memory that many may have at once."""

_AT_ONCE = 250
"""Events of one statement."""


class Place(msgspec.Struct, gc=False, frozen=True):
    """Rowids of consecutive events of a log in one segment."""

    log: int
    first: int
    """The offset of the first one."""
    segment: int
    numbers: tuple[int, ...]


def places(state: State, user_id: str, first: int, last: int) -> list[Place]:
    """Find the events of a log from first to last; an event that is not there is in no place."""
    log = state.logs.get(user_id)
    directory = None if log is None else state.directories.get(log.n)
    found = []
    for run in (directory or Directory()).find(first, last):
        assert log is not None, "it has a directory"
        base = state.segments[run.segment].first
        for start in range(0, len(run.places), _AT_ONCE):
            numbers = tuple(base + place for place in run.places[start : start + _AT_ONCE])
            found.append(Place(log.n, run.first + start, run.segment, numbers))
    return found


def load(db: sqlite3.Connection, find: Callable[[int], list[Place]], first: int, last: int) -> list[Row]:
    """Read events from first on: as many as one load may have, and one at least.

    ``find`` finds them up to an offset; it is asked again when a segment was dropped, because events may have
    been copied forward since. Raises :class:`sqlite3.Error` for a file that
    cannot be read.
    """
    last = min(last, first + MOST_ROWS - 1)
    while True:
        found = find(last)
        try:
            return _rows(db, found, first, last)
        except sqlite3.OperationalError:
            if find(last) == found:
                raise


def _rows(db: sqlite3.Connection, found: list[Place], first: int, last: int) -> list[Row]:
    rows: list[Row] = []
    size = 0
    for place in found:
        rows += [Row(offset, None) for offset in range(first + len(rows), place.first)]
        texts = _texts(db, place)
        for offset in range(place.first, place.first + len(place.numbers)):
            text = texts.get(offset)
            rows.append(Row(offset, text))
            size += len(text or b"")
            if size >= MOST_BYTES:
                return rows
    return rows + [Row(offset, None) for offset in range(first + len(rows), last + 1)]


def _texts(db: sqlite3.Connection, place: Place) -> dict[int, bytes]:
    """Read the texts of a place, by offset; those that are damaged are left out."""
    try:
        return _whole_texts(db, place)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
    if len(place.numbers) == 1:
        return {}
    singles = (Place(place.log, place.first + at, place.segment, (n,)) for at, n in enumerate(place.numbers))
    return {offset: text for one in singles for offset, text in _texts(db, one).items()}


def _whole_texts(db: sqlite3.Connection, place: Place) -> dict[int, bytes]:
    texts: dict[int, bytes] = {}
    size = 0
    for _, log, off, thread, seq, at, text, crc in db.execute(
        select_events(place.segment, len(place.numbers)), place.numbers
    ):
        if log == place.log and is_whole(log, off, thread, seq, at, text, crc):
            texts[off] = text
            size += len(text)
            if size >= MOST_BYTES:
                break
    return texts
