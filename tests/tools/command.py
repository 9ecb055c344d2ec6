"""The command as a user runs it: a process of its own, its three streams, and a device over TCP."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import msgspec
import trio

from actors.events.delivered import Event
from actors.protocol.client_messages import SUBPROTOCOL
from actors.protocol.server_messages import Batch, decode, encode
from actors.wire.dialled import DialledWebSocket, dial

PATIENCE_SECONDS = 60.0
"""Ends a test that hangs; nothing here is timed."""

SEED = (
    '{"type":"agent_started","payload":{"run_id":"thread_thread_86db35a070e14921_run_1756905054017_54480004",'
    '"agent_name":"netra-assistant","thread_id":"thread_86db35a070e14921","timestamp":1756905054.0279675}}'
)
"""An event as a chat product emits it, with everything in its payload."""


@attrs.frozen
class Finished:
    """The output of a command that ended."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Standard output as JSON, line by line."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> str:
        """The last line of standard error."""
        return self.err.splitlines()[-1]


def arguments(*words: str) -> list[str]:
    """The command line of this package, run by this interpreter."""
    return [sys.executable, "-m", "actors", *words]


async def run(*words: str, stdin: bytes = b"") -> Finished:
    """Run a command to its end."""
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(
            arguments(*words), stdin=stdin, capture_stdout=True, capture_stderr=True, check=False
        )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


class Running:
    """A command that serves."""

    def __init__(self, process: trio.Process) -> None:
        self.url = ""
        self._process = process
        self._out = bytearray()
        self._err = bytearray()
        self._listening = trio.Event()
        self._ends = [trio.Event(), trio.Event()]

    async def feed(self, *lines: str | bytes) -> None:
        """Write lines to its standard input."""
        assert self._process.stdin is not None
        for line in lines:
            await self._process.stdin.send_all((line.encode() if isinstance(line, str) else line) + b"\n")

    async def finish(self) -> Finished:
        """End its input, and wait for its end."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        return await self.ended()

    async def ended(self) -> Finished:
        """Wait for its end, and for the rest of its output."""
        status = await self._process.wait()
        for end in self._ends:
            await end.wait()
        return Finished(status, self._out.decode(), self._err.decode())

    @property
    def port(self) -> int:
        """The port of its address."""
        return int(self.url.removesuffix("/ws").rpartition(":")[2])

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def read(self, nursery: trio.Nursery) -> None:
        """Read its output until it prints its address, and then in the background."""
        assert self._process.stderr is not None
        if self._process.stdout is None:
            self._ends[0].set()
        else:
            nursery.start_soon(self._collect, self._process.stdout, self._out, self._ends[0])
        nursery.start_soon(self._collect, self._process.stderr, self._err, self._ends[1])
        await self._listening.wait()
        assert self.url, f"expected 'listening on …' first, got {self._err.decode()}"

    async def _collect(self, stream: trio.abc.ReceiveStream, into: bytearray, end: trio.Event) -> None:
        async for chunk in stream:
            into += chunk
            if into is self._err and b"\n" in into and not self.url:
                first = into.decode().splitlines()[0]
                self.url = first.partition("listening on ")[2].removesuffix('"}')
                self._listening.set()
        end.set()
        if into is self._err:
            self._listening.set()


@asynccontextmanager
async def running(*words: str, port: int = 0, stdout: int = subprocess.PIPE) -> AsyncIterator[Running]:
    """Run a command that serves while the body runs, on a free port if not on a given one; ``stdout`` may be a
    descriptor."""
    with trio.fail_after(PATIENCE_SECONDS):
        process = await trio.lowlevel.open_process(
            arguments(*words, "--port", str(port)), stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE
        )
        try:
            async with trio.open_nursery() as nursery:
                command = Running(process)
                await command.read(nursery)
                yield command
                process.terminate()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@asynccontextmanager
async def device(url: str, token: str) -> AsyncIterator[DialledWebSocket]:
    """Connect as ``actors.v1``, and be caught up."""
    async with dial(url, subprotocol=SUBPROTOCOL) as websocket:
        await websocket.send(msgspec.json.encode({"op": "hello", "v": 1, "token": token}).decode())
        while '"op":"caught_up"' not in await websocket.receive():
            pass
        yield websocket


async def events(websocket: DialledWebSocket, count: int, *, ack: bool = False) -> list[str]:
    """Receive so many events, as text, and acknowledge each if asked to; tokens that a batch joins are one text."""
    texts: list[str] = []
    received = 0
    while received < count:
        text = await websocket.receive()
        match decode(text):
            case Event(offset=last):
                texts.append(text)
                received += 1
            case Batch(first=first, last=last, events=joined):
                texts += [encode(event).decode() for event in joined]
                received += last - first + 1
            case _:
                continue
        if ack:
            await websocket.send(msgspec.json.encode({"op": "ack", "offset": last}).decode())
    return texts


def lines(*texts: str | bytes) -> bytes:
    """Lines of input."""
    return b"".join((text.encode() if isinstance(text, str) else text) + b"\n" for text in texts)


def stages(finished: Finished) -> dict[int, Sequence[str]]:
    """The stages that the receipts tell of each input line, in order."""
    told: dict[int, list[str]] = {}
    for receipt in finished.objects:
        told.setdefault(receipt["line"], []).append(receipt["stage"])
    return dict(told)


def check_refusal(finished: Finished, complaint: str) -> None:
    """One line, and status 2."""
    assert finished.status == 2, finished.err
    assert len(finished.err.splitlines()) == 1, finished.err
    assert complaint in finished.err
