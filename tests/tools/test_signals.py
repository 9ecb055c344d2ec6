"""The commands under signals, as processes: devices are notified, none delays the end, and the report is true."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from tests.server.test_drain import events, live, narrow, told, types
from tests.support.raw import Peer, connected
from tests.tools.command import PATIENCE_SECONDS, Running, arguments, running

EVENT = '{"type":"x","thread_id":"t","user_id":"alice"}'
CROWD = 200
DESCRIPTORS = CROWD * 2 + 200
"""For a process with so many clients, and pytest's own."""

both_commands = pytest.mark.parametrize("command", ["serve", "demo"])
both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def address_of(process: Running) -> tuple[str, int]:
    where = urlsplit(process.url)
    assert where.hostname is not None
    assert where.port is not None
    return where.hostname, where.port


def send(number: int, text: str) -> dict[str, Any]:
    return {"op": "send", "id": f"m{number}", "payload": {"text": text}}


class Crowd:
    """Devices of as many users that do all that is expected of them, and how it went for each."""

    def __init__(self) -> None:
        self.arrived = 0
        self.all_here = trio.Event()
        self.seen: list[tuple[int, int | None]] = []
        """The retry times that each got, and its Close."""

    async def join(self, address: tuple[str, int], user_id: str) -> None:
        async with connected(address) as peer:
            await peer.attach(user_id)
            self.arrived += 1
            if self.arrived == CROWD:
                self.all_here.set()
            code = await live(peer)
            self.seen.append((len(told(peer)), code))


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Room for the sockets of a crowd, in this process and in those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"the system allows {hard} open files to a process, {DESCRIPTORS} are needed")
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def stalled(address: tuple[str, int]) -> AsyncIterator[Peer]:
    """A device that has stopped reading, with more under way than its socket takes."""
    async with narrow(address) as peer, connected(address) as writer:
        await peer.attach("sleeper")
        await writer.attach("sleeper")
        for n in range(10):
            await writer.say(send(n, "x " * 30_000 + "Oslo"))
        for _ in range(10):
            assert "error" not in await writer.next_op("reply")
        yield peer


@pytest.mark.slow
@both_signals
@both_commands
async def test_a_crowd_is_seen_out(command: str, number: signal.Signals, many_descriptors: None) -> None:
    """200 devices are told and closed with 1012; one that stopped reading does not hold the others, and is aborted."""
    crowd = Crowd()
    async with running(command, "--drain", "1") as process, trio.open_nursery() as nursery:
        address = address_of(process)
        for n in range(CROWD):
            nursery.start_soon(crowd.join, address, f"user{n}")
        await crowd.all_here.wait()
        async with stalled(address):
            process.signal(number)
            finished = await process.ended()
    assert finished.status == 0
    assert crowd.seen == [(1, 1012)] * CROWD
    assert f" {CROWD + 1} connections closed, 1 aborted" in finished.err
    assert "  user sleeper: " in finished.err


@both_signals
@both_commands
async def test_a_second_signal_ends_it_now(command: str, number: signal.Signals) -> None:
    """A drain that waits for a device which never acks ends with the next signal, politely and with its report."""
    async with running(command, "--drain", "600") as process, connected(address_of(process)) as device:
        await device.attach("alice")
        await device.say(send(1, "Oslo?"))
        await device.next_op("reply")
        process.signal(number)
        await device.next_op("going_away")
        process.signal(number)
        assert await live(device, acks=False) == 1012
        finished = await process.ended()
    assert finished.status == 0
    (report,) = [line for line in finished.err.splitlines() if line.startswith("drained: ")]
    assert "1 connection closed, 0 aborted" in report
    assert "not confirmed" in report
    assert "Traceback" not in finished.err


async def test_a_run_is_finished_first() -> None:
    """A question that was asked before the signal is answered to its end, and then the server goes."""
    async with running("demo") as process, connected(address_of(process)) as device:
        await device.attach("alice")
        await device.say(send(1, "Oslo?"))
        while (await device.next_event())["type"] != "agent_started":
            pass
        process.signal(signal.SIGTERM)
        assert await live(device) == 1012
        finished = await process.ended()
    assert types(device)[-1] == "agent_completed"
    assert len(told(device)) == 1
    assert finished.status == 0
    assert "drained: 0 events not confirmed, 1 connection closed, 0 aborted, 0 runs cancelled" in finished.err


async def test_a_killed_server_comes_back_on_its_port() -> None:
    """After SIGKILL, with devices connected, another server takes the same port at once; the devices find it there."""
    async with running("serve") as first, connected(address_of(first)) as device:
        await device.attach("alice")
        address = address_of(first)
        first.signal(signal.SIGKILL)
        await first.ended()
        assert await device.ending() is None
        async with restarted("serve", address[1]) as second:
            assert second.url == first.url
            async with connected(address) as again:
                await again.attach("alice")


@asynccontextmanager
async def restarted(command: str, port: int) -> AsyncIterator[Running]:
    """Run a command on a port of the test's choice, while the body runs."""
    words = arguments(command, "--port", str(port))
    with trio.fail_after(PATIENCE_SECONDS):
        process = await trio.lowlevel.open_process(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            async with trio.open_nursery() as nursery:
                server = Running(process)
                await server.read(nursery)
                yield server
                process.kill()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


# --- with events on standard input ------------------------------------------------


@both_signals
async def test_the_input_ends_with_a_signal(number: signal.Signals) -> None:
    """With ``--stdin`` devices get what was read, time to ack it, and get the time to come back, before 1012."""
    async with running("serve", "--stdin") as process, connected(address_of(process)) as device:
        await device.attach("alice")
        await process.feed(EVENT)
        event = await device.next_event()
        process.signal(number)
        await device.ack(event["offset"])
        assert await live(device) == 1012
        finished = await process.ended()
    assert len(told(device)) == 1
    assert len(events(device)) == 1
    assert (finished.status, finished.summary) == (0, "1 event: 1 ACKED")


async def test_a_second_signal_ends_the_lingering() -> None:
    """With ``--stdin``: the command waits ``--linger`` for events that no device takes, or until the next
    signal."""
    async with running("serve", "--stdin", "--receipts", "--linger", "inf") as process:
        async with connected(address_of(process)) as device:
            await device.attach("alice")
            await process.feed(EVENT)
            await device.next_event()  # there is a device that could ack, and does not
            process.signal(signal.SIGTERM)
            process.signal(signal.SIGINT)
            assert await live(device, acks=False) == 1012
        finished = await process.ended()
    assert (finished.status, finished.summary) == (0, "1 event: 1 WRITTEN")
    assert json.loads(finished.out.splitlines()[-1])["stage"] == "WRITTEN"
