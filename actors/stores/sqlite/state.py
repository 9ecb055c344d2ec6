"""The contents of a journal's file as the process remembers it: everything but texts.

It follows the file: a change is applied once its transaction was committed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

import attrs
import msgspec

from actors.delivery.bounds import Spans
from actors.delivery.lineage import Lineage
from actors.stages import Cause
from actors.stores.sqlite.directory import Directory
from actors.stores.sqlite.rows import Column, lineage_text, row_crc, shed_text, spans_text


class LogEntry(msgspec.Struct, gc=False):
    """A log, without its events."""

    n: int
    user_id: str
    epoch: str
    lineage: Lineage = ()
    low: int = 1
    head: int = 0
    acked: Spans = ()
    written: int = 0

    def row(self) -> tuple[Column, ...]:
        """Return its row."""
        return _with_crc(
            self.n, self.user_id, self.epoch, lineage_text(self.lineage), self.low, self.head,
            spans_text(self.acked), self.written,
        )  # fmt: skip


class ThreadEntry(msgspec.Struct, gc=False):
    """A thread, without what it holds."""

    n: int
    name: str
    owner: str | None = None
    generation: str = ""
    seq: int = 0
    shed: tuple[tuple[Cause, int], ...] = ()
    shed_n: int = 0
    binding: bytes = b""

    def row(self) -> tuple[Column, ...]:
        """Return its row."""
        return _with_crc(
            self.n, self.name, self.owner, self.generation, self.seq, shed_text(self.shed), self.shed_n, self.binding
        )

    def add_shed(self, cause: Cause, count: int) -> None:
        """Count events that its hold lost."""
        causes = dict(self.shed)
        causes[cause] = causes.get(cause, 0) + count
        self.shed = tuple(causes.items())


class Segment(msgspec.Struct):
    """A segment of events."""

    n: int
    first: int
    """The rowid of its first event."""
    start: float
    """The time of its first event."""
    closed: bool = False
    rows: int = 0
    size_bytes: int = 0
    directory: tuple[int, int] = (0, 0)
    """Its rows of the table *directory*, first and last."""
    live: int = 0
    """Its events that are at or above their log's low, and were not copied forward."""

    def row(self) -> tuple[Column, ...]:
        """Return its row."""
        return _with_crc(self.n, self.first, self.start, int(self.closed), self.rows, self.size_bytes, *self.directory)


class Life(msgspec.Struct, frozen=True):
    """A life of the journal, and the time up to which it came."""

    n: int
    clean: int
    """0 unless it was closed in order, and then the stamp of its lock: the next life finds the same there."""
    batch: int
    now: float
    expired: float = 0.0
    """Given ids that came before this time are forgotten, those included whose rows are still there."""

    def row(self) -> tuple[Column, ...]:
        """Return its row."""
        return _with_crc(self.n, self.clean, self.batch, self.now, self.expired)


@attrs.define(kw_only=True)
class State:
    """The contents of a journal's file, without texts."""

    secret: bytes
    life: Life
    logs: dict[str, LogEntry] = attrs.Factory(dict)
    directories: dict[int, Directory] = attrs.Factory(dict)
    """By the number of the log."""
    threads: dict[str, ThreadEntry] = attrs.Factory(dict)
    held: dict[int, deque[tuple[int, int]]] = attrs.Factory(dict)
    """By the number of the thread: sequence numbers, and the rowids of their rows."""
    given: deque[tuple[float, int]] = attrs.Factory(deque)
    """Times and rowids of the ids that emitters chose."""
    runs: dict[str, int] = attrs.Factory(dict)
    segments: dict[int, Segment] = attrs.Factory(dict)
    """Oldest first; the last one may be open."""
    next: Counter[str] = attrs.Factory(Counter)
    """The next rowid of each table, of events as a table *event*."""
    changed_logs: set[str] = attrs.Factory(set)
    """Logs and threads of which rows of other tables know more than their own row."""
    changed_threads: set[str] = attrs.Factory(set)
    open_logs: set[int] = attrs.Factory(set)
    """Logs that have events in the open segment."""
    loose: int = 0
    """Rows of *mark* and *shed*."""

    @property
    def open_segment(self) -> Segment | None:
        """The segment that takes events, if there is one."""
        last = next(reversed(self.segments.values()), None)
        return None if last is None or last.closed else last

    def leave(self, gone: Counter[int]) -> None:
        """Count events that segments have lost, by segment."""
        for segment, count in gone.items():
            self.segments[segment].live -= count

    def trim(self, log: LogEntry, *, was: int) -> None:
        """Let go of the events of a log that are below its low, which was another."""
        directory = self.directories.get(log.n)
        if directory is not None and log.low > was:
            self.leave(directory.trim(log.low, was=was))

    def drop_log(self, log: LogEntry) -> None:
        """Let go of a log, because another one begins under its user."""
        directory = self.directories.pop(log.n, None)
        if directory is not None:
            self.leave(directory.trim(directory.end, was=log.low))
        self.open_logs.discard(log.n)


def _with_crc(*columns: Column) -> tuple[Column, ...]:
    return (*columns, row_crc(columns))


def rows_with_crc(rows: Iterable[tuple[Column, ...]]) -> list[tuple[Column, ...]]:
    """Put its checksum behind each row, which does not cover the rowid in front."""
    return [(*row, row_crc(row[1:])) for row in rows]
