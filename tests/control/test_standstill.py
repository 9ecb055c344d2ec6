"""Standstills: a loop that some code blocks is seen from outside, and the line is named."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actors.control import requests
from actors.control.client import Client, NoAnswer
from actors.control.standstill import StandstillAnswers
from tests.control.opened import opened, until


def hold_up(released: threading.Event) -> None:
    """Block the loop, as an agent does that calls something synchronous."""
    assert released.wait(60)


async def test_a_loop_that_is_blocked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A command is told since when, and in which line; so is the log, once; afterwards the status tells it."""
    answered, texts = threading.Event(), list[str]()

    def ask() -> None:
        try:
            while not any("in hold_up" in text for text in texts):
                try:
                    with Client(tmp_path / "s", seconds=1) as client:
                        client.ask_json(requests.Audit())
                except NoAnswer as error:
                    texts.append(str(error))
        finally:
            answered.set()

    async with opened(tmp_path / "s") as server:
        server.runtime.tree.lookout.ask_seconds = 0.02
        asking = threading.Thread(target=ask)
        asking.start()
        hold_up(answered)
        asking.join()
        await until(lambda: server.runtime.tree.pulse.standstill)
        assert server.runtime.tree.pulse.standstill is not None
        text = texts[-1]
        assert "the event loop stands still since " in text
        assert "in hold_up (" in text
        assert "assert released.wait(60)" in text
        assert server.runtime.tree.pulse.standstill.startswith("stood still for ")
        assert "in hold_up (" in server.runtime.tree.pulse.standstill
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([one for one in told if "stands still" in one and "in hold_up (" in one]) <= 1
    assert len([one for one in told if "stood still" in one and "in hold_up (" in one]) == 1


def test_clients_that_say_nothing_hold_up_no_end() -> None:
    """A client that says nothing has its moment, and the others are told; one at a time, so that a flood ends with the
    standstill; closed, nothing is answered any more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        answers = StandstillAnswers(listener)
        with socket.create_connection(listener.getsockname()), socket.create_connection(listener.getsockname()) as one:
            one.sendall(b"{}\n")
            assert answers.answer("it stands still")
            assert answers.answer("it stands still")
            assert b"it stands still" in one.recv(1_000)
            assert not answers.answer("it stands still")
        with socket.create_connection(listener.getsockname()):
            answers.close()
            assert not answers.answer("it stands still")


def test_an_end_in_the_middle_of_an_answer() -> None:
    """The loop does not wait for a client that is being answered: the thread closes the listener after it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        answers = StandstillAnswers(listener)
        with answers._lock:
            answers.close()
            assert answers._listener.fileno() >= 0
        assert not answers.answer("it stands still")
        assert answers._listener.fileno() == -1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_listens_no_longer(tmp_path: Path) -> None:
    """Once the server is gone nothing listens at its path, though a child that it has forked lives on."""
    program = (
        "import os, signal, socket, sys\n"
        "from actors.control.standstill import StandstillAnswers\n"
        "with socket.socket(socket.AF_UNIX) as listener:\n"
        "    listener.bind(sys.argv[1])\n"
        "    listener.listen()\n"
        "    answers = StandstillAnswers(listener)\n"
        "    listener.close()\n"
        "if os.fork() == 0:\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "os._exit(0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "s")], stdin=subprocess.PIPE) as process:
        process.wait(60)
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
            client.connect(str(tmp_path / "s"))
