"""Room for a full disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from actors.stores.sqlite.reserve import Reserve


def test_it_takes_the_room_that_it_keeps(tmp_path: Path) -> None:
    """The blocks are the file's own, not a hole of that length."""
    reserve = Reserve(tmp_path / "events.db", 1 << 20)
    assert not reserve.is_there
    assert reserve.keep()
    assert reserve.keep()
    assert reserve.is_there
    assert reserve.path.stat().st_blocks * 512 >= 1 << 20
    reserve.give()
    reserve.give()
    assert not reserve.path.exists()


def test_a_system_without_fallocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks are written."""
    monkeypatch.delattr(os, "posix_fallocate")
    reserve = Reserve(tmp_path / "events.db", 1 << 20)
    assert reserve.keep()
    assert reserve.path.stat().st_blocks * 512 >= 1 << 20


def test_half_a_reserve_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without so much room there is none."""

    def full(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    reserve = Reserve(tmp_path / "events.db")
    assert not reserve.keep()
    assert not reserve.path.exists()


def test_no_folder_no_reserve(tmp_path: Path) -> None:
    """A folder that is gone is no room."""
    assert not Reserve(tmp_path / "nowhere" / "events.db").keep()
