"""The journal on a simulated disk: what each fault leaves, and the state that effects come to."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actors.errors import StoreError
from actors.limits import Limits
from actors.stages import Cause
from actors.stores.journal import (
    Effect,
    GivenId,
    GivenIdsExpired,
    Held,
    HoldShed,
    LogRecord,
    Marks,
    NotTaken,
    Placed,
    RestoredThread,
    RunClosed,
    RunRecord,
    ThreadForgotten,
    ThreadRecord,
)
from actors.testing.journal import Disk, Fault, SimJournal, Unreadable, fold

LIMITS = Limits()
LOG = LogRecord("alice", "ep.1")


def placed(offset: int, at: float = 1.0) -> Placed:
    """An event in alice's log."""
    return Placed("alice", offset, "t", offset, at, b"text %d" % offset)


@pytest.mark.parametrize(
    ("fault", "error", "written"), [("full", NotTaken, 0), ("unwritten", Unreadable, 0), ("unanswered", Unreadable, 1)]
)
async def test_faults(fault: Fault, error: type[Exception], written: int) -> None:
    """A commit that was refused or failed before the write is not there; of one without an answer only that is
    missing, and the journal says so when it is opened again."""
    journal = SimJournal(Disk(), 0.0)
    await journal.open(LIMITS, b"secret")
    await journal.commit(1, [LOG])
    journal.faults.append(fault)
    with pytest.raises(error):
        await journal.commit(2, [placed(1)])
    assert await journal.reopen() == 1 + written
    assert (len(journal.disk.commits), journal.failed) == (1 + written, [fault])


async def test_the_one_commit_to_fail() -> None:
    """A commit is failed by its number."""
    journal = SimJournal(Disk(), 0.0)
    await journal.open(LIMITS, b"")
    journal.fail_call = 2
    await journal.commit(1, [LOG])
    with pytest.raises(Unreadable):
        await journal.commit(2, [placed(1)])
    await journal.commit(2, [placed(1)])
    assert journal.calls == 3


async def test_a_stall(autojump_clock: trio.testing.MockClock) -> None:
    """Commits wait for the end of a stall, also for one that was moved."""
    journal, began = SimJournal(Disk(), 1.0), trio.current_time()
    journal.stalled_until = began + 3_600.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.commit, 1, [LOG])
        await trio.sleep(5)
        journal.heal()
    assert 5 <= trio.current_time() - began < 6


async def test_a_disk_that_is_full() -> None:
    """A full disk refuses every commit until it is healed."""
    journal = SimJournal(Disk(), 0.0)
    journal.full = True
    for _ in range(2):
        with pytest.raises(NotTaken, match="full"):
            await journal.commit(1, [LOG])
    journal.heal()
    await journal.commit(1, [LOG])


async def test_lives() -> None:
    """Each life has a number; its secret is that of the first; it knows whether the one before ended in order, and
    the latest time on the disk."""
    disk, found = Disk(), []
    for number, clean in enumerate((True, False, True)):
        journal = SimJournal(disk, 0.0)
        restored = await journal.open(LIMITS, b"secret %d" % number)
        found.append((restored.life, restored.clean, restored.secret, restored.now))
        await journal.commit(1, [LOG, placed(number + 1, 5.0 - number)])
        if clean:
            await journal.aclose(clean=True)
        else:
            disk.crash()
    assert found == [(1, True, b"secret 0", 0.0), (2, True, b"secret 0", 5.0), (3, False, b"secret 0", 5.0)]


async def test_one_writer() -> None:
    """A disk that is open is not opened a second time, and nothing on it changes."""
    disk = Disk()
    journal = SimJournal(disk, 0.0)
    await journal.open(LIMITS, b"")
    with pytest.raises(StoreError, match="another journal has it open"):
        await SimJournal(disk, 0.0).open(LIMITS, b"")
    assert disk.life == 1
    await journal.aclose(clean=True)
    await SimJournal(disk, 0.0).open(LIMITS, b"")


async def test_a_crash_loses_the_last_commits() -> None:
    """Of a life that ended without order a prefix of the commits is there."""
    disk = Disk()
    journal = SimJournal(disk, 0.0)
    await journal.open(LIMITS, b"")
    await journal.commit(1, [LOG])
    for number in (1, 2, 3):
        await journal.commit(1 + number, [placed(number)])
    disk.crash(lost=2)
    restored = await SimJournal(disk, 0.0).open(LIMITS, b"")
    assert [(log.low, log.head) for log in restored.logs] == [(1, 1)]
    assert not restored.clean


async def test_loading_takes_several_calls() -> None:
    """A few events are read at a time, as a disk has it, and of those that are gone none."""
    journal = SimJournal(Disk(), 0.0)
    await journal.commit(1, [LOG, *(placed(offset) for offset in range(1, 11))])
    rows = await journal.load("alice", 2, 10)
    assert [row.offset for row in rows] == list(range(2, 9))
    assert rows[0].text == b"text 2"
    assert await journal.load("alice", 20, 30) == await journal.load("bob", 1, 10) == []


def test_a_log_is_folded() -> None:
    """A log has its newest record and marks, and of its events those from its low on."""
    effects: list[Effect] = [LOG, *(placed(offset, float(offset)) for offset in range(1, 6))]
    effects += [LogRecord("alice", "ep.2"), Marks("alice", 2, ((2, 3),), 4), Marks("alice", 3, ((3, 3),), 5)]
    (log,) = fold(effects, LIMITS).logs
    assert (log.epoch, log.low, log.head, log.acked, log.written) == ("ep.2", 3, 5, ((3, 3),), 5)
    assert (list(log.times), list(log.sizes)) == ([3.0, 4.0, 5.0], [6, 6, 6])
    (empty,) = fold([LOG, Marks("alice", 6, (), 0)], LIMITS).logs
    assert (empty.low, empty.head, list(empty.times)) == (6, 5, [])


def test_a_thread_is_folded() -> None:
    """A thread counts its events; it holds those that were neither shed nor bound, and knows what it shed."""
    held = [Held("t", seq, 1.0, b"{") for seq in (1, 2, 3)]
    shed = HoldShed("t", 2, Cause.UNBOUND_OVERFLOW, 2)
    (thread,) = fold([*held, shed], LIMITS).threads
    record = ThreadRecord("t", None, "", 3, ((Cause.UNBOUND_OVERFLOW, 2),))
    assert thread == RestoredThread(record, held[2:])
    bound = ThreadRecord("t", "alice", "1", 3, binding=b"answer")
    (thread,) = fold([*held, shed, bound, LOG, Placed("alice", 1, "t", 4, 1.0, b"{")], LIMITS).threads
    assert thread == RestoredThread(ThreadRecord("t", "alice", "1", 4, binding=b"answer"))
    assert fold([*held, ThreadForgotten("t")], LIMITS).threads == []


def test_ids_and_runs_are_folded() -> None:
    """Of given ids the newest fact is known, oldest first, until they expire; of runs the state, until they end."""
    effects: list[Effect] = [GivenId("t", "x", b"f", 1, 1.0), GivenId("t", "y", b"f", 2, 2.0)]
    effects += [GivenId("t", "x", b"f", 1, 1.0, "alice", "ep", 1), GivenId("t", "z", b"f", 3, 3.0)]
    effects += [RunRecord("r1", "t", open=False), RunRecord("r2", "t", open=True), RunRecord("r1", "t", open=True)]
    restored = fold([*effects, RunClosed("r2")], LIMITS)
    assert [(given.event_id, given.offset) for given in restored.given_ids] == [("x", 1), ("y", 0), ("z", 0)]
    assert [(run.run_id, run.open) for run in restored.runs] == [("r1", True)]
    assert [given.event_id for given in fold([*effects, GivenIdsExpired(2.0)], LIMITS).given_ids] == ["y", "z"]


def test_an_id_that_is_given_anew_is_the_newest() -> None:
    """An id that was too old, and is given again before it was swept, is in its new place among the others."""
    effects: list[Effect] = [GivenId("t", "x", b"f", 1, 1.0), GivenId("t", "y", b"f", 2, 2.0)]
    restored = fold([*effects, GivenId("t", "x", b"f", 3, 700.0)], LIMITS)
    assert [given.event_id for given in restored.given_ids] == ["y", "x"]
