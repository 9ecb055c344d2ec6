"""``actors top``: a frame, what moves between two, and its keys."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest
import trio
from rich.console import Console

from actors.control import requests
from actors.control.answers import StatusAnswer, TreeAnswer
from actors.control.client import Client
from actors.tools import top
from actors.tools.top import Frame, Pressed, look, render
from tests.control.opened import Opened, opened
from tests.support.raw import connected


def shown(frame: Frame, before: Frame | None = None, *, lines: int | None = None, width: int = 80) -> list[str]:
    """A frame as a terminal shows it."""
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(render(frame, before, lines=lines))
    return capture.get().splitlines()


async def frame_of(server: Opened) -> Frame:
    """A look at a server."""

    def ask() -> Frame:
        with Client(server.path) as client:
            return look(client, None, 50)

    return await trio.to_thread.run_sync(ask)


async def test_a_frame(tmp_path: Path) -> None:
    """The state in a sentence, the rates, and below a user the devices, runs and threads, in 80 columns."""
    async with opened(tmp_path / "s") as server, trio.open_nursery() as nursery:
        async with connected(await nursery.start(server.runtime.serve)) as peer:
            await peer.attach("alice")
            await server.runtime.thread("t1").emit("x", {}, user_id="alice")
            async with server.runtime.thread("t1").run("assistant", run_id="r1"):
                lines = shown(await frame_of(server))
            assert lines[0].rstrip() == "open, 2 events accepted and accounted for"
            assert lines[3].split() == ["user", "state", "events", "unacked", "lag", "waiting"]
            assert [line.split()[:3] for line in lines[4:8]] == [
                ["alice", "1", "device"], ["c1", "live", "acked"], ["run", "r1", "of"], ["thread", "t1"],
            ]  # fmt: skip
            assert lines[8].startswith("1 of 1 users; q quits")
            assert {len(line) for line in lines} <= set(range(81))
            for width in (40, 60, 200):
                assert {len(line) for line in shown(await frame_of(server), width=width)} <= set(range(width + 1))
        nursery.cancel_scope.cancel()


async def test_rates(tmp_path: Path) -> None:
    """Between two frames numbers become rates, of the server and of each user."""
    async with opened(tmp_path / "s") as server:
        await server.runtime.thread("t1").emit("x", {}, user_id="alice")
        before = await frame_of(server)
        for _ in range(10):
            await server.runtime.thread("t1").emit("x", {})
        after = await frame_of(server)
        after.status.at = before.status.at + 2
        lines = shown(after, before)
        assert lines[1].startswith("events 5/s  acked 0/s  written 0 B/s")
        assert lines[4].split() == ["alice", "away", "5/s", "11", "0"]


async def test_more_than_a_screen(tmp_path: Path) -> None:
    """A frame is no longer than the terminal, and says what it leaves out; a broken user stands out."""
    async with opened(tmp_path / "s") as server:
        for number in range(30):
            for thread in range(5):
                await server.runtime.thread(f"t{number}-{thread}").emit("x", {}, user_id=f"u{number:02}")
        frame = await frame_of(server)
        lines = shown(frame, lines=24)
        assert len(lines) == 23
        assert "132 more lines" in lines[-1]
        assert any("and 2 more threads" in line for line in lines)
        frame.tree.users[0].quarantined = "ValueError: a bug"
        assert "out of service" in shown(frame)[4]


async def test_one_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--once`` prints one, and ends."""
    async with opened(tmp_path / "s") as server:

        def ask() -> int:
            with Client(server.path) as client:
                return top.top(client, once=True, seconds=1)

        assert await trio.to_thread.run_sync(ask) == 0
        assert "accepted and accounted for" in capsys.readouterr().out


@pytest.mark.parametrize(("keys", "afters"), [("q", [None]), (" bq", [None, "u", None]), ("xq", [None, None])])
async def test_keys(keys: str, afters: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """q ends it, space shows the next users, b the first; others do nothing."""
    asked: list[str | None] = []
    pressed = iter(keys)

    class Server:
        """Answers as a server with more users than one page."""

        def ask(self, request: requests.Request, kind: type[object]) -> object:
            if isinstance(request, requests.Tree):
                asked.append(request.after)
                return TreeAnswer(users=[], total=2, after="u")
            return status

    monkeypatch.setattr(Pressed, "__call__", lambda self, seconds: next(pressed))
    async with opened(tmp_path / "s") as server:
        status: StatusAnswer = (await frame_of(server)).status
        assert top.top(Server(), once=False, seconds=1) == 0  # type: ignore[arg-type] # answers as a client does
    assert asked == afters


def test_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is read as it is pressed, without Enter, and the terminal is afterwards as it was; without one there is no
    key."""
    here, there = pty.openpty()
    with os.fdopen(here, "wb", buffering=0) as keyboard, os.fdopen(there) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with top._keys() as pressed:
            assert pressed(0.01) == ""
            keyboard.write(b"q")
            assert pressed(60) == "q"
    monkeypatch.setattr(sys, "stdin", None)
    with top._keys() as pressed:
        assert pressed(0.001) == ""
