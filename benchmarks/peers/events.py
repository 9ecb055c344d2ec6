"""The events that the peers send: the fields of an event in ``actors.v1``, so that all servers write the same bytes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import count

import attrs
import msgspec

from benchmarks.schedule import Due, Schedule

encode = msgspec.json.Encoder().encode


class Event(msgspec.Struct, gc=False):
    """The fields of an event in ``actors.v1``."""

    type: str
    payload: dict[str, object]
    thread_id: str
    event_id: str
    timestamp: float
    seq: int
    offset: int


@attrs.define
class Numbering:
    """Numbers each event in its user's order, as a server would that lets its devices find a hole."""

    numbers: Iterator[int] = attrs.field(factory=lambda: count(1))
    offsets: Counter[int] = attrs.field(factory=Counter)

    def event(self, due: Due) -> Event:
        """Make one event."""
        self.offsets[due.user] += 1
        offset = self.offsets[due.user]
        event_id = f"e_{next(self.numbers):024x}"
        thread_id = f"thread-{due.user}-{due.thread}"
        return Event("agent_delta", due.payload, thread_id, event_id, time.time(), offset, offset)


def ready_texts(schedule: Schedule) -> Iterator[list[tuple[int, bytes]]]:
    """Yield each turn's events, encoded before the start, with their users."""
    numbering = Numbering()
    for number in range(schedule.turns):
        yield [(due.user, encode(numbering.event(due))) for due in schedule.turn(number)]
