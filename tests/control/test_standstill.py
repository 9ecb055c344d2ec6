"""Standstills: a loop that some code blocks is seen from outside, and the line is named."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
import trio

from actors.control import requests, standstill
from actors.control.client import Client, NoAnswer
from tests.control.opened import opened, until


def hold_up(until: threading.Event) -> None:
    """Block the loop, as an agent does that calls something synchronous."""
    assert until.wait(60)


async def test_a_loop_that_is_blocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A command is told since when, and in which line; so is the log, once; afterwards the status tells it."""
    monkeypatch.setattr(standstill, "_LOOK_SECONDS", 0.02)
    answered, texts = threading.Event(), list[str]()

    def ask() -> None:
        try:
            while len(texts) < 30:
                try:
                    with Client(tmp_path / "s", seconds=1) as client:
                        client.ask_json(requests.Audit())
                except NoAnswer as error:
                    texts.append(str(error))
                    if "in hold_up" in texts[-1]:
                        return
        finally:
            answered.set()

    async with opened(tmp_path / "s") as server:
        asking = threading.Thread(target=ask)
        asking.start()
        hold_up(answered)
        asking.join()
        await until(lambda: server.runtime.tree.standstill)
        assert server.runtime.tree.standstill is not None
        text = texts[-1]
        assert "the event loop stands still since " in text
        assert "in hold_up (" in text
        assert "assert until.wait(60)" in text
        assert server.runtime.tree.standstill.startswith("stood still for ")
        assert "in hold_up (" in server.runtime.tree.standstill
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([one for one in told if "stands still since" in one and "hold_up" in one]) == 1


async def test_the_thread_ends_with_the_socket(tmp_path: Path) -> None:
    """No thread is left behind, and no descriptor of the listener."""
    before = set(threading.enumerate())
    watching: list[threading.Thread] = []
    async with opened(tmp_path / "s"):
        while not watching:
            await trio.sleep(0.005)
            watching = [one for one in threading.enumerate() if one not in before and one.name == "standstill"]
    (thread,) = watching
    thread.join(60)
    assert not thread.is_alive()
