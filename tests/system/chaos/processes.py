"""The processes that are harmed, and what the system says of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.system.chaos.journals import Journal

PATIENCE_SECONDS = 60.0
"""Ends a test that hangs; nothing here is timed."""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="what a process is at is read from /proc, as on Linux")

_LOOK_SECONDS = 0.02
_PAUSE_SECONDS = 0.004
"""Between two events of an emitter: a second and more of them fits into what a log retains."""

_ROOT = Path(__file__).parents[3]
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


async def until(true: Callable[[], bool]) -> None:
    """Wait for what other processes bring about."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not true():  # noqa: ASYNC110 - no event says what another process did
            await trio.sleep(_LOOK_SECONDS)


class Process:
    """A process of ours."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._said = bytearray()
        self._ended = trio.Event()

    @property
    def said(self) -> str:
        """Return what it wrote on standard error so far."""
        return self._said.decode()

    @property
    def descriptors(self) -> int:
        """Return the number of its open descriptors."""
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    @property
    def cpu_seconds(self) -> float:
        """Return the time that it has computed."""
        return sum(map(int, self._stat[11:13])) / _TICKS_PER_SECOND

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def _stat(self) -> list[str]:
        """Return the fields behind its name, from its state on."""
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()

    async def stop(self) -> None:
        """Send SIGSTOP; returns when it has stopped."""
        self._process.send_signal(signal.SIGSTOP)
        await until(lambda: self._stat[0] == "T")

    def go_on(self) -> None:
        """Send SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """Send SIGKILL; returns when it is dead."""
        self._process.kill()
        await self.end()

    def signal(self, number: signal.Signals) -> None:
        """Send it any other signal."""
        self._process.send_signal(number)

    async def end(self) -> int:
        """Wait for its end, and for the rest of what it says; the exit status."""
        with trio.fail_after(PATIENCE_SECONDS):
            await self._ended.wait()
            return await self._process.wait()

    async def listen(self) -> None:
        """Take what it says on standard error, to the end."""
        assert self._process.stderr is not None
        async for chunk in self._process.stderr:
            self._said += chunk
        self._ended.set()

    async def feed(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(line.encode() + b"\n")

    async def end_input(self) -> None:
        """Close its standard input."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()

    async def objects(self) -> AsyncIterator[dict[str, Any]]:
        """Yield its standard output, line by line."""
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield msgspec.json.decode(line)

    async def ask(self, do: str, **arguments: Any) -> Any:
        """Tell :mod:`tests.system.chaos.serving` to do something; its answer."""
        assert self._process.stdout is not None
        await self.feed(json.dumps({"do": do, **arguments}))
        answer = b""
        with trio.fail_after(PATIENCE_SECONDS):
            while not answer.endswith(b"\n"):
                chunk = await self._process.stdout.receive_some()
                assert chunk, f"the server has gone: {self.said}"
                answer += chunk
        return msgspec.json.decode(answer)

    async def until(self, expected: object, do: str, **arguments: Any) -> None:
        """Ask until the answer is the one expected."""
        with trio.fail_after(PATIENCE_SECONDS):
            while await self.ask(do, **arguments) != expected:  # noqa: ASYNC110 - it is another process
                await trio.sleep(_LOOK_SECONDS)


@asynccontextmanager
async def started(*words: str, stdin: int | None = None, stdout: int | None = None) -> AsyncIterator[Process]:
    """Run a module of Python while the body runs, with descriptors, if they are given, that it gets for its own."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", *words],
        cwd=_ROOT,
        stdin=subprocess.PIPE if stdin is None else stdin,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
    )
    for given in (stdin, stdout):
        if given is not None and given >= 0:
            os.close(given)
    try:
        async with trio.open_nursery() as nursery:
            ours = Process(process)
            nursery.start_soon(ours.listen)
            yield ours
            process.kill()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def served(**limits: float) -> AsyncIterator[tuple[Process, str]]:
    """A server that does as it is told, and its URL."""
    async with started("tests.system.chaos.serving", json.dumps(limits)) as server:
        yield server, await url_of(server)


async def settled(server: Process, user_id: str, count: int) -> None:
    """Wait until all events of a user were acked."""
    await server.until({"ACKED": count}, "stages", user_id=user_id)


@asynccontextmanager
async def watched(url: str, *devices: tuple[str, Journal], silence_seconds: float = 10.0) -> AsyncIterator[Process]:
    """A process with devices of users in it, each connected and caught up."""
    words = [f"{user_id}={journal.path}" for user_id, journal in devices]
    openings = [journal.openings for _, journal in devices]
    async with started(
        "tests.system.chaos.watching",
        url,
        str(silence_seconds),
        *words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        for (_, journal), before in zip(devices, openings, strict=True):
            await until(lambda journal=journal, before=before: journal.openings > before)  # type: ignore[misc]
        yield process


@asynccontextmanager
async def fed(
    user_id: str, told: Journal, *devices: Journal, port: int = 0
) -> AsyncIterator[tuple[Process, Process, str]]:
    """``actors serve`` with devices of a user, and then an emitter piped into it and back; both, and the URL."""
    events_out, events_in = os.pipe()
    receipts_out, receipts_in = os.pipe()
    serving = "actors", "serve", "--stdin", "--receipts", "--linger", "30", "--port", str(port)
    emitting = "tests.system.chaos.emitting", user_id, str(told.path), str(_PAUSE_SECONDS)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(started(*serving, stdin=events_out, stdout=receipts_in))
        url = await url_of(server)
        if devices:
            await stack.enter_async_context(watched(url, *((user_id, device) for device in devices)))
        emitter = await stack.enter_async_context(started(*emitting, stdin=receipts_out, stdout=events_in))
        yield server, emitter, url


async def url_of(server: Process) -> str:
    """Return the address that it listens on, which is the first thing it says."""
    await until(lambda: "\n" in server.said)
    return server.said.splitlines()[0].partition("listening on ")[2]


def port_of(url: str) -> int:
    """The port in a URL."""
    return int(url.rpartition(":")[2].partition("/")[0])


def first_after(at: float, devices: Sequence[Journal]) -> list[float]:
    """Seconds from a moment until each device had the next event."""
    return [device.since(at, "event") for device in devices]
