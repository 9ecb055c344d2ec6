"""The losses that the tests beside this one count: each way in which an event can be missing, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.client import CaughtUp, Cursor, Event, Gap, Item, Reset
from tests.system.chaos.journals import Journal, lost_unreported, told


def tick(offset: int, *numbers: int) -> tuple[Item, Cursor]:
    """An event, which stands for as many offsets as it has numbers."""
    text = "".join(f"{number} " for number in numbers)
    fields: dict[str, Any] = {"type": "agent_delta", "payload": {"text": text}, "thread_id": "t"}
    return Event(seq=offset, seq0=offset - len(numbers) + 1, offset=offset, **fields), Cursor("e1", offset)


def test_nothing_is_lost(tmp_path: Path) -> None:
    """Events in order, some joined, across a reconnect, a gap that is told, and a reset that begins the log again."""
    journal = Journal(tmp_path / "device")
    came: list[tuple[Item, Cursor]] = [
        (CaughtUp(0), Cursor("e1", 0)),
        tick(1, 0),
        tick(3, 1, 2),
        (CaughtUp(3), Cursor("e1", 3)),
        (Gap(4, 5, "retention"), Cursor("e1", 5)),
        tick(6, 5),
        (Reset("e2", 1), Cursor("e2", 0)),
        (tick(1, 5)[0], Cursor("e2", 1)),
    ]
    for item, cursor in came:
        journal.note(item, cursor)
    assert lost_unreported(range(6), [journal]) == 0
    assert journal.cursor == Cursor("e2", 1)


@pytest.mark.parametrize(
    "came",
    [
        [tick(1, 0), tick(2, 1)],
        [tick(1, 0), tick(3, 2), tick(4, 1)],
        [tick(1, 0), tick(2, 1), tick(3, 1), tick(4, 2)],
        [tick(1, 0), tick(3, 2, 1)],
        [tick(1, 0), (CaughtUp(2), Cursor("e1", 2)), tick(2, 1), tick(3, 2)],
        [tick(1, 0), (Reset("e1", 1, "it sent 3 after 1"), Cursor("e1", 1)), tick(2, 1), tick(3, 2)],
        [tick(1, 0), (tick(1, 1)[0], Cursor("e2", 1)), (tick(2, 2)[0], Cursor("e2", 2))],
    ],
    ids=["missing", "a hole", "twice", "out of order", "a lie", "a defect that the client found", "no reset"],
)
def test_something_is_lost(tmp_path: Path, came: list[tuple[Item, Cursor]]) -> None:
    """Each of these is counted."""
    journal = Journal(tmp_path / "device")
    for item, cursor in came:
        journal.note(item, cursor)
    assert lost_unreported(range(3), [journal]) > 0


def test_what_an_emitter_knows(tmp_path: Path) -> None:
    """An event without a final word is unsettled; one that the emitter was told is dropped, no device will get."""
    journal = Journal(tmp_path / "emitted")
    for number in range(3):
        journal.write("emitted", numbers=[number])
    for stage in ("STORED", "WRITTEN", "ACKED"):
        journal.write("told", numbers=[0], text=stage)
    journal.write("told", numbers=[1], text="WRITTEN")
    journal.write("told", numbers=[2], text="DROPPED")
    knows = told(journal)
    assert (sorted(knows.emitted), sorted(knows.owed), knows.unsettled) == ([0, 1, 2], [0, 1], [1])


def test_half_a_line(tmp_path: Path) -> None:
    """A line that a killed process had not finished is not read, and is gone before another one goes on."""
    journal = Journal(tmp_path / "device")
    journal.note(*tick(1, 0))
    with journal.path.open("ab") as file:
        file.write(b'{"at":1.5,"ki')
    assert [entry.last for entry in journal.entries()] == [1]
    journal.mend()
    journal.note(*tick(2, 1))
    assert [entry.last for entry in journal.entries()] == [1, 2]
