"""The address that a command listens on, and the file that it keeps events in, or why it cannot."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from tests.tools.command import PATIENCE_SECONDS, arguments, check_refusal, device, run, running

ANYWHERE = "0.0.0.0"  # noqa: S104 - what is tested is that it is guarded


async def test_an_address_may_stand_in_brackets() -> None:
    """An address of IPv6 is taken as it stands in a URL."""
    async with running("serve", "--host", "[::1]") as command, device(command.url, "alice"):
        assert command.url.startswith("ws://[::1]:")


async def test_an_open_address_needs_tokens() -> None:
    """Without tokens only loopback is served."""
    check_refusal(await run("serve", "--host", ANYWHERE, "--port", "0"), "expected a loopback address")


async def test_a_port_in_use_is_one_line() -> None:
    """A second server on one port says which port it was."""
    async with running("serve") as command:
        port = command.url.removesuffix("/ws").rpartition(":")[2]
        check_refusal(await run("serve", "--port", port), f"cannot listen on 127.0.0.1:{port}")
        check_refusal(await run("demo", "--port", port), f"cannot listen on 127.0.0.1:{port}")


# --- the file -------------------------------------------------------------------

TICK = '{"type":"tick","thread_id":"t","user_id":"alice","payload":{"n":%d}}'


class Watching:
    """``actors watch`` in a process of its own: the offsets that it prints, and its remarks."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.offsets: list[int] = []
        self.remarks = b""

    async def until(self, offset: int) -> None:
        """Wait until it has printed an offset."""
        assert self._process.stdout is not None
        rest = b""
        while self.offsets[-1:] != [offset]:
            *lines, rest = (rest + await self._process.stdout.receive_some()).split(b"\n")
            self.offsets += [msgspec.json.decode(line)["offset"] for line in lines]

    async def listen(self) -> None:
        """Collect its remarks."""
        assert self._process.stderr is not None
        async for chunk in self._process.stderr:
            self.remarks += chunk


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Watching]:
    """Watch alice's events while the body runs."""
    words = arguments("watch", url, "--token", "alice", "--json", "--from", "low")
    process = await trio.lowlevel.open_process(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        async with trio.open_nursery() as nursery:
            watcher = Watching(process)
            nursery.start_soon(watcher.listen)
            with trio.fail_after(PATIENCE_SECONDS):
                yield watcher
            process.kill()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_the_next_server_goes_on_with_the_file(tmp_path: Path, number: signal.Signals) -> None:
    """However a server with a file ends, a device that reconnects to the next one misses nothing, gets nothing twice,
    and is told of no gap and no reset."""
    serve = "serve", "--stdin", "--store", f"sqlite:{tmp_path / 'events.db'}"
    async with running(*serve) as first, watching(first.url) as watcher:
        await first.feed(*(TICK % n for n in range(3)))
        await watcher.until(3)
        first.signal(number)
        assert (await first.ended()).status in (-signal.SIGKILL, 0)
        async with running(*serve, port=first.port) as second:
            await second.feed(*(TICK % n for n in range(3, 6)))
            await watcher.until(6)
    assert watcher.offsets == [1, 2, 3, 4, 5, 6]
    assert b"reset" not in watcher.remarks
    assert b"gap" not in watcher.remarks


@pytest.mark.slow
async def test_a_signal_ends_the_life_of_a_file_in_order(tmp_path: Path) -> None:
    """After SIGTERM the journal says that it was closed in order, so that the next server continues its epochs."""
    path = tmp_path / "events.db"
    async with running("serve", "--store", f"sqlite:{path}") as command, device(command.url, "alice"):
        command.signal(signal.SIGTERM)
        assert (await command.ended()).status == 0
    assert "life       1, closed in order" in (await run("journal", str(path))).out


@pytest.mark.slow
async def test_a_file_serves_one_process(tmp_path: Path) -> None:
    """A second server on a file is refused in one line that names the process of the first."""
    store = "--store", f"sqlite:{tmp_path / 'events.db'}"
    async with running("serve", *store) as command:
        for name in ("serve", "demo"):
            refused = await run(name, *store, "--port", "0")
            check_refusal(refused, f"expected a journal that is not open, process {command.pid} has it open")


async def test_a_file_that_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    """A path without a folder, and a file of another kind, say what was expected in their place; the latter stays as
    it is."""
    nowhere = tmp_path / "nowhere" / "events.db"
    check_refusal(await run("serve", "--store", f"sqlite:{nowhere}"), f"expected the folder {nowhere.parent}")
    other = tmp_path / "letter.txt"
    other.write_text("Dear Alice")
    check_refusal(await run("demo", "--store", f"sqlite:{other}"), "expected a journal of trio-actors, got a file")
    assert other.read_text() == "Dear Alice"
