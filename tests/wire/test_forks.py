"""A child that was forked has nothing of what its parent listens on, has accepted, or has dialled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from tests.support.raw import Peer, connected
from tests.support.served import PATIENCE_SECONDS, served

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")

PROGRAM = """
import os, signal, sys
from functools import partial

import trio

import actors
from actors.client import connect


async def main(path, dialled):
    lines = trio.lowlevel.FdStream(0)
    async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:
        host, port = await nursery.start(runtime.serve)
        await nursery.start(partial(runtime.serve, path=path))
        async with connect(dialled, token="parent") as session:
            await session.send({"text": "here"})
            print(port, flush=True)
            await lines.receive_some(100)
            if os.fork() == 0:
                signal.pause()
                os._exit(1)
            print("forked", flush=True)
            await lines.receive_some(100)
        nursery.cancel_scope.cancel()


trio.run(main, *sys.argv[1:])
print("ended", flush=True)
"""


@attrs.frozen
class Parent:
    """A process that serves, and forks on a command."""

    process: trio.Process
    port: int

    async def go_on(self) -> str:
        """Make it take its next step; returns its next line."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"\n")
        return await line(self.process)


async def line(process: trio.Process) -> str:
    """Return the next line of a process, which may come in pieces."""
    assert process.stdout is not None
    output = b""
    while not output.endswith(b"\n"):
        piece = await process.stdout.receive_some(1)
        assert piece, f"it ended in the middle of a line: {output!r}"
        output += piece
    return output.decode().strip()


@asynccontextmanager
async def parent(path: Path, dialled: str) -> AsyncIterator[Parent]:
    """The process, in a group of its own, which ends with the block."""
    command = [sys.executable, "-c", PROGRAM, str(path), dialled]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        yield Parent(process, int(await line(process)))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def ends(peer: Peer) -> bool:
    """The other side closes the connection, politely or not."""
    with trio.move_on_after(PATIENCE_SECONDS) as patience:
        while await peer.next_frame() is not None:
            pass
    return not patience.cancelled_caught


@pytest.mark.slow
async def test_a_child_has_no_part_in_its_parents_sockets(tmp_path: Path) -> None:
    """While a forked child sleeps its parent ends: every connection, accepted or dialled, ends with the parent, and the
    next server has the port and the path."""
    path = tmp_path / "actors.sock"
    async with served() as here:
        assert isinstance(here.address, tuple)
        async with parent(path, f"ws://127.0.0.1:{here.address[1]}/ws") as other:
            async with connected(("127.0.0.1", other.port)) as tcp, connected(str(path)) as unix:
                await tcp.attach("alice")
                await unix.attach("alice")
                assert await other.go_on() == "forked"
                await tcp.echo()
                assert await other.go_on() == "ended"
                assert await ends(tcp)
                assert await ends(unix)
            await here.gone("parent")
            async with served({"port": other.port}) as tcp_server, served({"path": path}) as unix_server:
                for server in (tcp_server, unix_server):
                    async with server.peer() as peer:
                        await peer.attach("alice")


def test_a_child_removes_no_path(tmp_path: Path) -> None:
    """A child that closes what it was born with leaves the socket's file to its parent."""
    program = (
        "import os, sys, trio\n"
        "from actors.wire.listeners import listen_path\n"
        "listener = trio.run(listen_path, sys.argv[1], 1)\n"
        "if os.fork() == 0:\n"
        "    listener.remove()\n"
        "    os._exit(listener.socket.fileno() + 1)\n"
        "assert os.wait()[1] == 0\n"
        "print(os.path.exists(sys.argv[1]))\n"
        "listener.remove()\n"
        "print(os.path.exists(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "actors.sock")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.split() == ["True", "False"]
