"""The commands that look at a server: what they print, and with which status they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from actors.control import places
from actors.tools import control
from actors.tools.cli import _parser
from actors.tools.control_place import AUTO, NONE
from actors.tools.serving import listening
from actors.tools.terminal import CannotStart
from tests.control.opened import Opened, opened, until
from tests.support.crashing import crash
from tests.tools.command import PATIENCE_SECONDS, arguments
from tests.tools.command import run as run_process


async def ask(server: Opened, *words: str) -> int | None:
    """Run a command in this process, in a thread as it blocks; its exit status."""
    parsed = _parser()[0].parse_args([*words, "--control", str(server.path)])
    return await trio.to_thread.run_sync(control.run, parsed)


COMMANDS = [
    ("status", 0, "open, 2 events accepted and accounted for"),
    ("explain e1", 0, "accepted "),
    ("explain e1 --thread t1", 0, "accepted "),
    ("explain e9", 1, "e9: forgotten, or never accepted here"),
    ("why alice", 0, "no device of alice is here, or was lately; 1 event waits in its log"),
    ("why bob", 1, "nothing is known of bob here"),
    ("why --thread t1", 0, "thread t1 is bound to alice"),
    ("why --thread t2", 0, "thread t2 has no owner: its 1 event is held"),
    ("why --thread t9", 1, "nothing is known of thread t9 here"),
    ("why --device c9", 1, "no connection c9 is here"),
    ("audit", 0, "accepted 2 = queued 0 + held 1 + retained 1"),
    ("connections", 0, "device  user"),
    ("connections --user alice --behind", 0, "device  user"),
    ("failures", 0, "no failures"),
    ("dead-letters", 0, "no events were dropped"),
]


@pytest.mark.parametrize(("words", "status", "text"), COMMANDS, ids=[words for words, _, _ in COMMANDS])
async def test_each_command(
    words: str, status: int, text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The sentence is first, for people; as JSON it is the whole answer; the status says whether it was found."""
    async with opened(tmp_path / "s") as server:
        await server.runtime.thread("t1").emit("x", {}, event_id="e1", user_id="alice")
        await server.runtime.thread("t2").emit("x", {})
        assert await ask(server, *words.split()) == status
        assert capfd.readouterr().out.startswith(text)
        assert await ask(server, *words.split(), "--json") == status
        assert isinstance(msgspec.json.decode(capfd.readouterr().out), dict)


async def test_a_release(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The path that the status shows puts the actor back; what is in service is not found."""
    async with opened(tmp_path / "s") as server:
        for _ in range(server.runtime.limits.restarts + 1):
            server.runtime.tree.users.mailbox("alice").tell(crash())
        await until(lambda: server.runtime.tree.users.quarantined("alice"))
        await ask(server, "status")
        assert "`actors release users/alice` puts it back" in capfd.readouterr().out
        assert await ask(server, "release", "users/alice") == 0
        assert capfd.readouterr().out == "users/alice is back in service\n"
        assert await ask(server, "release", "users/alice") == 1
        assert "expected the path of a quarantined actor, got 'users/alice'" in capfd.readouterr().err


async def test_books_that_do_not_add_up(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A script is told by the status of the command."""
    async with opened(tmp_path / "s") as server:
        server.runtime.tree.accounts.tally.acked += 1
        assert await ask(server, "audit") == 1
        assert await ask(server, "status") == 1
        server.runtime.tree.accounts.tally.acked -= 1
        assert "≠" in capfd.readouterr().out


async def test_what_a_terminal_would_obey(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A user's name is shown with its control characters escaped."""
    async with opened(tmp_path / "s") as server:
        await server.runtime.thread("t\x1b[2J").emit("x", {}, user_id="al\x1bice")
        await ask(server, "why", "al\x1bice")
        assert "\x1b" not in (out := capfd.readouterr().out)
        assert "al\\x1bice" in out


async def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None, and one that does not answer, end a command with 2 and the reason."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(CannotStart, match="no server of this account listens in"):
        control.run(_parser()[0].parse_args(["status"]))
    with pytest.raises(CannotStart, match=r"cannot connect to .*No such file"):
        control.run(_parser()[0].parse_args(["status", "--control", str(tmp_path / "s")]))


async def test_the_server_ends_while_it_is_traced(tmp_path: Path) -> None:
    """A trace says so, and ends with 2."""
    async with opened(tmp_path / "s") as server, trio.open_nursery() as nursery:

        async def follow() -> None:
            with pytest.raises(CannotStart, match="the server has ended"):
                await ask(server, "trace", "alice")

        nursery.start_soon(follow)
        await until(lambda: "Listening" in repr(server.runtime.instruments))
        server.serving.cancel()


async def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``top`` says what to install."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, "actors.tools.top", raising=False)
    async with opened(tmp_path / "s") as server:
        with pytest.raises(CannotStart, match=r"needs the extra \[top\]: rich.* is not installed; in the"):
            await ask(server, "top", "--once")


def test_another_command() -> None:
    """What is none of these is left to others."""
    assert control.run(_parser()[0].parse_args(["journal", "x"])) is None


# --- in processes of their own ----------------------------------------------------------


async def test_a_server_and_its_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands find the server that runs, follow what it does, and say so when it was killed."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with trio.fail_after(PATIENCE_SECONDS):
        process = await trio.lowlevel.open_process(arguments("serve", "--port", "0"), stderr=subprocess.DEVNULL)
        try:
            await until(lambda: places.sockets()[0])
            assert places.sockets()[0] == [tmp_path / "trio-actors" / f"{process.pid}.sock"]
            done = await run_process("status", "--json")
            assert (done.status, done.objects[0]["pid"]) == (0, process.pid)
            process.kill()
            await process.wait()
            done = await run_process("status")
            assert (done.status, f"{process.pid}.sock belonged to was killed" in done.err) == (2, True)
        finally:
            process.kill()
            await process.wait()


async def test_a_trace_in_a_terminal(tmp_path: Path) -> None:
    """Lines come as things happen, and Ctrl-C is a good end."""
    async with opened(tmp_path / "s") as server:
        words = arguments("trace", "alice", "--control", str(server.path))
        process = await trio.lowlevel.open_process(words, stdout=subprocess.PIPE)
        assert process.stdout is not None
        await until(lambda: "Listening" in repr(server.runtime.instruments))
        await server.runtime.bind("t1", "alice")
        assert b"owner   thread t1 is bound to alice" in await process.stdout.receive_some()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        await process.stdout.aclose()


async def test_where_a_server_has_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the commands look, at a path, or nowhere; it goes with the server."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = tmp_path / "trio-actors" / f"{os.getpid()}.sock"
    for place, sockets in ((AUTO, [found]), (tmp_path / "mine", [tmp_path / "mine"]), (NONE, [])):
        async with listening("127.0.0.1", 0, control=place):
            assert [one for one in (found, tmp_path / "mine") if one.exists()] == sockets
    assert not found.exists()


async def test_a_place_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A server that was not asked for a socket does its work without, and says so."""
    (tmp_path / "trio-actors").mkdir()
    (tmp_path / "trio-actors").chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with listening("127.0.0.1", 0, control=AUTO):
        assert list((tmp_path / "trio-actors").iterdir()) == []
    told = capfd.readouterr().err
    assert "actors: no control socket: expected a directory that only this account can write to" in told


async def test_a_place_that_was_asked_for(tmp_path: Path) -> None:
    """One that cannot be keeps the server from starting."""
    place = str(tmp_path / "no" / "such" / "s")
    done = await run_process("serve", "--port", "0", "--control", place)
    assert (done.status, done.err) == (2, f"actors: --control {place}: No such file or directory\n")
