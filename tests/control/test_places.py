"""The places of control sockets: which directory, and that it is this account's alone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from actors.control.places import BadPlace, clear, default_path, make_private, runtime_directory, sockets
from actors.wire.listeners import alone_in


def test_which_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That of the session; else one for root, or one of the account's own; a relative name is none."""
    assert runtime_directory({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "trio-actors"
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/some/tmp")
    for variables in ({}, {"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": "relative"}):
        assert runtime_directory(variables) == Path("/some/tmp/trio-actors-1234")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "access", lambda path, mode: path == "/run")
    assert runtime_directory({}) == Path("/run/trio-actors")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert runtime_directory({}) == Path("/some/tmp/trio-actors-0")


def test_a_directory_is_made(tmp_path: Path) -> None:
    """It is this account's alone; made again, it stays."""
    for _ in range(2):
        make_private(tmp_path / "new")
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_directory_that_others_can_write_to(tmp_path: Path, mode: int) -> None:
    """It is refused, with its mode."""
    tmp_path.chmod(mode)
    with pytest.raises(BadPlace, match=f"only this account can write to.*got mode {mode:04o}"):
        make_private(tmp_path)
    tmp_path.chmod(0o700)


def test_a_directory_of_another_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, whatever its mode."""
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(BadPlace, match=f"expected a directory of this account.*got one of uid {owner}"):
        make_private(tmp_path)


def test_what_is_no_directory(tmp_path: Path) -> None:
    """A link is not followed, because in a folder for all it may be another account's."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(BadPlace, match="expected a directory for the control socket, got something else"):
            make_private(tmp_path / name)


async def test_who_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket on which a process listens is told from one that a killed process has left, which is removed."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert sockets() == ([], [])
    make_private(tmp_path / "trio-actors")
    live, dead = default_path(), tmp_path / "trio-actors" / "1.sock"
    (tmp_path / "trio-actors" / "2.sock").touch()
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as closed:
        listening.bind(str(live))
        listening.listen()
        closed.bind(str(dead))
        closed.close()
        assert sockets() == ([live], [dead])
        await clear()
        assert (sockets(), dead.exists()) == (([live], []), False)


async def test_a_socket_that_is_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is bound and does not listen yet looks as one of a killed process does: none is removed while another
    server has the directory."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    make_private(tmp_path / "trio-actors")
    with socket.socket(socket.AF_UNIX) as made:
        async with trio.open_nursery() as nursery, alone_in(tmp_path / "trio-actors"):
            made.bind(str(default_path()))
            nursery.start_soon(clear)
            await trio.testing.wait_all_tasks_blocked()
            made.listen()
        assert sockets() == ([default_path()], [])
