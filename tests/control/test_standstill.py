"""Standstills: a loop that some code blocks is seen from outside, and the line is named."""

from __future__ import annotations

import logging
import socket
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
    """A client that says nothing has its moment, and the others are told; closed, nothing is answered any more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        answers = StandstillAnswers(listener)
        with socket.create_connection(listener.getsockname()), socket.create_connection(listener.getsockname()) as one:
            one.sendall(b"{}\n")
            answers.answer("it stands still")
            assert b"it stands still" in one.recv(1_000)
        answers.close()
        answers.answer("it stands still")
