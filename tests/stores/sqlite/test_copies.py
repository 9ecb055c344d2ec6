"""An older copy of a journal that is put back: of a device that saw more, no epoch says that it has seen what is there
now."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.environment import Environment
from actors.limits import Limits
from actors.stores.sqlite.inspection import vacuum
from actors.stores.sqlite.store import SQLiteStore
from actors.stores.store import Append, Bind, Placement
from tests.stores.desk import shares

PARTS = "events.db", "events.db-wal", "events.db-lock"


@asynccontextmanager
async def life(path: Path) -> AsyncIterator[SQLiteStore]:
    """A store for the length of a block."""
    store = SQLiteStore(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run, Limits(), Environment())
        yield store
        nursery.cancel_scope.cancel()


async def place(store: SQLiteStore, count: int) -> Placement:
    """Place events in alice's log; returns where the last one is."""
    answers: list[object] = []
    store.submit(Bind("t", "alice", take=False), lambda _, answer: answers.append(answer))
    for _ in range(count):
        event_id = f"{store!r}{len(answers)}"
        store.submit(Append("t", event_id, b'{"type":"x"'), lambda _, answer: answers.append(answer))
    await store.settled()
    last = answers[-1]
    assert isinstance(last, Placement)
    return last


def copy(folder: Path, to: Path, parts: tuple[str, ...] = PARTS) -> None:
    """Copy files, with all the times that a program can set."""
    to.mkdir(exist_ok=True)
    for part in parts:
        if (folder / part).exists():
            shutil.copy2(folder / part, to / part)
        else:
            (to / part).unlink(missing_ok=True)


def put_back(backup: Path, folder: Path, parts: tuple[str, ...] = PARTS) -> None:
    (folder / "events.db-shm").unlink(missing_ok=True)
    copy(backup, folder, parts)


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
@pytest.mark.parametrize("parts", [PARTS, PARTS[:2]], ids=["all", "without the lock"])
@pytest.mark.parametrize("backup_killed", [False, True], ids=["of a closed one", "of one in use"])
async def test_an_older_copy_goes_on_under_another_name(
    tmp_path: Path, killed: bool, parts: tuple[str, ...], backup_killed: bool
) -> None:
    """Whether the copy was made of a journal that was closed, and whether the later one was: what was seen in the
    lives that the copy does not know of is no place in it, however long its log becomes."""
    folder, backup, killed_at = tmp_path / "live", tmp_path / "backup", tmp_path / "killed"
    folder.mkdir()
    path = folder / "events.db"
    async with life(path) as store:
        kept = await place(store, 3)
        copy(folder, backup)
    if not backup_killed:
        copy(folder, backup)
    elif killed:
        copy(backup, folder)
    async with life(path) as store:
        lost = await place(store, 5)
        copy(folder, killed_at)
    if killed:
        copy(killed_at, folder)
    async with life(path) as store:
        lost_later = await place(store, 5)
    put_back(backup, folder, parts)
    async with life(path) as store:
        await place(store, 30)
        bounds = store.known_bounds("alice")
        assert bounds is not None
        for seen in (lost, lost_later):
            assert (shares(bounds, seen.epoch) or 0) <= kept.offset
        assert shares(bounds, kept.epoch) in {None, kept.offset}


async def test_a_write_ahead_log_that_somebody_deleted(tmp_path: Path) -> None:
    """The life before it was closed in order; the one that is gone was not that one."""
    path, killed = tmp_path / "events.db", tmp_path / "killed"
    async with life(path) as store:
        kept = await place(store, 3)
    async with life(path) as store:
        lost = await place(store, 5)
        copy(tmp_path, killed)
    put_back(killed, tmp_path)
    (tmp_path / "events.db-wal").unlink()
    async with life(path) as store:
        await place(store, 30)
        bounds = store.known_bounds("alice")
        assert bounds is not None
        assert kept.epoch == lost.epoch
        assert shares(bounds, lost.epoch) == kept.offset


async def test_the_name_stays_where_nothing_is_gone(tmp_path: Path) -> None:
    """Over lives that write nothing, and a vacuum, too."""
    path, epochs = tmp_path / "events.db", set()
    for count in (1, 2):
        async with life(path) as store:
            epochs.add((await place(store, count)).epoch)
        vacuum(path)
        async with life(path):
            pass
    assert len(epochs) == 1
