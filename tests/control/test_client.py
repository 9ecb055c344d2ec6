"""The client of the commands: which server it finds, and what silence means."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio

from actors.control import client as module
from actors.control import requests
from actors.control.answers import AuditAnswer
from actors.control.client import Client, NoAnswer, NoServer, RequestRefused, find
from actors.control.places import make_private
from tests.control.opened import opened, until


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which the commands look."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    make_private(tmp_path / "trio-actors")
    return tmp_path / "trio-actors"


def listening(path: Path) -> socket.socket:
    """A socket that a process listens on, and answers nothing."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_the_one_server_that_runs(directory: Path) -> None:
    """One is found; of none and of several it is said which there are, and that a path chooses."""
    with pytest.raises(NoServer, match=f"no server of this account listens in {directory}; --control PATH"):
        find()
    with listening(directory / "1.sock"):
        assert find() == directory / "1.sock"
        with listening(directory / "2.sock"), pytest.raises(NoServer, match=r"2 servers run here.*1\.sock.*2\.sock"):
            find()
    with pytest.raises(NoServer, match=r"any more, and what 1\.sock belonged to was killed"):
        find()


def test_a_directory_of_others(directory: Path) -> None:
    """What listens in a directory that others can write to may be theirs, and is not asked."""
    with listening(directory / "1.sock"):
        directory.chmod(0o777)
        with pytest.raises(NoServer, match=r"only this account can write to.*got mode 0777"):
            find()


def test_on_a_system_without_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said that there is no control socket."""
    monkeypatch.setattr(module, "IS_SUPPORTED", False)
    with pytest.raises(NoServer, match="expected a system with Unix sockets"):
        find()


def test_a_path_without_a_server(tmp_path: Path) -> None:
    """No file, a dead socket, and a path that is too long: each has its reason."""
    with pytest.raises(NoServer, match="No such file or directory"):
        Client(tmp_path / "s")
    listening(tmp_path / "s").close()
    with pytest.raises(NoServer, match="the server that did was killed"):
        Client(tmp_path / "s")
    with listening(tmp_path / "full") as listener:
        listener.listen(0)
        with Client(tmp_path / "full"), pytest.raises(NoServer, match="so many wait there already"):
            Client(tmp_path / "full")
    with pytest.raises(NoServer, match="AF_UNIX path too long"):
        Client(tmp_path / ("x" * 200))


async def test_a_question(tmp_path: Path) -> None:
    """Answers are structs; a refusal is an error with its name."""
    async with opened(tmp_path / "s"):

        def ask() -> None:
            with Client(tmp_path / "s") as client:
                assert client.ask(requests.Audit(), AuditAnswer).balanced
                with pytest.raises(RequestRefused, match="quarantined actor") as refused:
                    client.ask_json(requests.Release(path="users/alice"))
                assert refused.value.name == "bad_request"

        await trio.to_thread.run_sync(ask)


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    """The process is there, and its loop is not: the text says which process, and what shows where it stands."""
    with listening(tmp_path / "s"), Client(tmp_path / "s", seconds=0.01) as client:
        with pytest.raises(NoAnswer, match="its event loop stands still") as silence:
            client.ask_json(requests.Audit())
        if hasattr(socket, "SO_PEERCRED"):
            assert f"py-spy dump --pid {os.getpid()}" in str(silence.value)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "the server has closed the connection"),
        (b'{"answer":', "the server has closed the connection"),
        (b'{"error":{"name":"blocked","text":"it stands still in x"}}\n', "it stands still in x"),
    ],
)
def test_a_server_that_ends(tmp_path: Path, answer: bytes, text: str) -> None:
    """An answer that is not whole is none; that of the watch over standstills says where the loop stands."""
    with listening(tmp_path / "s") as listener, Client(tmp_path / "s") as client:
        accepted, _ = listener.accept()
        accepted.sendall(answer)
        accepted.shutdown(socket.SHUT_WR)
        with pytest.raises(NoAnswer, match=text):
            client.ask_json(requests.Audit())
        accepted.close()


async def test_a_trace(tmp_path: Path) -> None:
    """Lines come one by one; the end of the server is the end of them."""
    async with opened(tmp_path / "s") as server:
        texts: list[str] = []

        def follow() -> None:
            with Client(tmp_path / "s") as client:
                texts.extend(line.text for line in client.trace("alice"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, follow)
            await until(lambda: "Listening" in repr(server.runtime.instruments))
            await server.runtime.bind("t1", "alice")
            await until(lambda: texts)
            assert texts == ["thread t1 is bound to alice"]
            server.serving.cancel()
