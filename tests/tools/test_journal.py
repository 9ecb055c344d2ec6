"""``actors journal``, as a person runs it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from actors.limits import Limits
from actors.stages import Cause
from actors.stores.journal import GivenId, Letter, LogRecord, Marks, Placed, RunRecord, ThreadRecord
from actors.stores.sqlite.journal import SQLiteJournal
from tests.tools.command import check_refusal, run

AT = 1_756_905_054.0


def event(offset: int, *, text: str = "hello") -> Placed:
    body = {
        "type": "user_message", "payload": {"text": text}, "thread_id": "t", "event_id": f"e{offset}",
        "timestamp": AT, "seq": offset, "offset": offset,
    }  # fmt: skip
    return Placed("alice", offset, "t", offset, AT + offset, msgspec.json.encode(body))


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A journal of a short conversation."""
    journal = SQLiteJournal(tmp_path / "events.db", "normal")
    await journal.open(Limits(), bytes(32))
    await journal.commit(1, [LogRecord("alice", "ep_1"), LogRecord("bob", "ep_2"), ThreadRecord("t", "alice", "g1", 0)])
    await journal.commit(2, [event(1), event(2), event(3, text="\x1b[31mred"), Marks("alice", 1, ((1, 1),), 2)])
    await journal.commit(3, [
        GivenId("t", "e3", b"fp", 3, AT),
        RunRecord("run_1", "t", True),
        RunRecord("run_2", "t", False),
        Letter(Cause.RETENTION, 4, AT, "alice", first=7, last=10),
        Letter(Cause.CRASHED, 1, AT, thread_id="t", event_id="e9"),
    ])  # fmt: skip
    await journal.aclose(clean=True)
    return tmp_path / "events.db"


async def test_the_summary(path: Path) -> None:
    """What there is of everything, and what needs a person's eye by name."""
    finished = await run("journal", str(path))
    assert (finished.status, finished.err) == (0, "")
    for line in (
        "life       1, closed in order; last batch 3, 2025-09-03 13:10:57 UTC",
        "users      2",
        "threads    1, 0 of them without an owner, with 0 events held",
        "ids        1 that emitters chose",
        "runs       1 open, 1 due",
        "letters    2",
        "  bob  empty, head 0, 0 bytes  epoch ep_2",
        "  run_1  open  thread t",
        "  2025-09-03 13:10:54 UTC  crashed  1 events  thread t  event e9",
        "  2025-09-03 13:10:54 UTC  retention  4 events  user alice  7 to 10",
    ):
        assert line in finished.out.splitlines(), finished.out
    assert "  alice  offsets 1 to 3, " in finished.out


async def test_a_check(path: Path) -> None:
    """Status 1 and a line for each row that is not as it was written."""
    finished = await run("journal", str(path), "--check")
    assert (finished.status, finished.out, finished.err) == (0, "every row is as it was written\n", "")
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE seg_1 SET seq = 9 WHERE n = 2")
        db.commit()
    finished = await run("journal", str(path), "--check")
    assert finished.status == 1
    assert finished.out == "table seg_1: expected event 2 as it was written, its checksum is another\n"


async def test_the_events(path: Path) -> None:
    """One object a line, each event as devices got it; one that is damaged is null."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE seg_1 SET seq = 9 WHERE n = 2")
        db.commit()
    finished = await run("journal", str(path), "--export")
    assert (finished.status, finished.err) == (0, "")
    texts = [event(1).text, b"null", event(3, text="\x1b[31mred").text]
    assert finished.objects == [
        {"user_id": "alice", "offset": offset, "stored": AT + offset, "event": msgspec.json.decode(text)}
        for offset, text in enumerate(texts, 1)
    ]


@pytest.mark.parametrize(
    ("event_id", "lines"),
    [
        ("e1", ["t, seq 1 → owner alice → offset 1 → stored 2025-09-03 13:10:55 UTC → acked by a device"]),
        ("e2", ["t, seq 2 → owner alice → offset 2 → stored 2025-09-03 13:10:56 UTC → written to a socket, not acked"]),
        ("e3", ["→ offset 3 → stored 2025-09-03 13:10:57 UTC → not written yet", "chose, thread t, seq 3"]),
        ("e9", ["dropped, 2025-09-03 13:10:54 UTC  crashed  1 events  thread t  event e9"]),
    ],
)
async def test_what_became_of_an_event(path: Path, event_id: str, lines: list[str]) -> None:
    """Everything that the journal says of it."""
    finished = await run("journal", str(path), "--explain", event_id)
    assert (finished.status, finished.err) == (0, "")
    found = finished.out.splitlines()
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        assert line.startswith(f"{event_id}: ")
        assert line.endswith(expected)


async def test_an_event_that_is_not_there(path: Path) -> None:
    """Status 1, and nothing to read."""
    finished = await run("journal", str(path), "--explain", "e77")
    assert (finished.status, finished.out) == (1, "")


async def test_a_vacuum(path: Path) -> None:
    """The sizes, before and after."""
    finished = await run("journal", str(path), "--vacuum")
    assert finished.status == 0
    assert " before, " in finished.out


async def test_what_is_no_journal(tmp_path: Path) -> None:
    """One line that says what it is."""
    check_refusal(await run("journal", str(tmp_path / "x.db")), "x.db: expected a journal, there is no such file")
    check_refusal(await run("journal", str(tmp_path)), "expected a journal of trio-actors, got Is a directory")


async def test_one_thing_at_a_time(path: Path) -> None:
    """Two actions are no command line."""
    finished = await run("journal", str(path), "--check", "--export")
    assert finished.status == 2
    assert "not allowed with argument" in finished.err
