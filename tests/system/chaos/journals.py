"""The journals of processes, one JSON object a line, and the losses that they show.

A line is written by one call, so that a killed process leaves at most half a line at the end. Times are on the
monotonic clock, which Linux shares between processes.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import attrs
import msgspec

from actors.client import CaughtUp, Cursor, Event, Gap, Item, Reset

FINAL = frozenset({"ACKED", "UNCONFIRMED", "DROPPED"})


class Entry(msgspec.Struct, omit_defaults=True):
    """One line."""

    at: float
    kind: Literal["event", "gap", "reset", "caught_up", "state", "emitted", "told", "torn"]
    epoch: str = ""
    """With what stands in a log: the place after it, with ``last``."""
    first: int = 0
    last: int = 0
    numbers: list[int] = []
    """Of the events that it stands for."""
    text: str = ""
    """A state's name, a receipt's stage, or what a client says that its server did against the protocol."""


class Journal:
    """A file of entries."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, kind: str, **fields: object) -> None:
        """Add an entry; it is there when this returns, whatever becomes of the process then."""
        line = msgspec.json.encode({"at": time.monotonic(), "kind": kind, **fields}) + b"\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line)

    def note(self, item: Item, cursor: Cursor | None) -> None:
        """Add what came out of a session, with the place after it."""
        where = {} if cursor is None else {"epoch": cursor.epoch, "last": cursor.offset}
        match item:
            case Event(payload={"text": text}):
                first = item.offset - item.seq + (item.seq if item.seq0 is None else item.seq0)
                self.write("event", **where, first=first, numbers=[int(word) for word in text.split()])
            case Gap():
                self.write("gap", **where, first=item.first)
            case Reset():
                self.write("reset", **where, first=item.low, text=item.cause)
            case CaughtUp():
                self.write("caught_up", **where)

    def entries(self, *kinds: str) -> Iterator[Entry]:
        """Return what was written, oldest first."""
        *lines, _unfinished = self._read().split(b"\n")
        entries = (msgspec.json.decode(line, type=Entry) for line in lines)
        yield from (entry for entry in entries if not kinds or entry.kind in kinds)

    def mend(self) -> None:
        """Drop half a line, which is all that a killed process can have left behind."""
        if self.path.exists():
            os.truncate(self.path, self._read().rfind(b"\n") + 1)

    @property
    def cursor(self) -> Cursor | None:
        """The place after the last thing that came; nothing was done after it."""
        last = next((entry for entry in reversed(list(self.entries())) if entry.epoch), None)
        return None if last is None else Cursor(last.epoch, last.last)

    @property
    def numbers(self) -> set[int]:
        """Of all events that came."""
        return {number for entry in self.entries("event") for number in entry.numbers}

    @property
    def longest_pause_seconds(self) -> float:
        """The longest time between two events."""
        return max(later.at - earlier.at for earlier, later in pairwise(self.entries("event")))

    @property
    def openings(self) -> int:
        """The number of connections."""
        return sum(entry.text == "open" for entry in self.entries("state"))

    @property
    def state(self) -> str:
        """The state of the session."""
        return [entry.text for entry in self.entries("state")][-1]

    def since(self, at: float, *kinds: str) -> float:
        """Seconds from a moment to the next entry of a kind."""
        return next(entry.at - at for entry in self.entries(*kinds) if entry.at > at)

    def _read(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""


@attrs.frozen
class Told:
    """An emitter's knowledge of its events, by their numbers."""

    emitted: frozenset[int]
    stages: dict[int, str]
    """The last stage that it was told."""

    @property
    def owed(self) -> frozenset[int]:
        """Events that it was not told were dropped."""
        return frozenset(number for number in self.emitted if self.stages.get(number) != "DROPPED")

    @property
    def unsettled(self) -> list[int]:
        """Events that it was told nothing final about, in order."""
        return sorted(number for number in self.emitted if self.stages.get(number) not in FINAL)


def told(journal: Journal) -> Told:
    """Read an emitter's journal."""
    emitted, stages = set(), {}
    for entry in journal.entries("emitted", "told"):
        if entry.kind == "emitted":
            emitted.update(entry.numbers)
        else:
            stages[entry.numbers[0]] = entry.text
    return Told(frozenset(emitted), stages)


def lost_unreported(events: Iterable[int], devices: Iterable[Journal]) -> int:
    """Count the events that are missing at devices that each were to get all, or came twice or out of order."""
    wanted = set(events)
    return sum(_defects(device) + len(wanted - device.numbers - _gone(device)) for device in devices)


def _gone(device: Journal) -> set[int]:
    """Events that a gap stands for; in a log that began with them, an event's offset is its number and one."""
    return {number for entry in device.entries("gap") for number in range(entry.first - 1, entry.last)}


def _defects(device: Journal) -> int:
    """Count what came twice within an epoch, out of order, after a hole, or against the protocol."""
    defects = 0
    seen: Counter[tuple[str, int]] = Counter()
    place: tuple[str, int] | None = None
    for entry in device.entries("event", "gap", "reset", "caught_up"):
        if entry.kind == "reset":
            defects += entry.text != ""
        else:
            before = entry.last if entry.kind == "caught_up" else entry.first - 1
            defects += place not in (None, (entry.epoch, before))
        defects += entry.numbers != sorted(entry.numbers)
        seen.update((entry.epoch, number) for number in entry.numbers)
        place = entry.epoch, entry.last
    return defects + sum(times - 1 for times in seen.values())
