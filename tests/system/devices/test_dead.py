"""Dead devices are found by their silence, and nothing is taken for acked that they did not ack."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

import actors
from actors.testing import fault_proxy
from tests.support.raw import PING, TEXT, Peer, connected, frame
from tests.support.served import Served, served

ROOT = Path(__file__).parents[3]

SOON = actors.Limits(ping_seconds=0.2, pong_seconds=0.2, sweep_seconds=0.02, close_seconds=0.2)


@pytest.mark.parametrize("plain", [False, True])
async def test_a_link_that_died(plain: bool) -> None:
    """A device whose link died without a word is found, what was written to it stays unconfirmed, explain says why."""
    async with served(limits=SOON) as server, fault_proxy("127.0.0.1", int(server.address[1])) as proxy:
        async with connected(("127.0.0.1", proxy.port)) as peer:
            if plain:
                await peer.open(cookie="actors_token=alice")
            else:
                await peer.attach("alice")
            (before,) = await server.emit(1)
            assert (await peer.next_event())["offset"] == 1
            proxy.vanish()
            await peer.say({"op": "ack", "offset": 1})
            (after,) = await server.emit(1)
            await server.gone()
            (behind,) = await server.emit(1)
        stages = [receipt.stage for receipt in (before, after, behind)]
        assert stages == [actors.Stage.WRITTEN, actors.Stage.WRITTEN, actors.Stage.STORED]
        assert "(silent: it did not answer a ping within 0.2 s)" in str(server.runtime.explain(behind))
        assert server.failures() == []


@attrs.define
class Wire:
    """When bytes went by, in each direction."""

    down: list[float] = attrs.field(factory=list)
    up: list[float] = attrs.field(factory=list)


@pytest.mark.parametrize("plain", [False, True])
async def test_an_idle_link_is_never_silent_for_long(autojump_clock: MockClock, plain: bool) -> None:
    """With nothing to say, a server and a device that answers are heard on the wire every ping period, and a sweep."""
    async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(runtime.handle, ours)
        peer, wire = Peer(theirs), Wire()
        if plain:
            await peer.open(cookie="actors_token=alice")
        else:
            await peer.attach("alice")
        wire.down.append(trio.current_time())
        wire.up.append(trio.current_time())
        for _ in range(20):
            asked = await peer.next_frame()
            assert asked is not None
            assert asked.opcode == (PING if plain else TEXT)
            wire.down.append(trio.current_time())
            await peer.send(frame(0xA) if plain else frame(TEXT, b'{"op":"pong"}'))
            wire.up.append(trio.current_time())
            await wait_all_tasks_blocked()
        most = runtime.limits.ping_seconds + runtime.limits.sweep_seconds
        for times in (wire.down, wire.up):
            assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= most
        assert runtime.devices("alice") == 1
        nursery.cancel_scope.cancel()


async def test_found_in_time(autojump_clock: MockClock) -> None:
    """A device that fell silent is gone after the ping period and the time for an answer, and a sweep for each."""
    async with actors.open_runtime() as runtime, trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(runtime.handle, ours)
        await Peer(theirs).attach("alice")
        fell_silent = trio.current_time()
        while runtime.devices("alice"):  # noqa: ASYNC110 - a runtime has no event for that
            await trio.sleep(0.1)
        limits = runtime.limits
        most = limits.ping_seconds + limits.pong_seconds + 2 * limits.sweep_seconds + 0.1
        assert limits.ping_seconds + limits.pong_seconds <= trio.current_time() - fell_silent <= most
        nursery.cancel_scope.cancel()


async def test_a_laptop_asleep(tmp_path: Path) -> None:
    """A device that sleeps is found dead; awake again it comes back as itself, and has had every event exactly once."""
    async with served(limits=SOON) as server:
        assert isinstance(server.address, tuple)
        arguments = [
            sys.executable,
            "-m",
            "tests.system.devices.device_process",
            str(server.address[1]),
            str(tmp_path / "read"),
        ]
        device = await trio.lowlevel.open_process(arguments, cwd=ROOT)
        try:
            await sleeps_and_wakes(server, device, tmp_path / "read")
        finally:
            device.kill()
            with trio.CancelScope(shield=True):
                await device.wait()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process brings about."""
    while not condition():  # noqa: ASYNC110 - it is another process
        await trio.sleep(0.01)


async def sleeps_and_wakes(server: Served, device: trio.Process, read: Path) -> None:
    """Events before, while and after it sleeps."""
    await until(lambda: server.runtime.devices("alice") > 0)
    receipts = await server.emit(5)
    await receipts[-1].reached(actors.Stage.ACKED)
    os.kill(device.pid, signal.SIGSTOP)
    receipts += await server.emit(5)
    await until(lambda: server.runtime.devices("alice") == 0)
    receipts += await server.emit(5)
    assert "(silent: " in str(server.runtime.explain(receipts[-1]))
    assert actors.Stage.ACKED not in {receipt.stage for receipt in receipts[5:]}
    os.kill(device.pid, signal.SIGCONT)
    receipts += await server.emit(5)
    await receipts[-1].reached(actors.Stage.ACKED)
    lines = (await trio.Path(read).read_text()).split()
    assert lines[0] == "fresh"
    assert lines[1:].count("replayed") >= 1
    assert "gap" not in lines
    assert [int(line) for line in lines if line.isdigit()] == list(range(1, 21))
    assert len(server.runtime.tree.registry.presence("alice").sessions) == 1
