"""A file that outlives its servers: killed at random, deployed under load, without room on its disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.system.chaos.lives import Asking, Copy, File
from tests.system.chaos.processes import Process, on_linux, port_of, until
from tests.system.chaos.report import Report
from tests.system.client_js.node import Node, node_command, open_node

pytestmark = [pytest.mark.slow, on_linux]

SEED = 13


async def leave(file: File, browser: Node | None = None) -> None:
    """Have one more life, in which everything is answered; it ends in order, with every device complete."""
    async with file.served() as server:
        await file.listening(server)
        assert "listening" in server.said, server.said
        await file.quiet()
        if browser is not None:
            await browser.until_state("live")
        server.signal(signal.SIGTERM)
        assert await server.end() == 0, server.said
        assert "drained: 0 events not confirmed" in server.said, server.said
        await file.complete()


@pytest.mark.parametrize("seed", [SEED])
async def test_kills_at_random_moments(tmp_path: Path, report: Report, seed: int, *, at_length: bool) -> None:
    """Each event that was told STORED is where it was told, once; each device has every event that is there, once and
    in order, and was told of no reset; each request is one message and one run, with one first and one last event."""
    chance, kills = random.Random(seed), 200 if at_length else 20
    users = [f"user{number}" for number in range(3)]
    file = File(path=tmp_path / "events.db", record=tmp_path / "record", users=users, pause_seconds=0.002)
    async with browsing() as browser, trio.open_nursery() as nursery:
        async with file.served() as server:
            await file.listening(server)
            for user_id in users:
                for device in ("phone", "laptop"):
                    asking = Asking(f"{user_id}-{device}")
                    nursery.start_soon(file.watch, Copy(user_id), asking, random.Random(chance.random()))
            if browser is not None:
                await browser.collect(file.url, **{"token": users[0], "from": "low"})
            await killed(server, chance, longest_seconds=1.0)
        for _ in range(kills - 1):
            async with file.served() as server:
                if chance.random() < 0.8:  # else it is killed while it starts
                    await file.listening(server)
                await killed(server, chance, longest_seconds=0.6)
        await leave(file, browser)
        await taken(browser, file, users[0])
        nursery.cancel_scope.cancel()
    wrong = list(file.wrong())
    assert not wrong, "\n".join(wrong[:20])
    report(
        f"SIGKILL of a server with a file, {kills} times at random",
        lost_unreported=len(wrong),
        note=f"{file.told():,} events told STORED, {file.count('user_message')} requests,"
        f" {file.count('agent_failed')} runs closed after their process, {sum(c.openings for c in file.copies)}"
        f" connections of {len(file.copies)} devices, {sum(copy.resets for copy in file.copies)} told reset",
    )


async def killed(server: Process, chance: random.Random, *, longest_seconds: float) -> None:
    """Kill a server some time from now."""
    await trio.sleep(chance.uniform(0.0, longest_seconds))
    await server.kill()


@asynccontextmanager
async def browsing() -> AsyncIterator[Node | None]:
    """Open the browser's client, where there is Node."""
    if node_command() is None:
        yield None
    else:
        async with open_node() as node:
            yield node


async def taken(browser: Node | None, file: File, user_id: str) -> None:
    """Take what the browser's client has as one more copy."""
    if browser is None:
        return
    copy = Copy(user_id)
    for item in await browser.items("a", "event", "gap", "reset"):
        if item["kind"] == "event":
            first_seq = item.get("seq0") or item["seq"]
            copy.add(item["thread_id"], first_seq, item["seq"], item["offset"], item["event_id"])
        elif item["kind"] == "reset":
            copy.begin_anew(file.lives)
        else:
            copy.surprises.append(str(item))
    file.copies.append(copy)


async def test_deploys_under_load(tmp_path: Path, report: Report, *, at_length: bool) -> None:
    """SIGTERM and the next server, again and again: a hundred devices reconnect, and see not one reset, gap, hole or
    repetition; no event that was emitted is lost."""
    users = [f"user{number}" for number in range(20)]
    file = File(path=tmp_path / "events.db", record=tmp_path / "record", users=users, pause_seconds=0.02)
    back: list[float] = []
    deploys = 12 if at_length else 2
    async with trio.open_nursery() as nursery:
        for deploy in range(deploys):
            async with file.served() as server:
                await file.listening(server)
                if deploy == 0:
                    for number in range(100):
                        nursery.start_soon(file.watch, Copy(users[number % len(users)]))
                await returned(file, back)
                await trio.sleep(1.0)
                server.signal(signal.SIGTERM)
                assert await server.end() == 0, server.said
        await leave(file)
        nursery.cancel_scope.cancel()
    wrong = list(file.wrong())
    assert not wrong, "\n".join(wrong[:20])
    report(
        f"{deploys} deploys under load: SIGTERM, the next server on the file",
        lost_unreported=len(wrong),
        recovery_seconds=back,
        note=f"100 devices, {file.told():,} events, no reset and no gap",
    )


async def returned(file: File, back: list[float]) -> None:
    """Wait until every device is caught up with a server, and note how long each took from its start."""
    while not all(copy.caught_up_at and copy.caught_up_at[-1] > file.began for copy in file.copies) or not file.copies:  # noqa: ASYNC110
        await trio.sleep(0.02)
    back += [copy.caught_up_at[-1] - file.began for copy in file.copies]


# --- a full disk ------------------------------------------------------------------

DISK = "16m"


async def test_a_full_disk(tmp_path: Path, report: Report) -> None:
    """While there is no room nothing is told STORED that is not there, and ``/healthz`` says 503 and why; when there is
    room again the server goes on by itself, and its devices have missed nothing."""
    file = File(path=tmp_path / "disk" / "events.db", record=tmp_path / "record", users=["alice"], pause_seconds=0.001)
    async with small_disk(file.path.parent), trio.open_nursery() as nursery:
        async with file.served() as server:
            await file.listening(server)
            nursery.start_soon(file.watch, Copy("alice"))
            filler = file.path.with_name("filler")
            fill(filler)
            await until(lambda: "the store is in trouble" in server.said)
            status, text = await health(file.url)
            assert (status, "the disk is full" in text) == (503, True), text
            told = file.told()
            await trio.sleep(1.0)
            assert file.told() == told
            filler.unlink()
            returned_at = time.monotonic()
            await until(lambda: file.told() > told)
            seconds = time.monotonic() - returned_at
            await until(lambda: "the store stores again" in server.said)
            assert (await health(file.url))[0] == 200
        file.remarks = [remark for remark in file.remarks if "the store is in trouble" not in remark]
        await leave(file)
        wrong = list(file.wrong())
        assert not wrong, "\n".join(wrong[:20])
        nursery.cancel_scope.cancel()
    report(
        "a full disk under a server with a file, and room again",
        lost_unreported=len(wrong),
        recovery_seconds=[seconds],
        note=f"{file.told():,} events told STORED, none meanwhile; /healthz 503 with the cause",
    )


@asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[None]:
    """Have a file system of its own in a folder; skips the test where none can be mounted."""
    await trio.Path(folder).mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)]
    if shutil.which("mount") is None or (await trio.run_process(mounting, check=False, capture_stderr=True)).returncode:
        pytest.skip("no small file system can be mounted here: that needs the right to mount a tmpfs")
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await trio.run_process(["umount", "--lazy", str(folder)])


def fill(path: Path) -> None:
    """Fill a disk to its last byte."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    size = 1 << 20
    while size:
        try:
            os.write(file, bytes(size))
        except OSError:
            size //= 2
    os.close(file)


async def health(url: str) -> tuple[int, str]:
    """Ask a server how it is; returns the status and the text."""
    async with await trio.open_tcp_stream("127.0.0.1", port_of(url)) as stream:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = b"".join([chunk async for chunk in stream]).decode()
    return int(answer.split()[1]), answer
