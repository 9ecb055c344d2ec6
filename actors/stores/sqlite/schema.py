"""The tables of a journal's file, and the version of their meaning.

===========  ===================================================================
meta         one row: the secret
life         one row: the present life, and the number of its last batch
log          a user's log, without its events; ``lineage`` is JSON
thread       a thread; ``shed`` is JSON and includes the rows of *shed* up to ``shed_n``
segment      the segments of events: first rowid and time, and once it is closed
             the number of rows, their bytes, and its range of rows in *directory*
seg_<id>     events, in the order in which they were placed, or copied forward
directory    of a closed segment: a run of one log's offsets, with the rowids
             (u16, or u32 where the segment is longer, relative to its first),
             sizes (u32) and times (f64) of the events, little-endian
mark         lows and acks since *log* was last written; the last one counts
shed         events that holds lost since *thread* was last written
held         events of threads without an owner
given        ids that emitters chose; of two rows for an id the later one counts
run          runs that are due or open
letter       dead letters, the newest
===========  ===================================================================

No table has an index. Rows are found by their rowid, which a process remembers;
with an index on log and offset a commit of 200 events wrote 20 times their
bytes, and without one 1.3 times. Rowids of events go on from segment to segment.

``crc`` covers every column of a row but itself and the rowid, as
:mod:`actors.stores.sqlite.rows` computes it; *log*, *thread*, *life* and
*segment* are named by their rowid, which theirs covers too. Logs and threads
have numbers of this file's own, and events name those.
"""

from __future__ import annotations

APPLICATION_ID = 0x54416A31
"""In the header of each journal: ``TAj1``. Another number says that the file belongs to another program."""

VERSION = 1
"""The meaning of the tables, in the header as ``user_version``. A version reads what is not newer than itself."""

PAGE_BYTES = 4_096
"""SQLite's own, and what disks write at once. A commit rewrites one page that is not full, half of it on average."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "meta": ("n", "secret", "crc"),
    "life": ("n", "clean", "batch", "now", "expired", "crc"),
    "log": ("n", "user", "epoch", "lineage", "low", "head", "acked", "written", "crc"),
    "thread": ("n", "name", "owner", "generation", "seq", "shed", "shed_n", "binding", "crc"),
    "segment": ("n", "first", "start", "closed", "rows", "bytes", "directory_first", "directory_last", "crc"),
    "directory": ("n", "segment", "log", "first", "count", "ns", "sizes", "ats", "crc"),
    "mark": ("n", "log", "low", "acked", "written", "crc"),
    "shed": ("n", "thread", "last_seq", "cause", "count", "crc"),
    "held": ("n", "thread", "seq", "at", "body", "crc"),
    "given": ("n", "thread", "id", "fingerprint", "seq", "at", "user", "epoch", "off", "crc"),
    "run": ("n", "id", "thread", "open", "message", "user", "crc"),
    "letter": ("n", "cause", "count", "at", "user", "thread", "event", "first", "last", "crc"),
}
"""The columns of each table; ``n`` is the rowid."""

NAMED_BY_ROWID = frozenset({"meta", "life", "log", "thread", "segment"})
"""Tables of which other rows know the rowids, so that the crc covers them."""

EVENT_COLUMNS = ("n", "log", "off", "thread", "seq", "at", "text", "crc")
"""The columns of a segment."""


def creation(table: str, columns: tuple[str, ...]) -> str:
    """Return the statement that creates a table."""
    rest = ", ".join(f'"{name}"' for name in columns[1:])
    return f'CREATE TABLE "{table}" ("{columns[0]}" INTEGER PRIMARY KEY, {rest})'


def segment_table(segment: int) -> str:
    """Return the name of a segment's table."""
    return f"seg_{segment}"


def selection(table: str, columns: tuple[str, ...]) -> str:
    """Return the statement that reads a table, oldest row first."""
    return f'SELECT {_names(columns)} FROM "{table}" ORDER BY n'  # noqa: S608 - names of this module


def insertion(table: str, columns: tuple[str, ...], rows: int) -> str:
    """Return the statement that writes so many rows, over those of their rowids."""
    row = f"({','.join('?' * len(columns))})"
    values = ",".join([row] * rows)
    return f'INSERT OR REPLACE INTO "{table}" ({_names(columns)}) VALUES {values}'  # noqa: S608 - the same


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
